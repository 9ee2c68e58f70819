//! Where the device was seen to go by the name of the host, a volume is its node's alone.

use std::time::Duration;

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_core::attachment::Fencing;
use rds_csi_core::nqn::HostIdentity;
use rds_csi_tests::api_server::Fault as ApiFault;
use rds_csi_tests::plugin::CLUSTER;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rds_sim::Fault;
use rds_sim::fault::{Harm, Moment};
use rstest::rstest;
use tokio::time::Instant;
use tonic::Code;

use crate::cluster::{node, provision, shows};
use crate::fence::{NAME, attach, lost, offered};
use crate::harness::{PATIENCE, World, code};
use crate::migration::{launch, machine, migration};
use crate::probe::{Fabric, fabric};

pub(crate) fn host(node: &str) -> String {
    let cluster = CLUSTER.parse().unwrap();
    HostIdentity::of(&cluster, node).nqn.to_string()
}

/// What the one volume says of who is let in.
pub(crate) fn allowed(world: &World) -> String {
    let items = world.items();
    let file = items[0].file().unwrap();
    assert!(file.export);
    file.allow_host.clone().unwrap_or_default()
}

/// A device that was tried, and nodes.
async fn tried(rule: &str) -> Fabric {
    let mut fabric = fabric(&[&format!("access-rule={rule}")]).await;
    fabric.begin().await;
    fabric.seen().await;
    fabric.world.assert_empty();
    for name in ["node-a", "node-b", "node-c"] {
        node(&fabric.api, name, true);
    }
    fabric
}

async fn let_go(fabric: &Fabric, volume: &Volume, node: &str) {
    volume.detach(&fabric.world.plugin, node).await.unwrap();
    let name = format!("va-{node}");
    fabric.api.delete("volumeattachments", &name);
}

#[rstest]
#[case::exact("exact", true)]
#[case::list("list", true)]
#[case::ignored("ignored", false)]
#[case::other_name("other-name", false)]
#[case::at_export("at-export", false)]
#[tokio::test]
async fn a_volume_is_open_to_the_node_that_has_it(#[case] rule: &str, #[case] closes: bool) {
    let fabric = tried(rule).await;
    let (api, world) = (&fabric.api, &fabric.world);
    let is_for = |node: &str| match closes {
        true => assert_eq!(allowed(world), host(node)),
        false => assert_eq!(allowed(world), ""),
    };
    let volume = provision(api, world, Claim::filesystem(NAME, 64, "ext4")).await;
    assert_eq!(allowed(world), "", "nobody has it");
    for node in ["node-a", "node-b", "node-a"] {
        let first = world.sim.counters().executions;
        attach(api, world, &volume, node).await.unwrap();
        is_for(node);
        let took = world.sim.counters().executions - first;
        assert_eq!(took, if closes { 2 } else { 1 });
        let again = world.sim.counters().executions;
        attach(api, world, &volume, node).await.unwrap();
        assert_eq!(world.sim.counters().executions, again + 1, "only looked");
        // CreateVolume finds it made, and leaves it as it is.
        let found = world.create(&volume.claim).await.unwrap();
        assert_eq!(found.id(), volume.id());
        is_for(node);
        let_go(&fabric, &volume, node).await;
        is_for(node);
    }
    volume.delete(&world.plugin).await.unwrap();
    world.assert_empty();
}

/// Another controller looked whom the volume lets in, and did not know of the node yet.
#[tokio::test]
async fn a_node_that_was_kept_out_after_the_device_was_read_is_let_in() {
    let fabric = tried("exact").await;
    let (api, world) = (&fabric.api, &fabric.world);
    let volume = provision(api, world, Claim::block(NAME, 64)).await;
    attach(api, world, &volume, "node-a").await.unwrap();
    let_go(&fabric, &volume, "node-a").await;
    assert_eq!(allowed(world), host("node-a"));
    let slow = ApiFault::Slow(Duration::from_secs(2));
    api.fail("patch persistentvolumes", slow, 1);
    let grants = || {
        let requests = api.requests().into_iter();
        let patches = requests.filter(|request| request.call == "patch persistentvolumes");
        patches.count()
    };
    let before = grants();
    let close = async {
        let granting = async || Ok((grants() > before).then_some(()));
        until("it is granted", PATIENCE, granting).await.unwrap();
        let (id, other) = (volume.id(), host("node-b"));
        world.sim.with_model(|model| {
            model.exec(&format!(
                "/disk set [/disk find slot=\"{id}\"] nvme-tcp-server-allow-host-name=\"{other}\""
            ));
        });
        assert_eq!(allowed(world), other);
    };
    let (attached, ()) = tokio::join!(attach(api, world, &volume, "node-a"), close);
    attached.unwrap();
    assert_eq!(allowed(world), host("node-a"));
}

/// From node-a to node-b.
async fn moving(fabric: &Fabric) -> Volume {
    let (api, world) = (&fabric.api, &fabric.world);
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    let claim = Claim::block(NAME, 64).mode(Mode::MultiNodeMultiWriter);
    let volume = provision(api, world, claim).await;
    machine(api, "vm");
    launch(api, "node-a", ("vm", "data"), None);
    attach(api, world, &volume, "node-a").await.unwrap();
    assert_eq!(allowed(world), host("node-a"));
    migration(api, "move", "vm", "Scheduling");
    launch(api, "node-b", ("vm", "data"), Some("move-uid"));
    attach(api, world, &volume, "node-b").await.unwrap();
    volume
}

fn arrive(fabric: &Fabric) {
    migration(&fabric.api, "move", "vm", "Succeeded");
    fabric.api.delete("pods", "ns/virt-launcher-vm-node-a");
}

#[rstest]
#[case::exact("exact")]
#[case::list("list")]
#[tokio::test]
async fn a_migration_passes_and_ends_closed_to_the_one_left(#[case] rule: &str) {
    let fabric = tried(rule).await;
    let world = &fabric.world;
    let volume = moving(&fabric).await;
    let mut both = [host("node-a"), host("node-b")];
    both.sort();
    let mut during: Vec<String> = allowed(world).split(',').map(str::to_owned).collect();
    during.sort();
    match rule {
        "list" => assert_eq!(during, both),
        _ => assert_eq!(during, [""], "one name only, and two must pass"),
    }
    arrive(&fabric);
    let_go(&fabric, &volume, "node-a").await;
    assert_eq!(allowed(world), host("node-b"));
}

#[tokio::test]
async fn a_node_lets_go_without_the_device_and_is_kept_out_at_the_next_attachment() {
    let fabric = tried("exact").await;
    let world = &fabric.world;
    let volume = moving(&fabric).await;
    arrive(&fabric);
    world.inject(Fault::on(
        "nvme-tcp-server-allow-host-name=",
        Harm::Cut(Moment::Before),
    ));
    let_go(&fabric, &volume, "node-a").await;
    assert_eq!(allowed(world), "", "the device was cut off");
    shows(
        world,
        "/metrics",
        "rds_csi_attachment_access_changes_total{result=\"failed\"} 1",
    )
    .await;
    attach(&fabric.api, world, &volume, "node-b").await.unwrap();
    assert_eq!(allowed(world), host("node-b"));
}

/// It may hang where it is looked at and where it is changed.
#[rstest]
#[case::at_the_look(None)]
#[case::at_the_change(Some("nvme-tcp-server-allow-host-name="))]
#[tokio::test]
async fn a_node_lets_go_in_time_while_the_device_hangs(#[case] at: Option<&str>) {
    let fabric = tried("exact").await;
    let world = &fabric.world;
    let volume = moving(&fabric).await;
    arrive(&fabric);
    let at = at.unwrap_or(volume.id());
    world.inject(Fault::on(at, Harm::Hang { effect: false }));
    let asked = Instant::now();
    let_go(&fabric, &volume, "node-a").await;
    let took = asked.elapsed();
    let bounds = Duration::from_secs(5)..Duration::from_secs(8);
    assert!(bounds.contains(&took), "{took:?}");
    assert_eq!(allowed(world), "", "the device hung");
    shows(
        world,
        "/metrics",
        "rds_csi_attachment_access_changes_total{result=\"failed\"} 1",
    )
    .await;
    let api = &fabric.api;
    let next = async || Ok(attach(api, world, &volume, "node-b").await.ok());
    until("node-b is let in alone", PATIENCE, next)
        .await
        .unwrap();
    assert_eq!(allowed(world), host("node-b"));
}

#[tokio::test]
async fn a_node_that_was_not_let_in_is_not_told_that_it_has_the_volume() {
    let mut fabric = tried("exact").await;
    let volume = provision(&fabric.api, &fabric.world, Claim::block(NAME, 64)).await;
    let harms = [
        Harm::Cut(Moment::Before),
        Harm::Cut(Moment::AfterStatements(1)),
        Harm::Cut(Moment::MidAnswer),
        Harm::Garbage,
    ];
    let mut nodes = ["node-a", "node-b"].iter().cycle();
    for harm in harms {
        println!("{harm:?}");
        let node = nodes.next().unwrap();
        let (api, world) = (&fabric.api, &mut fabric.world);
        world.inject(Fault::on("nvme-tcp-server-allow-host-name=", harm));
        let refused = attach(api, world, &volume, node).await;
        assert_eq!(code(refused), Code::Unavailable);
        // Another process goes on, which tries nothing and has heard what was seen.
        world.config.probe = false;
        world.restart().await;
        let heard = async || {
            attach(api, world, &volume, node).await.ok();
            Ok((allowed(world) == host(node)).then_some(()))
        };
        until("it is let in", PATIENCE, heard).await.unwrap();
        attach(api, world, &volume, node).await.unwrap();
        let_go(&fabric, &volume, node).await;
    }
}

#[tokio::test]
async fn a_lost_node_is_shut_out_by_name_and_by_host() {
    let fabric = tried("exact").await;
    let (api, world) = (&fabric.api, &fabric.world);
    let volume = lost(api, world, Claim::block(NAME, 64)).await;
    assert_eq!(allowed(world), host("node-a"));
    let made = offered(world);
    attach(api, world, &volume, "node-b").await.unwrap();
    assert_ne!(offered(world), made);
    assert_eq!(allowed(world), host("node-b"));
}

/// Who turns it off gets volumes that were closed before, and nobody is kept out any more.
#[tokio::test]
async fn where_it_is_only_recorded_or_off_nothing_is_closed_and_what_was_closed_opens() {
    for (fencing, recorded) in [(Fencing::Record, true), (Fencing::Off, false)] {
        let mut fabric = tried("list").await;
        let (api, world) = (&fabric.api, &mut fabric.world);
        let volume = provision(api, world, Claim::block(NAME, 64)).await;
        attach(api, world, &volume, "node-a").await.unwrap();
        volume.detach(&world.plugin, "node-a").await.unwrap();
        api.delete("volumeattachments", "va-node-a");
        assert_eq!(allowed(world), host("node-a"));
        (world.config.fencing, world.config.probe) = (fencing, recorded);
        world.restart().await;
        if recorded {
            let ends = "rds_csi_device_export_ends_sessions{} 1";
            shows(world, "/metrics", ends).await;
        }
        attach(api, world, &volume, "node-b").await.unwrap();
        assert_eq!(allowed(world), "");
        let line = "rds_csi_attachment_access_changes_total{result=\"recorded\"} 1";
        let page = crate::cluster::page(world, "/metrics").await;
        assert_eq!(page.contains(line), recorded, "{page}");
    }
}
