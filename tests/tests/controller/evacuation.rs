//! A node is emptied: its machines move away at once, each with its disk, and no request of
//! one waits for those of the others.

use csi_proto::v1::volume_capability::access_mode::Mode;
use futures::future::join_all;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::volume::{Claim, Volume};
use rstest::rstest;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::cluster::{node, provision, start, wish};
use crate::harness::World;
use crate::migration;

/// A machine with one disk.
struct Machine {
    name: String,
    /// Its PersistentVolume's name.
    disk: String,
    volume: Volume,
}

impl Machine {
    /// One that runs on `node-a`.
    async fn start(api: &FakeApiServer, world: &World, number: usize) -> Self {
        let (name, disk) = (format!("vm-{number}"), format!("pvc-evacuated-{number}"));
        let claim = Claim::block(&disk, 4).mode(Mode::MultiNodeMultiWriter);
        let volume = provision(api, world, claim).await;
        api.put(
            &json!({"kind": "PersistentVolume", "metadata": {"name": disk},
            "spec": {"claimRef": {"name": name}}}),
        );
        let machine = Self { name, disk, volume };
        migration::machine(api, &machine.name);
        machine.launch(api, "node-a", None);
        machine.ask(api, "node-a");
        machine
            .volume
            .attach(&world.plugin, "node-a")
            .await
            .unwrap();
        machine
    }

    fn migration(&self) -> String {
        format!("evacuation-{}", self.name)
    }

    /// Its migration is in a phase.
    fn moves(&self, api: &FakeApiServer, phase: &str) {
        migration::migration(api, &self.migration(), &self.name, phase);
    }

    /// A pod of it on a node; for its migration or not.
    fn launch(&self, api: &FakeApiServer, node: &str, migration: Option<&str>) {
        migration::launch(api, node, (&self.name, &self.name), migration);
    }

    fn wish_name(&self, node: &str) -> String {
        format!("va-{}-{node}", self.name)
    }

    /// The attach-detach controller wants its disk on a node.
    fn ask(&self, api: &FakeApiServer, node: &str) {
        wish(api, &self.disk, &self.wish_name(node), node);
    }
}

#[rstest]
#[case::ten(10)]
#[case::hundred(100)]
#[tokio::test]
async fn machines_of_a_node_that_is_emptied_all_arrive(#[case] count: usize) {
    let (api, world) = start().await;
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    for name in ["node-a", "node-b", "node-c"] {
        node(&api, name, true);
    }
    let starting = (0..count).map(|number| Machine::start(&api, &world, number));
    let machines = join_all(starting).await;

    for machine in &machines {
        machine.moves(&api, "Scheduling");
        machine.launch(
            &api,
            "node-b",
            Some(&format!("{}-uid", machine.migration())),
        );
        machine.ask(&api, "node-b");
        machine.ask(&api, "node-c");
    }
    let began = Instant::now();
    let arrived = join_all(
        machines
            .iter()
            .map(async |machine| machine.volume.attach(&world.plugin, "node-b").await),
    );
    for (machine, arrived) in machines.iter().zip(arrived.await) {
        assert!(arrived.is_ok(), "{}: {arrived:?}", machine.name);
    }
    let took = began.elapsed();
    assert!(took.as_secs() < 30, "{count} machines arrived in {took:?}");
    let thirds = join_all(
        machines
            .iter()
            .map(async |machine| machine.volume.attach(&world.plugin, "node-c").await),
    );
    for third in thirds.await {
        assert_eq!(third.unwrap_err().code(), Code::FailedPrecondition);
    }

    for machine in &machines {
        machine.moves(&api, "Succeeded");
        api.delete("pods", &format!("ns/virt-launcher-{}-node-a", machine.name));
    }
    let left = join_all(machines.iter().map(async |machine| {
        let left = machine.volume.detach(&world.plugin, "node-a").await;
        api.delete("volumeattachments", &machine.wish_name("node-a"));
        left
    }));
    for left in left.await {
        left.unwrap();
    }
    // What has arrived stays, and the way back is another migration's.
    for machine in &machines {
        machine
            .volume
            .attach(&world.plugin, "node-b")
            .await
            .unwrap();
        machine.ask(&api, "node-a");
        let back = machine.volume.attach(&world.plugin, "node-a").await;
        assert_eq!(back.unwrap_err().code(), Code::FailedPrecondition);
    }
}
