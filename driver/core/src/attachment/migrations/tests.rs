//! Looks at one volume, and what two nodes have it for.

use super::*;

mod ends;
mod hand_over;
mod next;

const PV: &str = "pv";
/// How old the younger attachment is wherever it is asked.
const AGE: Duration = Duration::from_secs(20);

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A migration of the machine from one node to another; its UID is its name.
fn a_move(name: &str, source: &str, target: &str) -> HandOver {
    HandOver {
        migration: format!("vms/{name}"),
        uid: name.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        timeout: Some(secs(60)),
    }
}

/// Its object, in a phase or `leaving`. They are made in the order of their last letters.
fn object(name: &str, phase: &str) -> Migration {
    Migration {
        namespace: "vms".to_owned(),
        name: name.to_owned(),
        uid: name.to_owned(),
        machine: "web".to_owned(),
        phase: phase.to_owned(),
        leaving: phase == "leaving",
        decentralised: None,
        created: name.bytes().last().map(i64::from),
    }
}

fn have(nodes: &[&str]) -> Holders {
    let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
    [(PV.to_owned(), nodes)].into()
}

/// A volume that is looked at, and what there is to be seen.
#[derive(Default)]
struct Follower {
    migrations: Migrations,
    /// The migrations, where they can be read.
    objects: Option<Vec<Migration>>,
    /// What two nodes have the volume for, by their pods.
    hand_over: Option<HandOver>,
}

impl Follower {
    /// One that looks since before anything happens.
    fn from_the_start() -> Self {
        let mut follower = Self::default();
        assert_eq!(follower.look(&["a"], 0), []);
        follower
    }

    /// One to whose eyes `mig1` has begun, from `a` to `b`.
    fn of_one() -> Self {
        let mut follower = Self::from_the_start();
        follower.are(&[("mig1", "Running")]);
        follower.for_move("mig1", "a", "b");
        assert_eq!(follower.look(&["a", "b"], 0), [started("mig1")]);
        follower
    }

    /// The migrations are these, by name and phase.
    fn are(&mut self, phases: &[(&str, &str)]) {
        let all = phases.iter().map(|(name, phase)| object(name, phase));
        self.objects = Some(all.collect());
    }

    /// The pods of two nodes are for this migration.
    fn for_move(&mut self, name: &str, source: &str, target: &str) {
        self.hand_over = Some(a_move(name, source, target));
    }

    fn seen(&self, nodes: &[&str]) -> Seen {
        let objects = self.objects.iter().cloned();
        Seen {
            holders: have(nodes),
            migrations: objects.map(|all| ("vms".to_owned(), all)).collect(),
        }
    }

    fn unknown(&self, nodes: &[&str]) -> Vec<String> {
        self.migrations.unknown(&self.seen(nodes))
    }

    /// What a look tells, of which migration.
    fn look(&mut self, nodes: &[&str], at: u64) -> Vec<(String, Change)> {
        let seen = self.seen(nodes);
        let unknown = self.migrations.unknown(&seen).into_iter();
        let found = unknown.map(|volume| Found {
            volume,
            hand_over: self.hand_over.clone(),
            age: AGE,
        });
        let found: Vec<Found> = found.collect();
        let told = self.migrations.look(&seen, found, secs(at));
        let pair = |told: Told| (told.hand_over.uid, told.change);
        told.into_iter().map(pair).collect()
    }
}

fn started(name: &str) -> (String, Change) {
    (name.to_owned(), Change::Started)
}

fn long(name: &str, after: u64) -> (String, Change) {
    let after = secs(after);
    (name.to_owned(), Change::TakesLong { after })
}

fn completed(name: &str, after: u64) -> (String, Change) {
    let after = secs(after);
    (name.to_owned(), Change::Completed { after })
}

fn failed(name: &str, after: u64, left: Left) -> (String, Change) {
    let after = secs(after);
    (name.to_owned(), Change::Failed { after, left })
}

#[test]
fn a_migration_is_told_when_it_begins_and_when_it_ends_and_once_when_it_is_long() {
    let mut follower = Follower::of_one();
    assert_eq!(follower.look(&["a", "b"], 60), []);
    assert_eq!(follower.look(&["a", "b"], 61), [long("mig1", 61)]);
    assert_eq!(follower.look(&["a", "b"], 90), []);
    assert_eq!(follower.migrations.active(), 1);
    // Its source still has the volume.
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(&["a", "b"], 92), []);
    assert_eq!(follower.look(&["b"], 95), [completed("mig1", 95)]);
    assert_eq!(follower.migrations.active(), 0);
}

/// Another one looked before: it has told that the migration has begun.
#[test]
fn whoever_begins_to_look_in_the_middle_tells_the_rest_and_goes_by_the_attachments() {
    let mut follower = Follower::default();
    follower.are(&[("mig1", "Running")]);
    follower.for_move("mig1", "a", "b");
    assert_eq!(follower.look(&["a", "b"], 1000), []);
    assert_eq!(follower.migrations.active(), 1);
    assert_eq!(follower.look(&["a", "b"], 1040), []);
    assert_eq!(follower.look(&["a", "b"], 1041), [long("mig1", 61)]);
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(&["b"], 1050), [completed("mig1", 70)]);
    // The next one begins before its eyes.
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Running")]);
    follower.for_move("mig2", "b", "c");
    assert_eq!(follower.look(&["b", "c"], 1055), [started("mig2")]);
    let expected = [failed("mig2", 5, Left::Source)];
    assert_eq!(follower.look(&["b"], 1060), expected);
}

#[test]
fn what_could_not_be_read_at_the_first_look_had_begun_before_it_all_the_same() {
    let mut follower = Follower::default();
    let seen = follower.seen(&["a", "b"]);
    assert_eq!(follower.migrations.look(&seen, [], secs(5)), []);
    follower.for_move("mig1", "a", "b");
    assert_eq!(follower.look(&["a", "b"], 10), []);
    assert_eq!(follower.migrations.active(), 1);
}

#[test]
fn what_is_for_no_migration_is_asked_about_again_when_its_nodes_change() {
    let mut follower = Follower::default();
    assert_eq!(follower.unknown(&["a", "b"]), [PV]);
    assert_eq!(follower.look(&["a", "b"], 0), []);
    assert_eq!(follower.unknown(&["a", "b"]), [""; 0]);
    assert_eq!(follower.unknown(&["a", "c"]), [PV]);
    follower.look(&["a", "c"], 5);
    assert_eq!(follower.unknown(&["a", "c"]), [""; 0]);
    assert_eq!(follower.unknown(&["a", "b"]), [PV]);
}

#[test]
fn only_the_namespaces_of_what_is_followed_are_read() {
    let mut follower = Follower::from_the_start();
    assert_eq!(follower.migrations.namespaces(), BTreeSet::new());
    follower.for_move("mig1", "a", "b");
    follower.look(&["a", "b"], 5);
    let expected = BTreeSet::from(["vms".to_owned()]);
    assert_eq!(follower.migrations.namespaces(), expected);
}
