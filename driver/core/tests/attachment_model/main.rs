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
//! - one migration and one lost node, with one call at a time: it comes back, or its machine
//!   is switched off and a person says so or removes the node;
//! - one lost node of which the pod is deleted by force while its machine runs on, also of a
//!   volume for one node, with one call at a time;
//! - the same, and a person says that it is off or removes it while it runs on, and the array
//!   shuts it out;
//! - a stranger that names the claim, also of a volume for one node.
//!
//! The webhook is absent, or behind and lets everything pass; in a test of its own it is
//! there and never behind.
//!
//! Taken for granted: a person says that a machine is off only when it is, but where that
//! mistake is what is searched; libvirt lets one
//! side write during a hand-over; kubelet reports a volume in use before it connects, and
//! connects only what is attached and not on its way out; and a node that comes back gets no
//! new pod before its kubelet has ended what the cluster had forgotten there, but in a test of
//! its own. What is beyond rules over attachments is in `what_the_rules_cannot_see`.

#![allow(
    clippy::print_stdout,
    reason = "how many worlds were searched is part of what these tests say"
)]

mod graph;
mod seen;
mod steps;
mod world;

use graph::Graph;
use stateright::{Checker as _, HasDiscoveries, Model, Property};
use steps::{By, Step, steps};
use world::{Guest, Migrating, Site, Whose, World};

/// A rule that is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// An attachment that is being deleted counts no more.
    LeavingIsGone,
    /// What was granted counts only once it is attached, and is written over anything: a
    /// decision from a view that is behind.
    NoRecord,
    /// A node that is not ready is taken to have let go.
    UnreadyIsGone,
    /// A node that is ready is taken to have let go, whatever it says.
    InUseIsGone,
    /// A second node is for anybody.
    AnyMachine,
}

/// The rules, as they are held, and the bounds.
#[derive(Debug, Clone, Copy)]
struct Rules {
    for_many: bool,
    /// Whether wishes are judged, too, by a webhook that is never behind.
    webhook: bool,
    migrations: u8,
    /// How many calls of the controller there are at a time.
    replicas: usize,
    /// Whether one call reads the attachments at another moment than the rest.
    torn: bool,
    losses: u8,
    /// Whether a pod may be deleted by force while the machine of its lost node runs on.
    forced: bool,
    strangers: u8,
    /// Whether a person may say that a machine is off which runs on.
    mistaken: bool,
    /// Whether the array shuts lost nodes out.
    fencing: bool,
    /// Whether a node may get a new pod while it still has what the cluster has forgotten.
    returns_dirty: bool,
    broken: Option<Broken>,
}

const MIGRATIONS: Rules = Rules {
    for_many: true,
    webhook: false,
    migrations: 2,
    replicas: 2,
    torn: false,
    losses: 0,
    forced: false,
    strangers: 0,
    mistaken: false,
    fencing: false,
    returns_dirty: false,
    broken: None,
};
const LOSS: Rules = Rules {
    replicas: 1,
    migrations: 1,
    losses: 1,
    ..MIGRATIONS
};
const FORCED: Rules = Rules {
    replicas: 1,
    migrations: 0,
    losses: 1,
    forced: true,
    ..MIGRATIONS
};
const MISTAKEN: Rules = Rules {
    mistaken: true,
    fencing: true,
    ..FORCED
};
const ONE_NODE_MISTAKEN: Rules = Rules {
    for_many: false,
    ..MISTAKEN
};
const TORN: Rules = Rules {
    torn: true,
    migrations: 1,
    ..MIGRATIONS
};
const STRANGER: Rules = Rules {
    migrations: 0,
    strangers: 1,
    ..MIGRATIONS
};
const ONE_NODE: Rules = Rules {
    for_many: false,
    ..STRANGER
};
const ONE_NODE_FORCED: Rules = Rules {
    for_many: false,
    ..FORCED
};

impl Rules {
    fn start(&self) -> World {
        World {
            sites: [Site::FRESH; 3],
            migration: Migrating::None,
            migrations_left: self.migrations,
            losses_left: self.losses,
            strangers_left: self.strangers,
        }
    }

    fn broken(self, broken: Broken) -> Self {
        Self {
            broken: Some(broken),
            ..self
        }
    }
}

impl Model for Rules {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Step>) {
        actions.extend(steps(self, state));
    }

    fn next_state(&self, _: &World, step: Step) -> Option<World> {
        Some(step.to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_WRITER, |_, world| one_writer(world)),
            Property::always(ROOM, |rules: &Self, world: &World| {
                world.holders() <= 1 + usize::from(rules.for_many)
            }),
            Property::always(COVERED, |_, world: &World| {
                world
                    .sites
                    .iter()
                    .all(|site| !site.session || site.holds() || site.lost)
            }),
        ]
    }
}

const ONE_WRITER: &str = "one writes, or one machine is handed over";
const ROOM: &str = "one node has a volume for one, and two any other";
const COVERED: &str = "a node that may write has an attachment, or is known to be lost";

fn one_writer(world: &World) -> bool {
    let ours = |site: &&Site| site.guest == Guest::Writes(Whose::Ours);
    let hand_over = world.migration == Migrating::HandOver
        && world.sites.iter().filter(ours).count() == world.writers();
    world.writers() <= 1 || (world.writers() == 2 && hand_over)
}

/// Searches with stateright until something is found that must not be, and returns what and
/// the steps that lead there.
fn search(name: &str, rules: Rules) -> Vec<(&'static str, String)> {
    let checker = rules.checker().finish_when(HasDiscoveries::Any);
    let checker = checker.spawn_bfs().join();
    println!("{name}: {} worlds searched", checker.unique_state_count());
    let found = checker.discoveries().into_iter();
    let told = found.map(|(property, path)| {
        let steps = path.into_actions();
        let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
        (property, steps.join(", "))
    });
    told.collect()
}

/// What goes on by itself, where a person mends what is broken.
const ON: [By; 3] = [By::System, By::GivingUp, By::Repair];

fn is_running(site: &Site) -> bool {
    site.is_ready() && site.writes()
}

/// From every world, the machine comes to run on a node that works; and once no migration
/// goes on, one attachment is left.
fn goes_on(name: &str, graph: &Graph) {
    println!("{name}: {} worlds followed", graph.worlds.len());
    let runs = graph.stuck(|_| true, &ON, |world| world.sites.iter().any(is_running));
    assert_eq!(runs, None, "{name}: the machine never runs again");
    let idle = |world: &World| world.migration == Migrating::None;
    let one = graph.stuck(idle, &ON, |world| idle(world) && world.holders() <= 1);
    assert_eq!(one, None, "{name}: two attachments stay after a migration");
}

/// A migration whose nodes work, and that nobody gives up, arrives: no refusal but one that
/// passes stands in its way.
fn arrives(name: &str, graph: &Graph) {
    let source = |site: &Site| {
        let stays = site.pod.is_some_and(|pod| !pod.ends && !pod.target);
        is_running(site) && stays
    };
    let goes_on = |world: &World| match world.migration {
        Migrating::Pending => true,
        Migrating::Targeted => world.sites.iter().any(Site::is_target),
        Migrating::None | Migrating::HandOver => false,
    };
    let healthy = |world: &World| {
        let ready = world.sites.iter().all(Site::is_ready);
        ready && goes_on(world) && world.sites.iter().any(source)
    };
    let arrived = |world: &World| world.migration == Migrating::HandOver;
    let found = graph.stuck(healthy, &[By::System], arrived);
    assert_eq!(found, None, "{name}: a migration is refused for good");
}

fn check(name: &str, rules: Rules) -> Graph {
    assert_eq!(search(name, rules), []);
    let graph = Graph::of(&rules);
    goes_on(name, &graph);
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
    assert_eq!(search("a call that reads at two moments", TORN), []);
}

#[test]
fn a_migration_and_a_lost_node() {
    let graph = check("a migration and a lost node", LOSS);
    arrives("a migration and a lost node", &graph);
}

#[test]
fn a_pod_deleted_by_force() {
    check("a pod deleted by force", FORCED);
    check("a pod deleted by force, one node", ONE_NODE_FORCED);
}

/// A person is wrong that a machine is off, and the array keeps it from the data.
#[test]
fn a_mistake() {
    assert_eq!(search("a mistake", MISTAKEN), []);
    let graph = check("a mistake, one node", ONE_NODE_MISTAKEN);
    let lost_writes = |site: &Site| site.lost && site.writes();
    assert!(graph.some(|world| world.sites.iter().any(lost_writes)));
}

/// A node comes back and gets a new pod before its kubelet has ended what the cluster had
/// forgotten: it is known not to have let go.
#[test]
fn a_node_that_is_not_clean() {
    let rules = Rules {
        returns_dirty: true,
        fencing: true,
        ..FORCED
    };
    assert_eq!(search("a node that is not clean", rules), []);
}

#[test]
fn a_stranger() {
    check("a stranger", STRANGER);
    check("a stranger, one node", ONE_NODE);
}

/// With a webhook that is never behind, which refuses wishes on top.
#[test]
fn with_the_webhook() {
    for (name, rules) in [
        ("webhook, two migrations", MIGRATIONS),
        ("webhook, a pod deleted by force", FORCED),
    ] {
        let graph = Graph::of(&Rules {
            webhook: true,
            ..rules
        });
        goes_on(name, &graph);
        arrives(name, &graph);
    }
}

/// Each rule is needed: without it, the search finds the way to what must not be.
#[rstest::rstest]
#[case(Broken::LeavingIsGone, MIGRATIONS, &[ROOM])]
#[case(Broken::LeavingIsGone, ONE_NODE, &[ROOM])]
#[case(Broken::NoRecord, MIGRATIONS, &[ROOM])]
#[case(Broken::NoRecord, ONE_NODE, &[ROOM])]
#[case(Broken::UnreadyIsGone, FORCED, &[COVERED, ONE_WRITER])]
#[case(Broken::InUseIsGone, FORCED, &[COVERED, ONE_WRITER])]
#[case(Broken::AnyMachine, STRANGER, &[ONE_WRITER])]
fn a_broken_rule_is_found(#[case] broken: Broken, #[case] rules: Rules, #[case] fails: &[&str]) {
    let found = search(&format!("{broken:?}"), rules.broken(broken));
    println!("{found:?}");
    assert!(!found.is_empty());
    for (property, steps) in found {
        assert!(fails.contains(&property), "{property}: {steps}");
    }
}

/// Attachments are of nodes, not of pods: whatever is bound to a node that has the volume
/// uses it, and nobody asks the rules. These are the ways in which that still goes wrong, and
/// why the array fences too.
#[rstest::rstest]
#[case::a_pod_deleted_by_force_during_a_migration(Rules { forced: true, ..LOSS })]
#[case::a_mistake_without_fencing(Rules { fencing: false, ..MISTAKEN })]
#[case::a_mistake_without_fencing_one_node(Rules { fencing: false, ..ONE_NODE_MISTAKEN })]
#[case::a_mistake_during_a_migration(Rules { migrations: 1, ..MISTAKEN })]
#[case::a_stranger_on_the_target_of_a_migration(Rules { migrations: 1, ..STRANGER })]
fn what_the_rules_cannot_see(#[case] rules: Rules) {
    let found = search("what the rules cannot see", rules);
    println!("{found:?}");
    assert!(!found.is_empty());
}
