//! A volume is its node's alone at the device, and two nodes' while a machine moves.

use std::time::Duration;

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::names::DriverName;
use rds_csi_core::nqn::HostIdentity;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::node;
use rds_csi_tests::plugin::{CLUSTER, ControllerProcess};
use rds_csi_tests::volume::{Claim, PublishContext, Volume};
use serde_json::json;

use crate::cluster::{Cluster, Node};
use crate::fenced::serve;
use crate::pod::Pod;
use crate::probed::seen;

/// Long enough for the keep-alive to run out.
const OUTAGE: Duration = Duration::from_secs(8);
const KUBEVIRT: &str = "kubevirt.io/v1";

/// Whether a node's kernel can open a session of its own, as the host that the node is.
async fn gets_in(cluster: &Cluster, node: &Node, volume: &Volume) -> bool {
    let host = HostIdentity::of(&CLUSTER.parse().unwrap(), &node.name);
    let options = format!(
        "transport=tcp,traddr={},trsvcid=4420,nqn={},hostnqn={},hostid={}",
        cluster.appliance.address(),
        volume.volume.volume_context["nqn"],
        host.nqn,
        host.id
    );
    let script = format!(
        "exec 9<>/dev/nvme-fabrics
         if printf %s '{options}' >&9 2>/dev/null; then cat <&9; else echo refused; fi"
    );
    let told = node.script(&script).await;
    match told.as_str() {
        "refused" => false,
        told => {
            assert!(told.starts_with("instance="), "{told}");
            true
        }
    }
}

async fn attach(
    cluster: &Cluster,
    api: &FakeApiServer,
    volume: &Volume,
    node: &Node,
) -> PublishContext {
    let id: VolumeId = volume.id().parse().unwrap();
    let name = attachment_name(&id, &DriverName::default(), &node.name);
    api.put(&json!({
        "kind": "VolumeAttachment", "metadata": {"name": name},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node.name,
            "source": {"persistentVolumeName": volume.claim.name}},
    }));
    let context = volume.attach(cluster.controller(), &node.name).await;
    let context = context.unwrap();
    api.put(
        &json!({"kind": "VolumeAttachment", "metadata": {"name": name},
        "status": {"attached": true}}),
    );
    context
}

async fn detach(cluster: &Cluster, api: &FakeApiServer, volume: &Volume, node: &Node) {
    let detached = volume.detach(cluster.controller(), &node.name).await;
    detached.unwrap();
    let id: VolumeId = volume.id().parse().unwrap();
    let name = attachment_name(&id, &DriverName::default(), &node.name);
    api.delete("volumeattachments", &name);
}

/// The machine `vm`, and its pod on a node; for its migration, if it is one of that.
fn launch(api: &FakeApiServer, volume: &Volume, node: &str, migration: Option<&str>) {
    api.put(&json!({
        "kind": "VirtualMachineInstance", "apiVersion": KUBEVIRT,
        "metadata": {"name": "vm", "namespace": "vms", "uid": "vm-uid"},
        "status": {"phase": "Running"},
    }));
    api.put(&json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("virt-launcher-{node}"), "namespace": "vms",
            "labels": {"kubevirt.io": "virt-launcher", "kubevirt.io/migrationJobUID": migration},
            "ownerReferences": [{"apiVersion": KUBEVIRT, "controller": true,
                "kind": "VirtualMachineInstance", "name": "vm", "uid": "vm-uid"}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "compute"}],
            "volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": volume.claim.name}}]},
        "status": {"phase": "Pending"},
    }));
}

fn migration(api: &FakeApiServer, phase: &str) {
    api.put(&json!({
        "kind": "VirtualMachineInstanceMigration", "apiVersion": KUBEVIRT,
        "metadata": {"name": "move", "namespace": "vms", "uid": "move-uid"},
        "spec": {"vmiName": "vm"}, "status": {"phase": phase},
    }));
}

/// A volume of a machine, and the objects that a cluster has of it.
async fn machine(cluster: &Cluster, api: &FakeApiServer) -> Volume {
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    for name in ["node-a", "node-b"] {
        node(api, name, true);
    }
    let claim = Claim::block("machine", 64).mode(Mode::MultiNodeMultiWriter);
    let volume = claim.create(cluster.controller()).await.unwrap();
    let name = &volume.claim.name;
    api.put(&json!({
        "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"claimRef": {"namespace": "vms", "name": name, "uid": name},
            "accessModes": ["ReadWriteMany"], "volumeMode": "Block",
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": volume.id()}},
        "status": {"phase": "Bound"},
    }));
    volume
}

/// One writes, and the other reads that.
async fn passes(writer: (&Node, &Pod), reader: (&Node, &Pod), volume: &Volume) {
    let written = writer.1.fill(writer.0, volume).await;
    assert_eq!(reader.1.checksum(reader.0, volume).await, written);
}

#[tokio::test]
async fn a_machine_moves_and_the_device_refuses_whoever_does_not_have_its_volume() {
    for rule in ["exact", "list"] {
        moves(rule).await;
    }
}

async fn moves(rule: &str) {
    let switch = format!("access-rule={rule}");
    let mut cluster = Cluster::boot_on(&[&switch], &["node-a", "node-b"], true).await;
    let api = serve(&cluster).await;
    let kubeconfig = FakeApiServer::kubeconfig(api.address());
    let (lab, appliance) = (&cluster.lab, &cluster.appliance);
    let controller = ControllerProcess::start_asking(lab, appliance, &kubeconfig, &[]);
    cluster.controller = controller.await.unwrap();
    seen(&api).await;
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let volume = machine(&cluster, &api).await;

    launch(&api, &volume, "node-a", None);
    let context = attach(&cluster, &api, &volume, first).await;
    volume.stage(first.plugin(), &context).await.unwrap();
    let source = Pod::publish(first, &volume, context, "source").await;
    source.fill(first, &volume).await;
    assert!(!gets_in(&cluster, second, &volume).await, "not attached");

    migration(&api, "Scheduling");
    launch(&api, &volume, "node-b", Some("move-uid"));
    let context = attach(&cluster, &api, &volume, second).await;
    volume.stage(second.plugin(), &context).await.unwrap();
    let target = Pod::publish(second, &volume, context, "target").await;
    passes((first, &source), (second, &target), &volume).await;
    passes((second, &target), (first, &source), &volume).await;

    migration(&api, "Succeeded");
    api.delete("pods", "vms/virt-launcher-node-a");
    volume
        .unpublish(first.plugin(), &source.name)
        .await
        .unwrap();
    volume.unstage(first.plugin()).await.unwrap();
    detach(&cluster, &api, &volume, first).await;
    assert!(!gets_in(&cluster, first, &volume).await, "it has left");
    // The one that stays goes on, and is let in again after an outage.
    let data = target.fill(second, &volume).await;
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    tokio::time::sleep(OUTAGE).await;
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    assert_eq!(target.checksum(second, &volume).await, data);

    volume
        .unpublish(second.plugin(), &target.name)
        .await
        .unwrap();
    volume.unstage(second.plugin()).await.unwrap();
    detach(&cluster, &api, &volume, second).await;
    volume.delete(cluster.controller()).await.unwrap();
    cluster.assert_clean().await;
}
