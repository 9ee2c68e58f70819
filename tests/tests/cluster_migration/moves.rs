//! A machine moves from node to node and back, with its disk.

use rds_csi_tests::cluster::claim::{Claim, DEVICE};
use rds_csi_tests::wait::until;

use crate::stand::{LONG, Stand};
use crate::third::THIRD_POD;

const MACHINE: &str = "web";
/// 1 MiB that nobody can guess, on the medium and not in a cache of this node.
const WRITE: &str = "dd if=/dev/urandom of=DEVICE bs=1M count=1 conv=fsync,notrunc 2>/dev/null";
const READ: &str = "dd if=DEVICE bs=1M count=1 iflag=direct 2>/dev/null | md5sum";

impl Stand {
    /// A machine that runs by the pod `source` on node-a: its disk, the PersistentVolume of
    /// that, and its own UID.
    async fn running(&self) -> (Claim, String, String) {
        let disk = Claim::block("root").access("ReadWriteMany");
        self.apply(&disk.manifest()).await;
        let volume = self.namespace.bound("root").await.unwrap();
        let uid = self.machine(MACHINE, &[&disk]).await;
        self.launch("source", "node-a", &disk, (MACHINE, &uid), None)
            .await;
        self.namespace.running("source").await.unwrap();
        (disk, volume, uid)
    }

    async fn write(&self, pod: &str) -> String {
        let script = WRITE.replace("DEVICE", DEVICE);
        self.namespace.sh(pod, &script).await.unwrap();
        self.read(pod).await
    }

    async fn read(&self, pod: &str) -> String {
        let script = READ.replace("DEVICE", DEVICE);
        self.namespace.sh(pod, &script).await.unwrap()
    }

    /// Nothing but a migration brings a second pod of the machine to its disk.
    async fn early_pod_waits(&self, disk: &Claim, machine: (&str, &str)) {
        self.launch("early", "node-b", disk, machine, None).await;
        let event = self
            .namespace
            .event("early", "is not for one", LONG)
            .await
            .unwrap();
        assert!(
            event.contains("kubectl describe pod -n migration-moves source"),
            "{event}"
        );
        self.namespace.remove("pod", "early").await.unwrap();
    }

    /// The guest of a pod has gone: the pod has succeeded, and stays.
    async fn ends(&self, pod: &str) {
        // The answer must be there before the container is not.
        let script = "(sleep 1; kill 1) >/dev/null 2>&1 &";
        self.namespace.sh(pod, script).await.unwrap();
        until("the pod has ended", LONG, async || {
            let found = self.namespace.get("pod", pod).await?;
            Ok((found["status"]["phase"] == "Succeeded").then_some(()))
        })
        .await
        .unwrap();
    }

    async fn until_wanted(&self, volume: &str, nodes: &[&str]) {
        until(&format!("{nodes:?} want the disk"), LONG, async || {
            Ok((self.wanted(volume, |_| true).await == nodes).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn until_attached(&self, volume: &str, nodes: &[&str]) {
        until(&format!("{nodes:?} have the disk"), LONG, async || {
            Ok((self.attached(volume).await == nodes).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_machine_moves_there_and_back_and_no_third_node_gets_in() {
    let stand = Stand::open("migration-moves").await;
    let (disk, volume, uid) = stand.running().await;
    let machine = (MACHINE, uid.as_str());
    let data = stand.write("source").await;
    stand.add_third().await;
    stand
        .third_is_refused(&volume, "node node-a has the volume")
        .await;

    stand.early_pod_waits(&disk, machine).await;
    // A migration that is asked for before its wish is gone would find two nodes.
    stand.until_wanted(&volume, &["node-a"]).await;

    // The target opens the disk while the source still has it.
    let there = stand.migration("there", MACHINE, "Scheduling").await;
    stand
        .launch("target", "node-b", &disk, machine, Some(&there))
        .await;
    stand.namespace.running("target").await.unwrap();
    stand.until_attached(&volume, &["node-a", "node-b"]).await;
    assert_eq!(stand.read("target").await, data);
    let data = stand.write("source").await;
    assert_eq!(stand.read("target").await, data);
    // A pod of the machine on the third does not help it.
    stand.launch_on_third(&disk, machine, Some(&there)).await;
    stand
        .third_is_refused(&volume, "nodes node-a and node-b have")
        .await;

    // Hand-over: from now on only the target writes. The source leaves.
    stand.migration("there", MACHINE, "Running").await;
    let data = stand.write("target").await;
    stand
        .third_is_refused(&volume, "nodes node-a and node-b have")
        .await;
    stand.migration("there", MACHINE, "Succeeded").await;
    stand
        .third_is_refused(&volume, "nodes node-a and node-b have")
        .await;
    stand.ends("source").await;
    stand.until_attached(&volume, &["node-b"]).await;
    assert_eq!(stand.read("target").await, data);
    let source = stand.namespace.get("pod", "source").await.unwrap();
    assert_eq!(source["status"]["phase"], "Succeeded", "it stays");
    stand
        .third_is_refused(&volume, "its migration there is Succeeded")
        .await;
    stand.namespace.remove("pod", THIRD_POD).await.unwrap();

    // At once back again, as an evacuation may ask.
    let back = stand.migration("back", MACHINE, "Pending").await;
    stand
        .launch("home", "node-a", &disk, machine, Some(&back))
        .await;
    stand.namespace.running("home").await.unwrap();
    assert_eq!(stand.read("home").await, data);
    stand
        .third_is_refused(&volume, "nodes node-a and node-b have")
        .await;
    let data = stand.write("home").await;
    stand.migration("back", MACHINE, "Succeeded").await;
    stand.namespace.remove("pod", "target").await.unwrap();
    stand.until_attached(&volume, &["node-a"]).await;
    assert_eq!(stand.read("home").await, data);
    stand
        .third_is_refused(&volume, "node node-a has the volume")
        .await;
    stand.remove_third().await;
    stand.close().await;
}

#[tokio::test]
async fn an_aborted_migration_ends_with_the_source_and_the_next_one_begins() {
    let stand = Stand::open("migration-aborted").await;
    let (disk, volume, uid) = stand.running().await;
    let machine = (MACHINE, uid.as_str());
    let data = stand.write("source").await;

    for name in ["first", "second"] {
        let migration = stand.migration(name, MACHINE, "TargetReady").await;
        stand
            .launch(name, "node-b", &disk, machine, Some(&migration))
            .await;
        stand.namespace.running(name).await.unwrap();
        let words = "MigrationStarted: nodes node-a and node-b have the volume for migration";
        let words = format!("{words} migration-aborted/{name}");
        stand.namespace.event("root", &words, LONG).await.unwrap();
        // Aborted: the object goes, and virt-controller ends the target.
        stand.namespace.remove("vmim", name).await.unwrap();
        stand.namespace.remove("pod", name).await.unwrap();
        stand.until_attached(&volume, &["node-a"]).await;
        assert_eq!(stand.read("source").await, data);
        let words = format!("migration migration-aborted/{name} has not arrived");
        stand.namespace.event("root", &words, LONG).await.unwrap();
    }
    stand.close().await;
}
