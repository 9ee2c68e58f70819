//! Machines of KubeVirt that move away from a node at once, each with its disk.

use csi_proto::v1::volume_capability::access_mode::Mode;
use tonic::Status;

use crate::api_server::FakeApiServer;
use crate::api_server::objects::{bind, launch, machine, migration, wish};
use crate::plugin::Plugin;
use crate::volume::{Claim, Volume};

/// A machine with one disk.
#[derive(Debug)]
pub struct Machine {
    /// Its name, and its claim's.
    pub name: String,
    /// Its disk.
    pub volume: Volume,
}

impl Machine {
    /// One that runs on a node.
    ///
    /// # Errors
    /// Its disk was not made or not attached: the driver's status.
    pub async fn start(
        api: &FakeApiServer,
        controller: &Plugin,
        number: usize,
        node: &str,
    ) -> Result<Self, Status> {
        let name = format!("vm-{number}");
        let claim = Claim::block(&format!("pvc-evacuated-{number}"), 4);
        let claim = claim.mode(Mode::MultiNodeMultiWriter);
        let volume = claim.create(controller).await?;
        bind(api, &volume, &name);
        let started = Self { name, volume };
        machine(api, &started.name);
        started.begins(api, node);
        started.volume.attach(controller, node).await?;
        Ok(started)
    }

    /// There is a pod of it on a node that wants the disk, for no migration.
    pub fn begins(&self, api: &FakeApiServer, node: &str) {
        self.launch(api, node, None);
        self.ask(api, node);
    }

    /// Its pod on a node is gone, and then the node lets go of the disk.
    ///
    /// # Errors
    /// The disk was not detached: the driver's status.
    pub async fn leaves(
        &self,
        api: &FakeApiServer,
        controller: &Plugin,
        node: &str,
    ) -> Result<(), Status> {
        api.delete("pods", &format!("ns/virt-launcher-{}-{node}", self.name));
        self.volume.detach(controller, node).await?;
        api.delete("volumeattachments", &self.wish(node));
        Ok(())
    }

    fn migration(&self) -> String {
        format!("evacuation-{}", self.name)
    }

    /// Its migration is in a phase.
    pub fn moves(&self, api: &FakeApiServer, phase: &str) {
        migration(api, &self.migration(), &self.name, phase);
    }

    /// Its migration begins: there is a pod of it on a node that wants the disk.
    pub fn arrives(&self, api: &FakeApiServer, node: &str) {
        self.moves(api, "Scheduling");
        self.launch(api, node, Some(&format!("{}-uid", self.migration())));
        self.ask(api, node);
    }

    fn launch(&self, api: &FakeApiServer, node: &str, migration: Option<&str>) {
        launch(api, node, (&self.name, &self.name), migration);
    }

    /// The name of the VolumeAttachment of its disk to a node.
    #[must_use]
    pub fn wish(&self, node: &str) -> String {
        format!("va-{}-{node}", self.name)
    }

    /// The attach-detach controller wants its disk on a node.
    pub fn ask(&self, api: &FakeApiServer, node: &str) {
        wish(api, &self.volume.claim.name, &self.wish(node), node);
    }
}
