//! A node that is cut off from the cluster and still has its session, of which a person says
//! by mistake that its machine is off: its volume moves on while it writes.

use std::time::Duration;

use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::names::DriverName;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::agent::Status;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::machine_info;
use rds_csi_tests::guest::Process;
use rds_csi_tests::plugin::{ControllerProcess, NodeProcess};
use rds_csi_tests::volume::{Claim, PublishContext, Volume};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

/// Several attempts of the kernel and of the engine to connect again.
const ATTEMPTS: Duration = Duration::from_secs(20);

/// Objects of Kubernetes, and a controller and nodes that ask for them.
struct Stand {
    cluster: Cluster,
    api: FakeApiServer,
    /// An API server that node-a asks and that nobody tells anything.
    own: FakeApiServer,
}

impl Stand {
    async fn boot(arguments: &[&str]) -> Self {
        let mut cluster = Cluster::boot(&["node-a", "node-b"]).await;
        let (api, own) = (serve(&cluster).await, serve(&cluster).await);
        let kubeconfig = FakeApiServer::kubeconfig(api.address());
        let (lab, appliance) = (&cluster.lab, &cluster.appliance);
        let controller = ControllerProcess::start_asking(lab, appliance, &kubeconfig, arguments);
        cluster.controller = controller.await.unwrap();
        let stand = Self { cluster, api, own };
        stand.node_is("node-a", &json!([]), "True");
        stand.node_is("node-b", &json!([]), "True");
        stand
    }

    /// Its plugin asks an API server anew.
    async fn ask(&mut self, index: usize, api: &str) {
        let node = &mut self.cluster.nodes[index];
        node.process.stop().await.unwrap();
        let started = NodeProcess::start_asking(&node.guest, &node.name, api).await;
        node.process = started.unwrap();
    }

    fn node_is(&self, name: &str, taints: &Value, ready: &str) {
        self.api.put(&json!({
            "kind": "Node", "metadata": {"name": name}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}],
                "nodeInfo": machine_info(name)},
        }));
    }

    fn bind(&self, volume: &Volume) {
        let name = &volume.claim.name;
        for api in [&self.api, &self.own] {
            api.put(&json!({
                "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"claimRef": {"namespace": "vms", "name": name, "uid": name},
                    "accessModes": ["ReadWriteOnce"],
                    "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": volume.id()}},
                "status": {"phase": "Bound"},
            }));
        }
    }

    /// What external-attacher does for an attachment that a pod wants.
    async fn attach(&self, volume: &Volume, node: &Node) -> PublishContext {
        let name = attachment(volume, node);
        self.api.put(&json!({
            "kind": "Pod", "metadata": {"name": node.name, "namespace": "vms"},
            "spec": {"nodeName": node.name, "containers": [{"name": "main"}],
                "volumes": [{"name": "data",
                    "persistentVolumeClaim": {"claimName": volume.claim.name}}]},
            "status": {"phase": "Pending"},
        }));
        self.api.put(&json!({
            "kind": "VolumeAttachment", "metadata": {"name": name},
            "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node.name,
                "source": {"persistentVolumeName": volume.claim.name}},
        }));
        let context = volume.attach(self.cluster.controller(), &node.name).await;
        let context = context.unwrap();
        let attached = json!({
            "kind": "VolumeAttachment", "metadata": {"name": name},
            "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node.name,
                "source": {"persistentVolumeName": volume.claim.name}},
            "status": {"attached": true, "attachmentMetadata": context},
        });
        self.api.put(&attached);
        if node.name == "node-a" {
            self.own.put(&attached);
        }
        context
    }

    async fn detach(&self, volume: &Volume, node: &Node) {
        let detached = volume.detach(self.cluster.controller(), &node.name).await;
        detached.unwrap();
        let attachment = attachment(volume, node);
        self.api.delete("volumeattachments", &attachment);
        self.api.delete("pods", &format!("vms/{}", node.name));
    }

    async fn start(&self, volume: &Volume, index: usize) -> Pod {
        let node = &self.cluster.nodes[index];
        let context = self.attach(volume, node).await;
        volume.stage(node.plugin(), &context).await.unwrap();
        Pod::publish(node, volume, context, "pod").await
    }
}

pub(crate) async fn serve(cluster: &Cluster) -> FakeApiServer {
    let listener = TcpListener::bind((cluster.lab.address(), 0)).await;
    FakeApiServer::on(listener.unwrap()).unwrap()
}

fn attachment(volume: &Volume, node: &Node) -> String {
    let id: VolumeId = volume.id().parse().unwrap();
    attachment_name(&id, &DriverName::default(), &node.name)
}

/// Writes to the end of the device, and says how often that succeeded, for ever.
async fn write_on(node: &Node, pod: &Pod) -> Process {
    let script = format!(
        "i=0
         while [ ! -e /run/stop ]; do
           if head -c 65536 /dev/urandom | dd of={} bs=64K seek=960 oflag=direct conv=nocreat,notrunc status=none 2>/dev/null
           then i=$((i + 1)); echo $i
           else echo error; sleep 0.1
           fi
           sleep 0.02
         done",
        pod.target
    );
    let argv = ["bash", "-c", &script];
    let writer = node.guest.spawn("writer", &argv, &[]).await.unwrap();
    until("it writes", DEADLINE, async || {
        Ok((writes(&writer) > 2).then_some(()))
    })
    .await
    .unwrap();
    writer
}

/// How often it succeeded.
fn writes(writer: &Process) -> usize {
    let written = writer.output();
    written.lines().filter(|line| *line != "error").count()
}

/// A volume that node-a writes to, and that node-b has since a person said by mistake that
/// the machine of node-a is off.
struct Moved {
    volume: Volume,
    old: Pod,
    new: Pod,
    writer: Process,
    /// The checksum of where node-a writes, taken as soon as the controller had given the volume
    /// to node-b, which had done nothing with it yet.
    given: String,
    /// How often a write had succeeded then.
    written: usize,
}

/// The checksum of where node-a writes, read on the appliance: no other node writes there.
async fn end_sum(stand: &Stand, volume: &Volume) -> String {
    let file = stand.cluster.backing_file(volume).await;
    let script = format!("dd if={file} bs=64K skip=960 count=1 status=none | cksum");
    let guest = stand.cluster.appliance.guest();
    guest.script(&script).await.unwrap()
}

async fn moved(stand: &Stand) -> Moved {
    let cluster = &stand.cluster;
    let claim = Claim::block("moved", 64);
    let volume = claim.create(cluster.controller()).await.unwrap();
    stand.bind(&volume);
    let first = &cluster.nodes[0];
    let old = stand.start(&volume, 0).await;
    old.fill(first, &volume).await;
    let writer = write_on(first, &old).await;
    let taint = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
    stand.node_is("node-a", &taint, "Unknown");
    stand.detach(&volume, first).await;
    let second = &cluster.nodes[1];
    let context = stand.attach(&volume, second).await;
    let (given, written) = (end_sum(stand, &volume).await, writes(&writer));
    volume.stage(second.plugin(), &context).await.unwrap();
    let new = Pod::publish(second, &volume, context, "pod").await;
    assert_eq!(writer.status().await.unwrap(), None, "it tries on");
    Moved {
        volume,
        old,
        new,
        writer,
        given,
        written,
    }
}

#[tokio::test]
async fn a_lost_node_that_writes_on_writes_nothing_once_its_volume_has_moved() {
    let mut stand = Stand::boot(&[]).await;
    let own = FakeApiServer::kubeconfig(stand.own.address());
    stand.ask(0, &own).await;
    let all = FakeApiServer::kubeconfig(stand.api.address());
    stand.ask(1, &all).await;
    let Moved {
        volume,
        old,
        new,
        writer,
        given,
        written,
    } = moved(&stand).await;
    let (first, second) = (&stand.cluster.nodes[0], &stand.cluster.nodes[1]);
    let data = new.fill(second, &volume).await;
    let sum = stand.cluster.backing_sum(&volume).await;
    // Its own cluster tells it that the volume is its own, and the way to the device is open.
    tokio::time::sleep(ATTEMPTS).await;
    assert_eq!(stand.cluster.backing_sum(&volume).await, sum);
    assert_eq!(end_sum(&stand, &volume).await, given);
    assert_eq!(writes(&writer), written);
    let made = &volume.volume.volume_context["nqn"];
    assert_eq!(first.sessions(made).await, "", "and none can be opened");
    assert_ne!(new.context.get("nqn").unwrap(), made);
    assert_eq!(new.checksum(second, &volume).await, data);

    // The node is heard of again, ends what the cluster has forgotten, and may have the
    // volume when its turn comes.
    first.script("touch /run/stop").await;
    let ended = writer.wait(DEADLINE).await.unwrap();
    assert_eq!(ended, Some(Status::Exited(0)));
    stand.node_is("node-a", &json!([]), "True");
    volume.unpublish(first.plugin(), &old.name).await.unwrap();
    volume.unstage(first.plugin()).await.unwrap();
    volume.unpublish(second.plugin(), &new.name).await.unwrap();
    volume.unstage(second.plugin()).await.unwrap();
    stand.detach(&volume, second).await;
    let all = FakeApiServer::kubeconfig(stand.api.address());
    stand.ask(0, &all).await;
    let back = stand.start(&volume, 0).await;
    let first = &stand.cluster.nodes[0];
    assert_eq!(back.checksum(first, &volume).await, data);
    assert_eq!(
        back.context.get("nqn"),
        new.context.get("nqn"),
        "in good order"
    );
    volume.unpublish(first.plugin(), &back.name).await.unwrap();
    volume.unstage(first.plugin()).await.unwrap();
    stand.detach(&volume, first).await;
    volume.delete(stand.cluster.controller()).await.unwrap();
    stand.cluster.assert_clean().await;
}

/// What the test above would see without the fence.
#[tokio::test]
async fn without_fencing_it_does_write() {
    let stand = Stand::boot(&["--fencing", "off"]).await;
    let moved = moved(&stand).await;
    let second = &stand.cluster.nodes[1];
    moved.new.fill(second, &moved.volume).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(writes(&moved.writer) > moved.written);
    assert_ne!(end_sum(&stand, &moved.volume).await, moved.given);
}
