//! The attachment rules against everything that the rest of the cluster may do: an
//! exhaustive search over the order of events, within bounds.
//!
//! The rules themselves run here, not a copy of them: each decision of a controller is
//! [`judge`](rds_csi_core::attachment::judge()) or
//! [`release`](rds_csi_core::attachment::release()) over what can be read of the world. Around
//! them act the scheduler (a pod may be bound to any node that seems ready), the
//! attach-detach controller, the attacher, two replicas of the controller whose calls take
//! three steps and may die at each, kubelets, virt-controller, and people.
//!
//! # Bounds
//! One volume, three nodes, one machine that is started, stopped and started again without
//! end, and two calls of the controller at a time. Then one of:
//! - two migrations, which fail or are aborted anywhere, and no lost node;
//! - one migration and a call that reads the attachments at one moment and pods, nodes and
//!   migrations at a later one;
//! - one migration and one lost node, with one call at a time, with fencing and without: it
//!   comes back, or its machine is switched off and a person says so or removes the node;
//! - one lost node of which the pod is deleted by force while its machine runs on, also of a
//!   volume for one node, with one call at a time;
//! - the same, and a person says that it is off or removes it while it runs on, and the array
//!   shuts it out, with one call at a time and, of a volume for many, with two;
//! - the same, and another machine registers under the name of the one that was removed;
//! - a pod that only reads, with one call at a time: on any node and one migration, or beside
//!   the machine and one lost node, the pod of which is deleted by force; or on any
//!   of two nodes and that lost one, or one that writes if it can, on any node, and a stranger;
//! - a stranger that names the claim, also of a volume for one node;
//! - one migration and a stranger that comes to where the volume is not attached, and not between
//!   a judgement and what the attacher writes down of it, with one call at a time.
//!
//! Not searched are hot-plugged disks, the halves of decentralised migrations, exceptions and
//! ReadWriteOncePod, which tests of the rules hold.
//!
//! The webhook is absent, or behind and lets everything pass; in tests of their own it is
//! there and never behind, but for the wish of a stranger.
//!
//! Taken for granted: a person says that a machine is off only when it is, but where that
//! mistake is what is searched; libvirt lets one
//! side write during a hand-over; a node that was told to only read a volume writes nothing to
//! it; kubelet reports a volume in use before it connects, and
//! connects only what is attached and not on its way out; and a node that comes back gets no
//! new pod before its kubelet has ended what the cluster had forgotten there, but in a test of
//! its own. What is beyond rules over attachments is in `what_the_rules_cannot_see`.

mod bounds;
mod graph;
mod known;
mod progress;
mod seen;
mod steps;
mod world;

use std::io::Write as _;

use bounds::*;
use graph::Graph;
use progress::{arrives, goes_on, is_running, reads};
use world::{Call, Decision, Guest, Migrating, Next, Reader, Site, Whose, World};

/// What a test says beside its verdict, whether it passes or not: what is printed by macros is
/// kept back if it passes.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Searches until something is found that must not be: what, and the steps that lead there.
fn search(name: &str, rules: Rules) -> (Graph, Option<(&'static str, String)>) {
    let (graph, broken) = Graph::of(&rules, |world| rules.broken_in(world));
    let found = broken.map(|broken| {
        let last = graph.worlds.last();
        let way = last.map(|last| graph.way(&rules, last));
        (broken, way.unwrap_or_default())
    });
    let worlds = graph.worlds.len();
    match &found {
        None => say(&format!("{name}: {worlds} worlds, every one searched")),
        Some((broken, _)) => say(&format!("{name}: not so after {worlds} worlds: {broken}")),
    }
    (graph, found)
}

fn check(name: &str, rules: Rules) -> Graph {
    let (graph, found) = search(name, rules);
    assert_eq!(found, None);
    goes_on(name, &rules, &graph);
    graph
}

#[test]
fn two_migrations() {
    let graph = check("two migrations", MIGRATIONS);
    arrives("two migrations", &graph);
    // What the rules are there for comes about.
    let wishes = |world: &World| {
        let wish = |site: &&Site| site.attachment.is_some() && !site.holds();
        world.sites.iter().filter(wish).count()
    };
    assert!(graph.some(|world| world.holders() == 2 && wishes(world) == 1));
    assert!(
        graph.some(|world| world.migration == Migrating::HandOver && world.migrations_left == 0)
    );
}

#[test]
fn a_call_that_reads_at_two_moments() {
    check("a call that reads at two moments", TORN);
}

#[test]
fn a_migration_and_a_lost_node() {
    let graph = check("a migration and a lost node", LOSS);
    arrives("a migration and a lost node", &graph);
}

/// The same, as it is by default.
#[test]
fn a_migration_and_a_lost_node_fenced() {
    let name = "a migration and a lost node, fenced";
    let rules = Rules {
        fencing: true,
        ..LOSS
    };
    arrives(name, &check(name, rules));
}

#[test]
fn a_pod_deleted_by_force() {
    check("a pod deleted by force", FORCED);
    check("a pod deleted by force, one node", ONE_NODE_FORCED);
}

/// A person is wrong that a machine is off, and the array keeps it from the data.
#[test]
fn a_mistake() {
    check("a mistake", MISTAKEN);
    let graph = check("a mistake, one node", ONE_NODE_MISTAKEN);
    let lost_writes = |site: &Site| site.lost && site.writes();
    assert!(graph.some(|world| world.sites.iter().any(lost_writes)));
}

/// Two calls at a time, of two controllers: one may shut a lost node out while the other decides.
#[test]
fn a_fence_beside_another_call() {
    let rules = Rules {
        replicas: 2,
        ..MISTAKEN
    };
    let graph = check("a fence beside another call", rules);
    let calls = |world: &World| {
        let calls = world.sites.iter().filter(|site| site.call != Call::None);
        calls.count()
    };
    let next = Next::Fence;
    let fence = Decision {
        next,
        reader: false,
    };
    let fences = |site: &Site| site.call == Call::Decided(fence);
    assert!(graph.some(|world| calls(world) == 2 && world.sites.iter().any(fences)));
}

/// A node comes back and gets a new pod before its kubelet has ended what the cluster had
/// forgotten: it is known not to have let go.
///
/// The new pod may begin on the session that was left, with its attachment gone, while a wish
/// of another node stands that nobody needs any more. Nobody is shut out for that one. What
/// this still costs: when the pod's own node asks, and another one was granted the volume
/// meanwhile and never known to let go, both are shut out, and a person has to start the
/// machine anew.
#[test]
fn a_node_that_is_not_clean() {
    let rules = Rules {
        returns_dirty: true,
        fencing: true,
        ..FORCED
    };
    let graph = check("a node that is not clean", rules);
    let stale = |world: &World| {
        let wish = |site: &Site| site.attachment.is_some() && !site.has_pod();
        let left = |site: &Site| is_running(site) && site.attachment.is_none();
        world.sites.iter().any(wish) && world.sites.iter().any(left)
    };
    assert!(graph.some(stale));
    let cut_off = |own: bool| {
        let is_it = |site: &Site| site.has_lost_its_disk() && site.attachment.is_some() == own;
        graph.some(|world| world.sites.iter().any(is_it))
    };
    assert!(cut_off(true) && !cut_off(false));
}

/// A pod that only reads the volume.
#[test]
fn a_reader() {
    let graph = check("a reader", READER);
    let runs = |site: &Site| site.reader == Reader::Runs && site.guest == Guest::None;
    let beside = |world: &World| world.sites.iter().any(runs) && world.writers() == 1;
    assert!(graph.some(beside));
    reads(&graph);
}

/// A reader keeps the attachment of a machine that the cluster has forgotten.
#[test]
fn a_reader_that_stays() {
    reads(&check("a reader that stays", READER_STAYS));
}

/// Who reads a volume beside the machine keeps its node for nobody who writes: not for the
/// machine itself once its own node is lost, nor for a stranger, nor for itself.
#[test]
fn a_reader_beside_others() {
    let writes = Rules {
        readers_write: true,
        ..READER_AND_STRANGER
    };
    for (name, rules) in [
        ("a pod deleted by force beside a reader", READER_FORCED),
        ("a stranger and a reader that writes", writes),
    ] {
        let graph = check(name, rules);
        assert!(graph.some(|world| world.sites.iter().any(Site::is_kept_out)));
    }
}

/// Another machine takes the name of one that was removed while it writes.
#[test]
fn a_machine_that_was_replaced() {
    let graph = check("a machine that was replaced", REPLACED);
    let both = |site: &Site| site.former && site.attachment.is_some_and(|own| !own.before);
    assert!(graph.some(|world| world.sites.iter().any(both)));
    check("a machine that was replaced, one node", ONE_NODE_REPLACED);
}

#[test]
fn a_stranger() {
    check("a stranger", STRANGER);
    check("a stranger, one node", ONE_NODE);
}

/// The target of a migration that is over was promised the volume and never got it: who comes
/// there meanwhile gets it no more than anybody. It takes a place until a person deletes that pod.
#[test]
fn a_stranger_asks_for_what_was_promised_to_a_target() {
    let graph = check("a stranger asks beside a migration", STRANGER_ASKS);
    let is_promised = |world: &World| world.sites.iter().any(Site::is_stray_on_a_promise);
    assert!(graph.some(|world| world.writers() == 1 && is_promised(world)));
}

/// With a webhook that is never behind, which refuses wishes on top.
#[test]
fn with_the_webhook() {
    for (name, rules) in [
        ("webhook, two migrations", MIGRATIONS),
        ("webhook, a pod deleted by force", FORCED),
    ] {
        let rules = Rules {
            webhook: true,
            ..rules
        };
        arrives(name, &check(name, rules));
    }
}

/// A stranger's wish was made while the webhook was away, is refused by the driver, and stands:
/// that keeps no machine from moving. What a stranger may do beside that is not searched here.
#[test]
fn with_the_webhook_and_a_wish_that_it_has_not_seen() {
    let name = "webhook, a stray wish";
    let rules = Rules {
        webhook: true,
        migrations: 1,
        replicas: 1,
        ..STRANGER
    };
    let (graph, _) = Graph::of(&rules, |_| None);
    say(&format!("{name}: {} worlds", graph.worlds.len()));
    let waits = |site: &Site| {
        let stray = site.pod.is_some_and(|pod| pod.whose == Whose::Stranger);
        stray && site.attachment.is_some() && !site.holds()
    };
    let beside = |world: &World| {
        let moves = world.migration == Migrating::Targeted;
        moves && world.sites.iter().any(is_running) && world.sites.iter().any(waits)
    };
    assert!(graph.some(beside));
    arrives(name, &graph);
}

/// Each rule is needed: without it, the search finds the way to what must not be.
#[rstest::rstest]
#[case(Broken::LeavingIsGone, MIGRATIONS, &[ROOM])]
#[case(Broken::LeavingIsGone, ONE_NODE, &[ROOM])]
#[case(Broken::NoRecord, MIGRATIONS, &[ROOM])]
#[case(Broken::NoRecord, ONE_NODE, &[ROOM])]
#[case(Broken::GrantedStands, STRANGER_ASKS, &[ONE_WRITER])]
#[case(Broken::UnreadyIsGone, FORCED, &[COVERED, ONE_WRITER])]
#[case(Broken::InUseIsGone, FORCED, &[COVERED, ONE_WRITER])]
#[case(Broken::AnyMachine, STRANGER, &[ONE_WRITER])]
#[case(Broken::ReadersMayWrite, READER_AND_STRANGER, &[ONE_WRITER])]
#[case(Broken::ReadersMayWrite, READER_FORCED, &[ONE_WRITER])]
fn a_broken_rule_is_found(#[case] broken: Broken, #[case] rules: Rules, #[case] fails: &[&str]) {
    let (_, found) = search(&format!("{broken:?}"), rules.broken(broken));
    let Some((property, steps)) = found else {
        panic!("nothing is found");
    };
    assert!(fails.contains(&property), "{property}: {steps}");
}

/// Attachments are of nodes, not of pods: whatever is bound to a node that has the volume
/// uses it, and nobody asks the rules. These are the ways in which that still goes wrong, and
/// why the array fences too.
#[rstest::rstest]
#[case::a_pod_deleted_by_force_during_a_migration(Rules { forced: true, ..LOSS })]
#[case::a_node_that_is_not_clean_without_fencing(Rules { returns_dirty: true, ..FORCED })]
#[case::a_mistake_without_fencing(Rules { fencing: false, ..MISTAKEN })]
#[case::a_mistake_without_fencing_one_node(Rules { fencing: false, ..ONE_NODE_MISTAKEN })]
#[case::a_mistake_during_a_migration(Rules { migrations: 1, ..MISTAKEN })]
#[case::a_machine_on_a_node_that_was_replaced(Rules { returns_dirty: true, ..REPLACED })]
#[case::a_reader_that_writes_where_a_machine_was(Rules { readers_write: true, ..READER })]
#[case::a_stranger_on_the_target_of_a_migration(Rules { migrations: 1, ..STRANGER })]
fn what_the_rules_cannot_see(#[case] rules: Rules) {
    let (_, found) = search("what the rules cannot see", rules);
    assert_eq!(found.map(|(property, _)| property), Some(ONE_WRITER));
}
