//! A node that was never known to let go of a volume is shut out at the device before
//! another one gets it.

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_core::attachment::Fencing;
use rds_csi_core::names::event;
use rds_csi_tests::api_server::objects::{machine_info, run};
use rds_csi_tests::api_server::{FakeApiServer, Fault as ApiFault};
use rds_csi_tests::volume::{Claim, PublishContext, Volume};
use rds_sim::Fault;
use rds_sim::fault::{Harm, Moment};
use rstest::rstest;
use serde_json::json;
use tonic::{Code, Status};

use crate::cluster::{came_true, is_told, node, page, provision, setup, shows, start, wish};
use crate::harness::{Setup, World, code};
use crate::migration::{launch, machine, migration};

pub(crate) const NAME: &str = "pvc-3c9f4d8e-6a51-4f0b-8a1d-2b7e9f5c6d10";
const TAINT: &str = "node.kubernetes.io/out-of-service";

/// What the device offers the one volume as, if it does.
pub(crate) fn offered(world: &World) -> Option<String> {
    let items = world.items();
    let file = items[0].file().unwrap();
    file.export.then(|| items[0].nqn().unwrap())
}

/// The attach-detach controller wants the volume on a node, for a pod there, and what comes of
/// it is saved.
pub(crate) async fn attach(
    api: &FakeApiServer,
    world: &World,
    volume: &Volume,
    node: &str,
) -> Result<PublishContext, Status> {
    let name = format!("va-{node}");
    if api.get("volumeattachments", &name).is_none() {
        wish(api, NAME, &name, node);
    }
    if !api
        .list("pods")
        .iter()
        .any(|pod| pod["spec"]["nodeName"] == node)
    {
        run(api, node, "data");
    }
    let context = volume.attach(&world.plugin, node).await?;
    came_true(api, &name);
    Ok(context)
}

/// A volume that `node-a` has, of which a person then says that its machine is off.
pub(crate) async fn lost(api: &FakeApiServer, world: &World, claim: Claim) -> Volume {
    let volume = provision(api, world, claim).await;
    node(api, "node-a", true);
    node(api, "node-b", true);
    let context = attach(api, world, &volume, "node-a").await.unwrap();
    assert_eq!(
        context.get("nqn"),
        None,
        "it is what the volume context says"
    );
    give_up(api, world, &volume, "node-a").await;
    volume
}

async fn give_up(api: &FakeApiServer, world: &World, volume: &Volume, name: &str) {
    node(api, name, false);
    api.put(&json!({"kind": "Node", "metadata": {"name": name},
        "spec": {"taints": [{"key": TAINT, "effect": "NoExecute"}]}}));
    api.delete("pods", &format!("ns/user-{name}"));
    volume.detach(&world.plugin, name).await.unwrap();
    api.delete("volumeattachments", &format!("va-{name}"));
}

#[tokio::test]
async fn the_next_node_finds_the_volume_under_a_name_that_the_lost_one_does_not_know() {
    let (api, world) = start().await;
    let volume = lost(&api, &world, Claim::filesystem(NAME, 64, "ext4")).await;
    let made = offered(&world).unwrap();
    let context = attach(&api, &world, &volume, "node-b").await.unwrap();
    let now = offered(&world).unwrap();
    assert_ne!(now, made);
    assert_eq!(context.get("nqn"), Some(&now));
    // Asked again it stays, and so it does for whoever gets it in good order.
    let again = attach(&api, &world, &volume, "node-b").await.unwrap();
    assert_eq!((again, offered(&world).as_ref()), (context, Some(&now)));
    volume.detach(&world.plugin, "node-b").await.unwrap();
    api.delete("volumeattachments", "va-node-b");
    node(&api, "node-c", true);
    let context = attach(&api, &world, &volume, "node-c").await.unwrap();
    assert_eq!(context.get("nqn"), Some(&now));
    // CreateVolume finds it made.
    let found = world.create(&volume.claim).await.unwrap();
    assert_eq!(found.volume.volume_context, volume.volume.volume_context);
    volume.detach(&world.plugin, "node-c").await.unwrap();
    api.delete("volumeattachments", "va-node-c");
    volume.delete(&world.plugin).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_device_that_does_not_answer_gives_the_volume_to_nobody_until_it_does() {
    let (api, mut world) = start().await;
    let volume = lost(&api, &world, Claim::block(NAME, 64)).await;
    let mut nodes = ["node-b", "node-a"].iter().cycle();
    let mut harms = vec![
        Harm::Cut(Moment::Before),
        Harm::Cut(Moment::MidAnswer),
        Harm::Cut(Moment::After),
        Harm::Garbage,
    ];
    harms.extend((0..6).map(|count| Harm::Cut(Moment::AfterStatements(count))));
    let mut ended = 0;
    for harm in harms {
        println!("{harm:?}");
        let next = nodes.next().unwrap();
        node(&api, next, true);
        let before = offered(&world).unwrap();
        world.inject(Fault::on("nvme-tcp-export=no", harm));
        let refused = attach(&api, &world, &volume, next).await;
        assert_eq!(code(refused), Code::Unavailable);
        ended += usize::from(offered(&world).is_none());
        // Another process goes on from wherever this one was cut off.
        world.restart().await;
        let context = attach(&api, &world, &volume, next).await.unwrap();
        let now = offered(&world).unwrap();
        assert_ne!(now, before);
        assert_eq!(context.get("nqn"), Some(&now));
        give_up(&api, &world, &volume, next).await;
    }
    assert!(ended >= 1, "no cut met an export that had ended");
}

/// The lost node is back, and its new pod runs on the session that was left to it, before there
/// is an attachment for it; that of a pod that has gone elsewhere stands there still.
#[tokio::test]
async fn nobody_is_shut_out_for_an_attachment_that_no_pod_wants() {
    let (api, world) = start().await;
    let volume = lost(&api, &world, Claim::block(NAME, 64)).await;
    let made = offered(&world);
    node(&api, "node-a", true);
    run(&api, "node-a", "data");
    wish(&api, NAME, "va-node-b", "node-b");
    let refused = volume.attach(&world.plugin, "node-b").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    for part in ["node-b", "no pod there asks for it", "kubectl get pods"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    assert_eq!(offered(&world), made);
    api.delete("volumeattachments", "va-node-b");
    let context = attach(&api, &world, &volume, "node-a").await.unwrap();
    assert_eq!((context.get("nqn"), offered(&world)), (None, made));

    // Pods that cannot be read say nothing.
    api.delete("pods", "ns/user-node-a");
    give_up(&api, &world, &volume, "node-a").await;
    api.fail("list pods", ApiFault::Status(500), u32::MAX);
    let before = offered(&world);
    let refused = attach(&api, &world, &volume, "node-b").await;
    assert_eq!(
        (code(refused), offered(&world)),
        (Code::Unavailable, before)
    );
    api.heal();
    attach(&api, &world, &volume, "node-b").await.unwrap();
}

/// Whoever it was for is gone, and the node that was lost is back: nobody is to be shut out,
/// and the volume is offered all the same.
#[rstest]
#[case("server-properties=set")]
#[case("server-properties=exported")]
#[tokio::test]
async fn a_renewal_that_was_cut_short_is_completed_for_whoever_asks(#[case] variant: &str) {
    let api = FakeApiServer::start().await.unwrap();
    let switched = Setup {
        api: Some(api.address()),
        ..Setup::switches(&[variant])
    };
    let world = switched.connected().await;
    let volume = lost(&api, &world, Claim::block(NAME, 64)).await;
    let made = offered(&world).unwrap();
    let cut = Harm::Cut(Moment::AfterStatements(1));
    world.inject(Fault::on("nvme-tcp-export=no", cut));
    let refused = attach(&api, &world, &volume, "node-b").await;
    assert_eq!(code(refused), Code::Unavailable);
    assert_eq!(offered(&world), None, "the export has ended");
    volume.detach(&world.plugin, "node-b").await.unwrap();
    api.delete("volumeattachments", "va-node-b");
    node(&api, "node-a", true);
    let context = attach(&api, &world, &volume, "node-a").await.unwrap();
    let now = offered(&world).unwrap();
    assert_ne!(now, made);
    assert_eq!(context.get("nqn"), Some(&now));
    let again = attach(&api, &world, &volume, "node-a").await.unwrap();
    assert_eq!((again, offered(&world)), (context, Some(now)));
}

/// A Node is deleted and made anew, by the kubelet of a machine with this name.
fn made_anew(api: &FakeApiServer, name: &str, machine: &str) {
    api.delete("nodes", name);
    node(api, name, true);
    api.put(&json!({"kind": "Node", "metadata": {"name": name},
        "status": {"nodeInfo": machine_info(machine)}}));
}

/// While a node is cut off and writes, another machine is registered under its name, or its own
/// once more, of which the kubelet does not say yet what it has mounted.
#[rstest]
#[case::another_machine("other", true)]
#[case::the_same_by_another_object("node-a", false)]
#[tokio::test]
async fn a_machine_is_not_spoken_for_by_one_that_took_its_name(
    #[case] machine: &str,
    #[case] is_another: bool,
) {
    // It is asked whether it has let go, and the next node gets the volume.
    let (api, world) = start().await;
    let volume = provision(&api, &world, Claim::block(NAME, 64)).await;
    node(&api, "node-a", true);
    node(&api, "node-b", true);
    attach(&api, &world, &volume, "node-a").await.unwrap();
    let made = offered(&world);
    made_anew(&api, "node-a", machine);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    api.delete("volumeattachments", "va-node-a");
    let context = attach(&api, &world, &volume, "node-b").await.unwrap();
    let now = offered(&world);
    assert_ne!(now, made);
    assert_eq!(context.get("nqn"), now.as_ref());

    // Its attachment vanishes, and the node of its name gets the volume.
    made_anew(&api, "node-b", if is_another { machine } else { "node-b" });
    api.delete("volumeattachments", "va-node-b");
    let context = attach(&api, &world, &volume, "node-b").await.unwrap();
    assert_eq!(offered(&world) != now, is_another);
    assert_eq!(context.get("nqn"), offered(&world).as_ref());
}

/// Its attachment is of another driver, which wrote nothing down.
#[tokio::test]
async fn a_node_that_had_the_volume_by_another_driver_is_shut_out_too() {
    let (api, world) = start().await;
    let volume = provision(&api, &world, Claim::block(NAME, 64)).await;
    wish(&api, NAME, "va-node-a", "node-a");
    came_true(&api, "va-node-a");
    let made = offered(&world);
    api.fail("patch persistentvolumes", ApiFault::Status(500), u32::MAX);
    node(&api, "node-a", false);
    api.put(&json!({"kind": "Node", "metadata": {"name": "node-a"},
        "spec": {"taints": [{"key": TAINT, "effect": "NoExecute"}]}}));
    let kept = volume.detach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(
        kept.code(),
        Code::Unavailable,
        "nobody would know of it: {kept}"
    );
    api.heal();
    give_up(&api, &world, &volume, "node-a").await;
    node(&api, "node-b", true);
    let context = attach(&api, &world, &volume, "node-b").await.unwrap();
    assert_ne!(offered(&world), made);
    assert_eq!(context.get("nqn"), offered(&world).as_ref());
}

/// The source of a migration is lost after the hand-over: the target keeps the export that
/// it is on, and the lost node is shut out when the volume next goes to one node alone.
#[tokio::test]
async fn an_export_that_another_node_is_on_is_left_until_it_is_free() {
    let (api, world) = start().await;
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    let claim = Claim::block(NAME, 64).mode(Mode::MultiNodeMultiWriter);
    let volume = provision(&api, &world, claim).await;
    for name in ["node-a", "node-b", "node-c"] {
        node(&api, name, true);
    }
    machine(&api, "vm");
    launch(&api, "node-a", ("vm", "data"), None);
    attach(&api, &world, &volume, "node-a").await.unwrap();
    let made = offered(&world).unwrap();
    migration(&api, "move", "vm", "Scheduling");
    launch(&api, "node-b", ("vm", "data"), Some("move-uid"));
    attach(&api, &world, &volume, "node-b").await.unwrap();
    migration(&api, "move", "vm", "Succeeded");
    api.delete("pods", "ns/virt-launcher-vm-node-a");
    give_up(&api, &world, &volume, "node-a").await;
    // People are told although no attachment may ever follow, and once if one does.
    let beside = "rds_csi_attachment_fences_total{result=\"in_use\"} 1\n";
    shows(&world, "/metrics", beside).await;
    let told = is_told(&api, event::ATTACHMENT_FENCED).await;
    let note = told["note"].as_str().unwrap();
    assert!(note.contains("node node-a had the volume"), "{note}");
    let context = attach(&api, &world, &volume, "node-b").await.unwrap();
    assert_eq!(context.get("nqn"), None);
    assert_eq!(offered(&world).unwrap(), made, "the target is on it");
    assert!(page(&world, "/metrics").await.contains(beside));
    volume.detach(&world.plugin, "node-b").await.unwrap();
    api.delete("volumeattachments", "va-node-b");
    let context = attach(&api, &world, &volume, "node-c").await.unwrap();
    let now = offered(&world).unwrap();
    assert_ne!(now, made);
    assert_eq!(context.get("nqn"), Some(&now));
}

#[tokio::test]
async fn without_fencing_the_export_stays_as_it_is() {
    for fencing in [Fencing::Off, Fencing::Record] {
        let api = FakeApiServer::start().await.unwrap();
        let setup = setup(&api).config(move |config| config.fencing = fencing);
        let world = setup.connected().await;
        let volume = lost(&api, &world, Claim::block(NAME, 64)).await;
        let made = offered(&world);
        let context = attach(&api, &world, &volume, "node-b").await.unwrap();
        assert_eq!(context.get("nqn"), None);
        assert_eq!(offered(&world), made);
    }
}
