//! What is served under a volume's NQN and is not the volume: nobody gets it, and no write of
//! those that go on trying reaches it.

use std::time::Duration;

use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;

use super::device::claims;
use super::table::Table;
use super::writer::Writer;
use crate::calls::{stage_at_last, stats};
use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

/// Long enough for the kernel's attempts and for those of the engine.
const ATTEMPTS: Duration = Duration::from_secs(15);

/// Writers of every sort on both nodes.
async fn writers(cluster: &Cluster) -> Vec<Writer> {
    let mut writers = Vec::new();
    for index in 0..cluster.nodes.len() {
        for claim in claims(&format!("identity-{index}")) {
            writers.push(Writer::start_on(cluster, index, claim).await);
        }
    }
    writers
}

/// Asserts that for a while nobody is told that a volume is well, no record is acknowledged,
/// and nothing is written to what is served in its place.
async fn assert_not_handed_back(cluster: &Cluster, writers: &[Writer]) {
    let mut before = Vec::new();
    for writer in writers {
        let sum = cluster.backing_sum(&writer.volume).await;
        before.push((sum, writer.times().len()));
    }
    tokio::time::sleep(ATTEMPTS).await;
    for (writer, before) in writers.iter().zip(&before) {
        let (name, volume) = (writer.name(), &writer.volume);
        let plugin = writer.on(cluster).plugin();
        if let Ok(report) = stats(plugin, volume, writer.target()).await {
            let condition = report.volume_condition.unwrap();
            assert!(condition.abnormal, "{name}: {condition:?}");
        }
        let after = (cluster.backing_sum(volume).await, writer.times().len());
        assert_eq!(after, *before, "{name}");
    }
}

async fn assert_formats(cluster: &Cluster) {
    for node in &cluster.nodes {
        assert_eq!(node.formats().await, 2, "{}", node.name);
    }
}

/// Whether the volume's content is served as another namespace, nothing tells that it is
/// the volume: it is not used until the volume is staged anew.
#[tokio::test]
async fn a_namespace_of_another_identity_is_not_handed_back() {
    let mut cluster = Cluster::boot_pair(&["namespace-ids=changing"]).await;
    let mut table = Table::default();
    let mut writers = writers(&cluster).await;
    cluster.appliance.power_off().unwrap();
    cluster.appliance.power_on().await.unwrap();
    // What is on its way when the kernel connects again by itself is written before the
    // kernel looks at the identity of what is there; then it takes the device away.
    for writer in &writers {
        writer.fails().await;
    }
    assert_not_handed_back(&cluster, &writers).await;
    for writer in &mut writers {
        let errors = writer.new_errors();
        table.row("namespace of another identity", writer, f64::NAN, errors);
    }
    // A pod that is made anew has its data.
    for writer in writers {
        writer.end(&cluster).await;
        let (volume, node) = (&writer.volume, writer.on(&cluster));
        // As kubelet does: again, where the engine is at work on the volume.
        until("the volume is taken down", DEADLINE, async || {
            let unpublished = volume.unpublish(node.plugin(), "pod").await.is_ok();
            let gone = unpublished && volume.unstage(node.plugin()).await.is_ok();
            Ok(gone.then_some(()))
        })
        .await
        .unwrap();
        let context = &writer.pod.context;
        stage_at_last(node.plugin(), volume, context).await;
        Pod::publish(node, volume, context.clone(), "pod").await;
        let name = writer.name().to_owned();
        let bytes = writer.compare(&cluster).await;
        table.verified(&name, bytes);
    }
    assert_formats(&cluster).await;
    cluster.assert_clean().await;
}

/// A file that was replaced by a shorter one, under the same identity: what is beyond its
/// end is lost, and a filesystem on it would find that out by and by.
#[tokio::test]
async fn a_smaller_namespace_is_not_handed_back_until_it_is_whole() {
    let cluster = Cluster::boot_pair(&[]).await;
    // While it is exported the port is open, and whoever asks for another volume is told
    // not to retry.
    let anchor = Claim::block("anchor", 4).create(cluster.controller()).await;
    let anchor = anchor.unwrap();
    let mut table = Table::default();
    let mut writers = writers(&cluster).await;
    let appliance = cluster.appliance.guest();
    export_all(&cluster, &writers, false).await;
    for node in &cluster.nodes {
        node.await_controllers(0).await;
    }
    for writer in &writers {
        let file = cluster.backing_file(&writer.volume).await;
        let cut = format!("cp --sparse=always {file} {file}.whole; truncate -s -16M {file}");
        appliance.script(&cut).await.unwrap();
    }
    export_all(&cluster, &writers, true).await;
    assert_not_handed_back(&cluster, &writers).await;

    export_all(&cluster, &writers, false).await;
    for writer in &writers {
        let file = cluster.backing_file(&writer.volume).await;
        // Into the same file, and no larger than it was: the appliance has little memory.
        let mend = format!("cp --sparse=always {file}.whole {file}; rm {file}.whole");
        appliance.script(&mend).await.unwrap();
    }
    export_all(&cluster, &writers, true).await;
    for writer in &mut writers {
        let back = writer.on(&cluster).clock().await;
        let resumed = writer.resumed(back).await - back;
        let errors = writer.new_errors();
        assert!(errors > 0, "{} was spared", writer.name());
        table.row("namespace too small, then whole", writer, resumed, errors);
    }
    for writer in writers {
        let name = writer.name().to_owned();
        let bytes = writer.finish(&cluster).await;
        table.verified(&name, bytes);
    }
    anchor.delete(cluster.controller()).await.unwrap();
    assert_formats(&cluster).await;
    cluster.assert_clean().await;
}

async fn export_all(cluster: &Cluster, writers: &[Writer], on: bool) {
    for writer in writers {
        cluster.export(&writer.volume, on).await;
    }
}
