//! Nodes that are lost, and nodes that are in the cluster no more.

use rds_csi_tests::wait::until;

use crate::asking::PATIENCE;
use crate::objects::{MACHINE, POD};
use crate::stand::{A, B, Stand};

/// The command that a refusal ends with, after the words before it.
fn command<'a>(refusal: &'a str, program: &str) -> Vec<&'a str> {
    let at = refusal.find(program).unwrap();
    let line = refusal[at..].lines().next().unwrap_or_default();
    let words = line.trim_end_matches(|end: char| !end.is_ascii_alphanumeric());
    words.split(' ').skip(1).collect()
}

impl Stand {
    /// Waits until the claim of a disk was told that a node which may still write was shut out
    /// before another one got it.
    async fn fenced(&self, disk: &str, lost: &str, node: &str) {
        let told = format!(
            "AttachmentFenced: node {lost} had the volume and was never known to let go of it: its export was ended, and begun anew under another name, before node {node} got the volume"
        );
        let mut events = Vec::new();
        let fenced = until("the fence is told", PATIENCE, async || {
            events = self.events(disk).await;
            Ok(events.contains(&told).then_some(()))
        });
        if let Err(error) = fenced.await {
            panic!("{error:#}: {events:#?}");
        }
    }
}

#[tokio::test]
async fn what_a_deleted_node_left_attached_is_freed_by_the_command_of_the_refusal() {
    let stand = Stand::open("sequences-leftover", &["root"]).await;
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    stand.launcher("lost", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    stand.nodes.delete(A).await;
    // As the collector of pods does, some time after their node is gone.
    stand.pod_gone("lost").await;
    stand.objects.delete(MACHINE, "web", 0).await;

    let again = stand.machine("web", &root).await;
    stand.launcher("again", B, &root, &again, None).await;
    let words = "node alone-a has the volume and is in the cluster no more; its machine may still write to it";
    stand.waits("root", B, words).await;
    assert_eq!(stand.nodes_with("root").await, [A]);
    let refusal = stand.refusal("root", B).await;
    let words = command(&refusal, "kubectl delete volumeattachment");
    stand.cluster.kubectl(&words).await.unwrap();
    stand.gone("root", A).await;
    stand.granted("root", B).await;
    assert_eq!(stand.nodes_with("root").await, [B]);
    stand.fenced("root", A, B).await;
    stand.told("root", &[]).await;
    stand.close().await;
}

#[tokio::test]
async fn a_machine_that_is_started_anew_waits_until_its_lost_node_is_said_to_be_off() {
    let stand = Stand::open("sequences-lost", &["root"]).await;
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    stand.launcher("lost", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    stand.nodes.use_volumes(A, &[&stand.disk("root").id]).await;
    stand.nodes.lose(A).await;
    // Evicted, and never seen to end: the pod stays, and the machine is started anew.
    stand.objects.delete(POD, "lost", 30).await;
    stand.objects.delete(MACHINE, "web", 0).await;
    let again = stand.machine("web", &root).await;
    stand.launcher("again", B, &root, &again, None).await;
    let words = "node alone-a has the volume, is not ready, and may still write to it";
    stand.waits("root", B, words).await;

    // Six minutes later the attach-detach controller takes the disk from the node, which may
    // still write.
    stand.take_back("root", A).await;
    let kept = "node alone-a is not ready and may still write to the volume";
    stand.kept("root", A, kept).await;
    let refusal = stand.refusal("root", B).await;
    assert!(refusal.contains(words), "{refusal}");
    assert_eq!(stand.nodes_with("root").await, [A]);

    let words = command(&refusal, "kubectl taint node");
    stand.cluster.kubectl(&words).await.unwrap();
    stand.gone("root", A).await;
    stand.granted("root", B).await;
    assert_eq!(stand.nodes_with("root").await, [B]);
    stand.fenced("root", A, B).await;
    stand.told("root", &[]).await;

    // It comes back, with a pod that still believes to have the disk.
    stand.pod_gone("lost").await;
    let taint = "node.kubernetes.io/out-of-service-";
    let words = ["taint", "node", A, taint];
    stand.cluster.kubectl(&words).await.unwrap();
    stand.nodes.use_volumes(A, &[]).await;
    stand.nodes.come_back(A).await;
    let ready = "--for=condition=Ready";
    let words = ["wait", ready, &format!("node/{A}"), "--timeout=60s"];
    stand.cluster.kubectl(&words).await.unwrap();
    stand.launcher("back", A, &root, &again, None).await;
    let words = "pod back on node alone-a is not for one, as it was not made for a migration";
    stand.refused("root", A, words).await;
    assert_eq!(stand.nodes_with("root").await, [B]);
    stand.close().await;
}
