//! A power cut takes the device back to a configuration of before: the node that has a volume
//! waits for a name that is not there, until the controller that leads has the volume offered
//! under it again.

use std::time::Duration;

use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::{bind, run};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rds_sim::Fault;
use rstest::rstest;
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{node, wish};
use crate::fence::offered;
use crate::foreign::{item, known};
use crate::harness::{DIRECTORY, NAME, PATIENCE, Setup, World};

/// How often is looked for names that the device has forgotten.
const LOOK: Duration = Duration::from_millis(100);
/// Many looks.
const STILL: Duration = Duration::from_secs(2);

/// Whose volume the device forgets.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// By a claim, and the PersistentVolume is the provisioner's.
    Here,
    /// The same, and a person made its PersistentVolume anew under another name.
    Renamed,
    /// By the older driver.
    Before,
}

struct Stand {
    api: FakeApiServer,
    world: World,
    volume: Volume,
}

/// A device that forgets, and a volume that was on it for long.
async fn stand(made: Made) -> Stand {
    let api = FakeApiServer::start().await.unwrap();
    let forgetful = Setup {
        api: Some(api.address()),
        ..Setup::switches(&["config-loss-seconds=3600"])
    };
    let forgetful = forgetful.config(|config| config.leftovers.look = LOOK);
    let world = forgetful.connected().await;
    let mut volume = match made {
        Made::Here | Made::Renamed => world.create(&Claim::block(NAME, 64)).await.unwrap(),
        Made::Before => {
            world.inject(item(NAME, &format!("{DIRECTORY}/{NAME}.img"), ""));
            known(NAME)
        }
    };
    if let Made::Renamed = made {
        "restored".clone_into(&mut volume.claim.name);
    }
    bind(&api, &volume, "data");
    world.sim.with_model(|model| model.flush());
    Stand { api, world, volume }
}

impl Stand {
    /// As the attach-detach controller names it.
    fn attachment(&self, node: &str) -> String {
        let id = self.volume.id().parse().unwrap();
        attachment_name(&id, &Default::default(), node)
    }

    fn wish(&self, name: &str) {
        node(&self.api, name, true);
        let attachment = self.attachment(name);
        wish(&self.api, &self.volume.claim.name, &attachment, name);
    }

    /// Attaches the volume to a node and gives the name that it was told, if any.
    async fn attach(&self, name: &str) -> Option<String> {
        self.wish(name);
        run(&self.api, name, "data");
        let context = self.volume.attach(&self.world.plugin, name).await.unwrap();
        let told = context.get("nqn").cloned();
        self.api.put(&json!({
            "kind": "VolumeAttachment", "metadata": {"name": self.attachment(name)},
            "status": {"attached": true, "attachmentMetadata": {"nqn": told}},
        }));
        told
    }

    fn delete(&self, node: &str) {
        let name = self.attachment(node);
        self.api.delete("volumeattachments", &name);
    }

    /// Nobody knows that `node-a` has let go, so `node-b` is told another name: this one.
    async fn renew(&self) -> String {
        assert_eq!(self.attach("node-a").await, None);
        self.delete("node-a");
        let told = self.attach("node-b").await.unwrap();
        assert_eq!(offered(&self.world).as_ref(), Some(&told));
        told
    }

    async fn power_cut(&self) {
        let boots = || self.world.sim.with_model(|model| model.device().boots);
        let before = boots();
        self.world.inject(Fault::Reboot {
            down_ms: 0,
            mount_ms: 0,
            power_cut: true,
        });
        let rebooted = async || Ok((boots() > before).then_some(()));
        until("the device is back", PATIENCE, rebooted)
            .await
            .unwrap();
    }

    async fn is_recalled(&self, told: &str) {
        let is_recalled =
            async || Ok((offered(&self.world).as_deref() == Some(told)).then_some(()));
        until("the name is recalled", PATIENCE, is_recalled)
            .await
            .unwrap();
    }
}

#[rstest]
#[case::made_here(Made::Here)]
#[case::by_a_persistent_volume_of_another_name(Made::Renamed)]
#[case::of_the_older_driver(Made::Before)]
#[tokio::test]
async fn a_name_that_the_device_forgot_is_recalled_while_a_node_waits_for_it(#[case] made: Made) {
    let stand = stand(made).await;
    let told = stand.renew().await;
    stand.power_cut().await;
    stand.is_recalled(&told).await;
}

/// One that was refused waits for as long as its pod does.
#[tokio::test]
async fn who_only_wishes_for_the_volume_holds_no_name_up_and_who_was_granted_it_does() {
    let stand = stand(Made::Here).await;
    let made = offered(&stand.world);
    let told = stand.renew().await;
    stand.wish("node-c");
    let refused = stand.volume.attach(&stand.world.plugin, "node-c").await;
    refused.unwrap_err();
    stand.power_cut().await;
    stand.is_recalled(&told).await;

    // The same one as if its answer were on its way: what the export was renewed for.
    let attachment = stand.attachment("node-c");
    let uid = stand.api.get("volumeattachments", &attachment).unwrap();
    let uid = uid["metadata"]["uid"].as_str().unwrap().to_owned();
    let key = "rds.csi.srvlab.io/granted-attachments";
    let volume = stand.api.get("persistentvolumes", NAME).unwrap();
    let record = volume["metadata"]["annotations"][key].as_str().unwrap();
    let record = format!("{record},{uid}@node-c");
    stand.api.put(&json!({"kind": "PersistentVolume",
        "metadata": {"name": NAME, "annotations": {key: record}}}));
    stand.power_cut().await;
    sleep(STILL).await;
    assert_eq!(
        offered(&stand.world),
        made,
        "what is on its way is not disturbed"
    );
    stand.delete("node-c");
    stand.is_recalled(&told).await;
}

/// Whoever was shut out may have come in under the name of before, and would stay.
#[tokio::test]
async fn no_name_is_recalled_where_sessions_outlive_their_export() {
    let stand = stand(Made::Here).await;
    let made = offered(&stand.world);
    let told = stand.renew().await;
    let leads = async || Ok(stand.world.leads().then_some(()));
    until("it leads", PATIENCE, leads).await.unwrap();
    let mut lease = stand.api.list("leases").remove(0);
    lease["metadata"]["annotations"] = json!({"rds.csi.srvlab.io/device-access":
        "rule=exact,keeps-sessions=true,ends-sessions=false,address=192.0.2.1:4420,version=7.1"});
    stand.api.put(&lease);
    let heard = async || Ok(stand.world.word());
    until("it is heard", PATIENCE, heard).await.unwrap();
    stand.power_cut().await;
    sleep(STILL).await;
    assert_ne!(made.as_ref(), Some(&told));
    assert_eq!(offered(&stand.world), made);
}
