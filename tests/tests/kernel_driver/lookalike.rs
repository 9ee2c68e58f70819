//! Sessions that look like a volume's and are somebody else's.

use rds_csi_tests::volume::{Claim, Volume};
use tonic::Code;

use crate::cluster::Cluster;
use crate::faults::device::is_normal;
use crate::pod::Pod;

const STRANGER: &str = "nqn.2014-08.org.nvmexpress:uuid:0a4f7c52-8ad4-4f0e-9a6e-0d8a6b0a7f11";
const STRANGER_ID: &str = "0a4f7c52-8ad4-4f0e-9a6e-0d8a6b0a7f11";
const HOST: (&str, &str) = (STRANGER, STRANGER_ID);
/// Some of the stranger's device.
const SCRATCH: &str = "bs=1M count=2 iflag=direct status=none";

/// The stranger's session: its name, its subsystem, and its number at the device.
const STRANGERS: &str = "for c in /sys/class/nvme/nvme*; do
    [ \"$(cat $c/hostnqn)\" != nqn.2014-08.org.nvmexpress:uuid:0a4f7c52-8ad4-4f0e-9a6e-0d8a6b0a7f11 ] ||
      { echo $c; cat $c/subsysnqn $c/cntlid; }
  done";

fn nqn(volume: &Volume) -> &str {
    &volume.volume.volume_context["nqn"]
}

/// Serves a file under an NQN that the volume's is the beginning of.
async fn export_lookalike(cluster: &Cluster, volume: &Volume) -> String {
    let name = format!("{}0", nqn(volume));
    let script = format!(
        "truncate -s 64M /mnt/appliance/stranger
         cd /sys/kernel/config/nvmet
         mkdir -p subsystems/{name}/namespaces/1
         echo 1 >subsystems/{name}/attr_allow_any_host
         echo /mnt/appliance/stranger >subsystems/{name}/namespaces/1/device_path
         echo 1 >subsystems/{name}/namespaces/1/enable
         for port in ports/*; do ln -s $PWD/subsystems/{name} $port/subsystems/{name}; done"
    );
    cluster.appliance.guest().script(&script).await.unwrap();
    name
}

#[tokio::test]
async fn sessions_of_strangers_are_never_ended() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let claim = Claim::filesystem("ours", 64, "ext4");
    let volume = claim.create(controller).await.unwrap();
    let lookalike = export_lookalike(&cluster, &volume).await;
    cluster.connect_by_hand(&node.guest, &lookalike, HOST).await;
    let strangers = node.script(STRANGERS).await;
    assert_eq!(strangers.lines().count(), 3, "{strangers}");
    for _ in 0..2 {
        let pod = Pod::start(controller, node, &volume, "pod").await;
        let written = pod.fill(node, &volume).await;
        // The engine connects the volume anew and touches no name that begins like its own.
        cluster.export(&volume, false).await;
        node.await_controllers(1).await;
        cluster.export(&volume, true).await;
        is_normal(node, &volume, &pod).await;
        assert_eq!(pod.checksum(node, &volume).await, written);
        assert_eq!(node.script(STRANGERS).await, strangers);
        pod.stop(controller, node, &volume).await;
        assert_eq!(node.sessions(nqn(&volume)).await, "");
        assert_eq!(node.sessions(&lookalike).await, "live");
    }
    let device = node.script("ls -d /dev/nvme*n1").await;
    let read = format!("dd if={device} {SCRATCH} | wc -c");
    assert_eq!(node.script(&read).await, (2 << 20).to_string());

    // Our own NQN, but not our session: nothing tells whose it is.
    let context = volume.attach(controller, &node.name).await.unwrap();
    cluster
        .connect_by_hand(&node.guest, nqn(&volume), HOST)
        .await;
    let refused = volume.unstage(node.plugin()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains(STRANGER), "{refused:?}");
    assert_eq!(node.sessions(nqn(&volume)).await, "live");
    let staged = volume.stage(node.plugin(), &context).await.unwrap_err();
    assert_eq!(staged.code(), Code::FailedPrecondition, "{staged:?}");
    let help = format!("nvme disconnect -n {}", nqn(&volume));
    for word in [STRANGER, &help] {
        assert!(staged.message().contains(word), "{staged:?}");
    }
    let unstaged = volume.unstage(node.plugin()).await;
    assert!(unstaged.is_err(), "a stranger's session was ended");
    assert_eq!(node.sessions(nqn(&volume)).await, "live");

    let script = "for c in /sys/class/nvme/nvme*; do echo 1 >$c/delete_controller; done";
    node.script(script).await;
    volume.unstage(node.plugin()).await.unwrap();
    volume.detach(controller, &node.name).await.unwrap();
    volume.delete(controller).await.unwrap();
    node.assert_clean().await;
}
