//! A machine of KubeVirt moves: its volume goes to two nodes for as long as that lasts, and
//! to nobody else. The objects are as KubeVirt 1.x makes them.

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_cluster::{MachineDisk, Reader as _};
use rds_csi_tests::api_server::FakeApiServer;
pub(crate) use rds_csi_tests::api_server::objects::{launch, machine, migration};
use rds_csi_tests::volume::{Claim, Volume};
use rstest::rstest;
use serde_json::json;
use tonic::{Code, Status};

use crate::cluster::{came_true, node, provision, shows, start, wish};
use crate::harness::World;

pub(crate) const NAME: &str = "pvc-7d1f2a52-9a3b-4c42-8f41-5a0f3a0c9a10";
/// The kinds of KubeVirt that are read, as paths name them.
const KINDS: &[&str] = &[
    "virtualmachineinstances",
    "virtualmachineinstancemigrations",
];

/// The pod of a machine with the disk of [`NAME`] on a node; for a migration, if one is named.
pub(crate) fn launcher(api: &FakeApiServer, node: &str, machine: &str, migration: Option<&str>) {
    launch(api, node, (machine, "data"), migration);
}

/// A claim of a disk that a machine can move with.
pub(crate) fn disk() -> Claim {
    Claim::block(NAME, 64).mode(Mode::MultiNodeMultiWriter)
}

/// A volume that `node-a` has, with the pod of a machine there. Every node wants it.
pub(crate) async fn running(api: &FakeApiServer, world: &World) -> Volume {
    running_on(api, world, disk()).await
}

pub(crate) async fn running_on(api: &FakeApiServer, world: &World, claim: Claim) -> Volume {
    api.know_kubevirt(KINDS);
    let volume = provision(api, world, claim).await;
    for name in ["node-a", "node-b", "node-c"] {
        node(api, name, true);
    }
    wish(api, NAME, "va-a", "node-a");
    machine(api, "vm");
    launcher(api, "node-a", "vm", None);
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume
}

pub(crate) async fn refused(world: &World, volume: &Volume, node: &str) -> Status {
    let refused = volume.attach(&world.plugin, node).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    refused
}

/// From `node-a` to `node-b`, with a third node that hears no all the time.
pub(crate) async fn machine_moves(api: &FakeApiServer, world: &World) {
    let volume = running(api, world).await;
    wish(api, NAME, "va-b", "node-b");
    wish(api, NAME, "va-c", "node-c");
    let none = refused(world, &volume, "node-b").await;
    assert!(
        none.message().contains("no pod on node node-b asks"),
        "{none}"
    );

    launcher(api, "node-b", "vm", Some("move-uid"));
    let none = refused(world, &volume, "node-b").await;
    assert!(
        none.message()
            .contains("its migration move-uid exists no more"),
        "{none}"
    );

    migration(api, "move", "vm", "Pending");
    launcher(api, "node-c", "vm", Some("move-uid"));
    volume.attach(&world.plugin, "node-b").await.unwrap();
    let third = refused(world, &volume, "node-c").await;
    assert!(
        third.message().contains("nodes node-a and node-b have"),
        "{third}"
    );

    // An answer that was lost is given again, and once it has come true the end changes nothing.
    volume.attach(&world.plugin, "node-b").await.unwrap();
    came_true(api, "va-b");
    migration(api, "move", "vm", "Succeeded");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    api.delete("volumeattachments", "va-a");
    let second = refused(world, &volume, "node-c").await;
    assert!(
        second.message().contains("its migration move is Succeeded"),
        "{second}"
    );
}

#[tokio::test]
async fn a_machine_moves_and_a_third_node_is_refused_at_every_step() {
    let (api, world) = start().await;
    machine_moves(&api, &world).await;
}

/// The disk of a machine that runs is copied: the node of the copy is told to only read it.
#[tokio::test]
async fn the_node_of_a_copy_is_told_to_only_read() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    let writes = volume.attach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(writes.get("reader"), None);
    wish(&api, NAME, "va-b", "node-b");
    api.put(&json!({
        "kind": "Pod",
        "metadata": {"name": "clone", "namespace": "ns", "labels":
            {"app": "containerized-data-importer", "cdi.kubevirt.io": "cdi-clone-source"}},
        "spec": {"nodeName": "node-b", "containers": [{"name": "source"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": "Pending"},
    }));
    for _ in 0..2 {
        let reads = volume.attach(&world.plugin, "node-b").await.unwrap();
        assert_eq!(reads.get("reader").map(String::as_str), Some("true"));
    }
}

/// An older KubeVirt serves its kinds in another version, and one that is updated in two.
#[rstest]
#[case::older(&[("v1alpha3", KINDS)])]
#[case::newer(&[("v2", KINDS), ("v1", KINDS)])]
#[case::not_all_in_the_preferred_one(&[("v1", &KINDS[..1]), ("v1alpha3", KINDS)])]
#[tokio::test]
async fn a_machine_moves_whichever_version_is_served(#[case] versions: &[(&str, &[&str])]) {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    api.serve_kubevirt(versions);
    wish(&api, NAME, "va-b", "node-b");
    launcher(&api, "node-b", "vm", Some("move-uid"));
    migration(&api, "move", "vm", "Pending");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    let server = FakeApiServer::client(api.address()).await.unwrap();
    let disks = server.disks("ns", "vm").await.unwrap();
    assert_eq!(disks, Some(Vec::new()), "the machine is there");
}

/// Its disks are not those of a machine that is not there.
#[tokio::test]
async fn a_machine_that_half_a_kubevirt_hides_is_not_absent() {
    let api = FakeApiServer::start().await.unwrap();
    machine(&api, "vm");
    let server = FakeApiServer::client(api.address()).await.unwrap();
    assert_eq!(server.disks("ns", "vm").await.unwrap(), None, "no KubeVirt");
    api.know_kubevirt(&KINDS[1..]);
    let hidden = server.disks("ns", "vm").await.unwrap_err();
    let said = "KubeVirt is installed without virtualmachineinstances";
    assert_eq!(hidden.to_string(), said);
    api.know_kubevirt(KINDS);
    assert_eq!(server.disks("ns", "another").await.unwrap(), None);
}

/// As KubeVirt writes a machine of which a volume migration copies one disk.
#[tokio::test]
async fn the_disks_of_a_machine_are_read_with_what_is_copied() {
    let api = FakeApiServer::start().await.unwrap();
    api.know_kubevirt(KINDS);
    machine(&api, "vm");
    api.put(&json!({
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm", "namespace": "ns"},
        "spec": {"volumes": [
            {"name": "root", "persistentVolumeClaim": {"claimName": "data-new"}},
            {"name": "more", "dataVolume": {"name": "data-2"}},
            {"name": "scratch", "ephemeral": {"persistentVolumeClaim": {"claimName": "golden"}}},
            {"name": "cloudinit", "cloudInitNoCloud": {"userData": "#cloud-config"}},
        ]},
        "status": {"migratedVolumes": [{
            "volumeName": "root",
            "sourcePVCInfo": {"claimName": "data", "volumeMode": "Block"},
            "destinationPVCInfo": {"claimName": "data-new", "volumeMode": "Block"},
        }]},
    }));
    let server = FakeApiServer::client(api.address()).await.unwrap();
    let disk = |name: &str, claim: &str, copied| MachineDisk {
        name: name.to_owned(),
        claim: claim.to_owned(),
        copied,
    };
    assert_eq!(
        server.disks("ns", "vm").await.unwrap().unwrap(),
        [
            disk("root", "data-new", true),
            disk("more", "data-2", false),
            disk("scratch", "golden", false),
        ]
    );
}

/// A person's word that two machines share a disk, on the PersistentVolume.
fn except(api: &FakeApiServer, until: &str) {
    let word = format!("{until} two nodes of sql1");
    api.put(
        &json!({"kind": "PersistentVolume", "metadata": {"name": NAME,
        "annotations": {"rds.csi.srvlab.io/shared-disk": word}}}),
    );
}

#[tokio::test]
async fn an_exception_on_the_persistent_volume_holds_until_its_end() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    wish(&api, NAME, "va-b", "node-b");
    launcher(&api, "node-b", "another", None);
    refused(&world, &volume, "node-b").await;
    except(&api, "2999-01-01T00:00:00Z");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    shows(&world, "/metrics", "rds_csi_attachment_exceptions_total 1").await;

    // What has come true stands; who comes after the end is refused.
    came_true(&api, "va-b");
    except(&api, "2020-01-01T00:00:00Z");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    api.delete("volumeattachments", "va-b");
    wish(&api, NAME, "va-c", "node-c");
    launcher(&api, "node-c", "another", None);
    let after = refused(&world, &volume, "node-c").await;
    let why = "annotation shared-disk: the exception ended at 2020-01-01T00:00:00Z";
    assert!(after.message().contains(why), "{after}");
}

#[tokio::test]
async fn two_pods_share_no_block_volume() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    wish(&api, NAME, "va-b", "node-b");
    launcher(&api, "node-b", "another", None);
    let second = refused(&world, &volume, "node-b").await;
    for part in [
        "for the live migration of the machine there",
        "Pod ns/virt-launcher-vm-node-a is in the way",
    ] {
        assert!(second.message().contains(part), "{second}");
    }
}

#[tokio::test]
async fn a_cluster_with_half_of_kubevirt_is_told_so() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    wish(&api, NAME, "va-b", "node-b");
    launcher(&api, "node-b", "vm", Some("move-uid"));
    for (kinds, part) in [
        (&[][..], "there is no KubeVirt here"),
        (
            &["virtualmachineinstances"][..],
            "installed without virtualmachineinstancemigrations",
        ),
    ] {
        api.know_kubevirt(kinds);
        let second = refused(&world, &volume, "node-b").await;
        assert!(second.message().contains(part), "{second}");
    }
}
