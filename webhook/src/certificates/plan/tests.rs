//! A small world: a Secret, a configuration, API servers that are behind, replicas that
//! die and are slow, and people who break things. In it, no step may make a leaf that is
//! served unverifiable, and from every state the world comes to rest.

use proptest::prelude::*;

use super::super::secret::Data;
use super::*;

const LEAF: Duration = Duration::from_secs(1200);
const CA: Duration = Duration::from_secs(3600);
const LEAD: Duration = Duration::from_secs(60);
/// API servers follow the configuration within this.
const BEHIND: Duration = Duration::from_secs(50);

fn settings() -> Settings {
    Settings {
        namespace: "rds-csi".to_owned(),
        secret: "hook-tls".to_owned(),
        configuration: "hook".to_owned(),
        names: ServiceNames::new("hook", "rds-csi").unwrap(),
        lifetimes: Lifetimes {
            ca: CA,
            leaf: LEAF,
            lead: LEAD,
        },
    }
}

/// What a replica has seen and not acted on yet.
#[derive(Debug, Clone)]
struct Look {
    data: Data,
    bundles: Vec<Vec<u8>>,
    versions: (u64, u64),
}

#[derive(Debug, Default)]
struct Replica {
    served: Option<Pair>,
    sightings: Sightings,
    look: Option<Look>,
}

struct World {
    settings: Settings,
    now: Timestamp,
    at: Instant,
    data: Data,
    bundles: Vec<Vec<u8>>,
    /// Of the Secret and of the configuration.
    versions: (u64, u64),
    /// Bundles by the time since when they are no more.
    history: Vec<(Instant, Vec<Vec<u8>>)>,
    replicas: Vec<Replica>,
    steps: Vec<&'static str>,
}

impl World {
    fn new() -> Self {
        Self {
            settings: settings(),
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            at: Instant::now(),
            data: Data::new(),
            bundles: vec![vec![], vec![]],
            versions: (1, 1),
            history: vec![],
            replicas: vec![Replica::default(), Replica::default()],
            steps: vec![],
        }
    }

    fn look(&mut self, replica: usize) {
        self.replicas[replica].look = Some(Look {
            data: self.data.clone(),
            bundles: self.bundles.clone(),
            versions: self.versions,
        });
    }

    /// Presents and takes a step as the keeper does, on what was seen some time ago.
    fn act(&mut self, replica: usize) -> Step {
        let Some(look) = self.replicas[replica].look.take() else {
            return Step::Rest;
        };
        let names = &self.settings.names;
        let state = State::read(&look.data, names);
        let bundles = Bundles::read(look.bundles.clone());
        let own = &mut self.replicas[replica];
        own.sightings.note(&bundles, self.at);
        let seen = Seen {
            state: &state,
            bundles: &bundles,
            sightings: &own.sightings,
            at: self.at,
        };
        if let (Some(leaf), Some(issuer)) = (&state.leaf, issuer(&state, names, self.now)) {
            let believed = |pair: &Pair| bundles.verify(pair.chain(), names, self.now);
            if !own.served.as_ref().is_some_and(believed)
                || may_rely_on(issuer, seen, &self.settings, self.now)
            {
                own.served = Some(leaf.clone());
            }
        }
        let step = plan(seen, &self.settings, self.now);
        match &step {
            Step::Rest => {}
            Step::Publish(bundle) if self.versions.1 == look.versions.1 => {
                self.publish(vec![bundle.clone(); self.bundles.len()]);
            }
            Step::Publish(_) => {}
            other => {
                let after = take(other, state, &self.settings, self.now).unwrap();
                if self.versions.0 == look.versions.0 {
                    self.data = after.write();
                    self.versions.0 += 1;
                }
            }
        }
        self.steps.push(step.name());
        step
    }

    fn publish(&mut self, bundles: Vec<Vec<u8>>) {
        let old = std::mem::replace(&mut self.bundles, bundles);
        self.history.push((self.at, old));
        self.versions.1 += 1;
    }

    fn pass(&mut self, time: Duration) {
        self.at += time;
        self.now += time;
    }

    fn pass_until(&mut self, time: Timestamp) {
        self.pass(time.duration_since(self.now).unsigned_abs());
    }

    /// Whether clients verify what a replica serves, by every bundle that an API server
    /// may still have.
    fn is_believed(&self, replica: usize) -> bool {
        let Some(served) = &self.replicas[replica].served else {
            return false;
        };
        let recent = self
            .history
            .iter()
            .filter(|(until, _)| self.at - *until < BEHIND);
        let mut views = recent.map(|(_, view)| view).chain([&self.bundles]);
        views.all(|view| {
            let bundles = Bundles::read(view.clone());
            bundles.verify(served.chain(), &self.settings.names, self.now)
        })
    }

    /// Lets both replicas work until nothing is left to do, with time for lead times.
    fn settle(&mut self) {
        for _ in 0..60 {
            let mut rested = true;
            for replica in 0..self.replicas.len() {
                self.look(replica);
                rested &= self.act(replica) == Step::Rest;
            }
            if rested && self.is_fresh() {
                return;
            }
            self.pass(LEAD / 2);
        }
        panic!("no rest: {:?}", self.steps);
    }

    /// Whether everybody serves the leaf of the Secret, and clients believe it.
    fn is_fresh(&self) -> bool {
        let state = State::read(&self.data, &self.settings.names);
        let same = |replica: &Replica| replica.served == state.leaf;
        self.replicas.iter().all(same) && (0..self.replicas.len()).all(|i| self.is_believed(i))
    }
}

#[test]
fn the_first_certificate_takes_three_steps_and_no_waiting() {
    let mut world = World::new();
    for _ in 0..4 {
        world.look(0);
        world.act(0);
    }
    assert_eq!(world.steps, ["add-authority", "publish", "promote", "rest"]);
    world.pass(BEHIND);
    assert!(world.is_believed(0));
}

#[test]
fn a_replica_that_starts_takes_what_is_there() {
    let mut world = World::new();
    world.settle();
    let before = world.data.clone();
    world.replicas[0] = Replica::default();
    world.look(0);
    assert_eq!(world.act(0), Step::Rest);
    assert!(world.is_believed(0));
    assert_eq!(world.data, before);
}

#[test]
fn a_new_authority_signs_after_its_lead_time_and_the_old_one_goes_after_its_last_leaf() {
    let mut world = World::new();
    world.settle();
    let old = Bundles::read(world.bundles.clone()).anchors()[0].clone();
    world.pass(CA * 2 / 3);
    let (mut promoted, mut published) = (None, 0);
    let began = world.at;
    for _ in 0..400 {
        for replica in 0..2 {
            world.look(replica);
            match world.act(replica) {
                Step::Promote => promoted = Some(world.at),
                Step::Publish(_) => published += 1,
                _ => {}
            }
            assert!(world.is_believed(replica) || promoted.is_none());
        }
        let bundles = Bundles::read(world.bundles.clone());
        if !bundles.trust(&old) {
            let promoted = promoted.expect("the old one goes after the new one came");
            assert!(promoted - began >= LEAD);
            assert!(
                world.at - promoted > LEAF / 3,
                "its last leaf had so long to go"
            );
            assert_eq!(bundles.anchors().len(), 1);
            assert_eq!(
                published, 2,
                "one bundle with both, one without the old one"
            );
            return;
        }
        world.pass(Duration::from_secs(10));
    }
    panic!("the old one stays: {:?}", world.steps);
}

/// When two thirds of a life are over.
fn two_thirds(validity: Validity) -> Timestamp {
    let life = validity.not_after.duration_since(validity.not_before);
    validity.not_before + life * 2 / 3
}

#[test]
fn a_certificate_and_a_ca_are_renewed_at_two_thirds_of_their_lives_and_not_before() {
    const SECOND: Duration = Duration::from_secs(1);
    let mut world = World::new();
    world.settle();
    let state = |world: &World| State::read(&world.data, &world.settings.names);
    let step = |world: &mut World| {
        world.look(0);
        world.act(0)
    };
    let leaf = state(&world).leaf.unwrap().validity();
    world.pass_until(two_thirds(leaf) - SECOND);
    assert_eq!(step(&mut world), Step::Rest);
    world.pass(SECOND);
    assert_eq!(step(&mut world), Step::RenewLeaf);
    assert!(state(&world).leaf.unwrap().validity().not_after > leaf.not_after);

    let ca = state(&world).current.anchor.unwrap().validity();
    // With a leaf that is not due at the same time.
    world.pass_until(two_thirds(ca) - 5 * LEAD);
    world.settle();
    world.pass_until(two_thirds(ca) - SECOND);
    assert_eq!(step(&mut world), Step::Rest);
    world.pass(SECOND);
    assert_eq!(step(&mut world), Step::AddAuthority);
}

#[test]
fn a_foreign_authority_stays_for_the_life_of_a_leaf() {
    let mut world = World::new();
    let foreign = Authority::generate(&world.settings.names, CA * 9, world.now).unwrap();
    let text = trust::write([foreign.anchor()]);
    world.bundles = vec![text.clone(), text];
    let earlier = foreign
        .sign(&world.settings.names, LEAF, world.now)
        .unwrap();
    world.replicas[1].served = Some(earlier);
    for _ in 0..12 {
        assert!(world.is_believed(1));
        world.look(0);
        world.act(0);
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(world.steps[..3], ["adopt", "add-authority", "publish"]);
    assert!(world.steps.contains(&"promote") && world.is_believed(0));
    world.pass(LEAF);
    world.settle();
    assert!(!Bundles::read(world.bundles.clone()).trust(foreign.anchor()));
}

#[test]
fn more_foreign_authorities_than_there_is_room_for_do_not_stay() {
    let mut world = World::new();
    let one = || Authority::generate(&settings().names, CA, world.now).unwrap();
    let many: Vec<Authority> = std::iter::repeat_with(one).take(MOST_RETIRED + 4).collect();
    let text = trust::write(many.iter().map(Authority::anchor));
    world.bundles = vec![text; 2];
    world.settle();
    let anchors = Bundles::read(world.bundles.clone()).anchors().len();
    assert_eq!(anchors, MOST_RETIRED + 1);
}

#[derive(Debug, Clone)]
enum Event {
    Look(usize),
    Act(usize),
    Pass(u64),
    Restart(usize),
    Break(Break),
}

/// What a person, a restore or a bug may do.
#[derive(Debug, Clone)]
enum Break {
    EmptySecret,
    SpoilKey(&'static str, bool),
    EmptyBundle,
    EmptyOneEntry,
    GarbageBundle,
    ForeignBundle,
    ClockBack(u64),
    LongSleep(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Event::Look),
        4 => (0..2_usize).prop_map(Event::Act),
        3 => (1..300_u64).prop_map(Event::Pass),
        1 => (0..2_usize).prop_map(Event::Restart),
    ]
}

fn a_break() -> impl Strategy<Value = Break> {
    let key = prop::sample::select(vec![
        "tls.crt",
        "tls.key",
        "ca.crt",
        "ca.key",
        "next-ca.crt",
        "next-ca.key",
        "retired-20261122T120000Z.crt",
        "retired-.crt",
        "other",
    ]);
    prop_oneof![
        Just(Break::EmptySecret),
        (key, any::<bool>()).prop_map(|(key, gone)| Break::SpoilKey(key, gone)),
        Just(Break::EmptyBundle),
        Just(Break::EmptyOneEntry),
        Just(Break::GarbageBundle),
        Just(Break::ForeignBundle),
        (1..290_u64).prop_map(Break::ClockBack),
        (1..9000_u64).prop_map(Break::LongSleep),
    ]
}

impl World {
    fn meet(&mut self, event: &Event) {
        match event {
            Event::Look(replica) => self.look(*replica),
            Event::Act(replica) => drop(self.act(*replica)),
            Event::Pass(seconds) => self.pass(Duration::from_secs(*seconds)),
            Event::Restart(replica) => self.replicas[*replica] = Replica::default(),
            Event::Break(harm) => self.suffer(harm),
        }
    }

    fn suffer(&mut self, harm: &Break) {
        let entries = self.bundles.len();
        match harm {
            Break::EmptySecret => self.data.clear(),
            Break::SpoilKey(key, true) => drop(self.data.remove(*key)),
            Break::SpoilKey(key, false) => {
                self.data.insert((*key).to_owned(), b"garbage".to_vec());
            }
            Break::EmptyBundle => self.publish(vec![vec![]; entries]),
            Break::EmptyOneEntry => {
                let mut bundles = self.bundles.clone();
                bundles[0].clear();
                self.publish(bundles);
            }
            Break::GarbageBundle => self.publish(vec![b"no PEM".to_vec(); entries]),
            Break::ForeignBundle => {
                let foreign = Authority::generate(&self.settings.names, CA, self.now).unwrap();
                self.publish(vec![trust::write([foreign.anchor()]); entries]);
            }
            Break::ClockBack(seconds) => self.now -= Duration::from_secs(*seconds),
            Break::LongSleep(seconds) => self.pass(Duration::from_secs(*seconds)),
        }
        self.versions.0 += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_steps_and_restarts_makes_a_served_leaf_unverifiable(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new();
        world.settle();
        for event in &events {
            let believed = [world.is_believed(0), world.is_believed(1)];
            world.meet(event);
            for (replica, before) in believed.into_iter().enumerate() {
                let Some(served) = &world.replicas[replica].served else { continue };
                // Nobody renews while nobody looks: a leaf may end.
                let ended = served.validity().not_after <= world.now;
                prop_assert!(!before || ended || world.is_believed(replica), "{:?}", world.steps);
            }
        }
        world.settle();
    }

    #[test]
    fn from_every_state_the_world_comes_to_rest_with_a_leaf_that_is_believed(
        events in prop::collection::vec(
            prop_oneof![3 => event(), 1 => a_break().prop_map(Event::Break)], 1..40)
    ) {
        let mut world = World::new();
        for event in &events {
            world.meet(event);
        }
        world.settle();
        let rested = (world.data.clone(), world.bundles.clone());
        for replica in 0..2 {
            world.look(replica);
            prop_assert_eq!(world.act(replica), Step::Rest);
        }
        prop_assert_eq!(rested, (world.data, world.bundles));
    }

    #[test]
    fn one_break_of_the_secret_never_makes_a_served_leaf_unverifiable(
        age in 0..3000_u64, harm in prop_oneof![
            Just(Break::EmptySecret),
            prop::sample::select(vec!["tls.crt", "tls.key", "ca.crt", "ca.key", "next-ca.crt"])
                .prop_map(|key| Break::SpoilKey(key, false)),
        ],
    ) {
        let mut world = World::new();
        world.settle();
        world.pass(Duration::from_secs(age));
        world.settle();
        world.suffer(&harm);
        for round in 0..40 {
            for replica in 0..2 {
                world.look(replica);
                world.act(replica);
                prop_assert!(world.is_believed(replica), "{round}: {:?}", world.steps);
            }
            world.pass(Duration::from_secs(10));
        }
        prop_assert!(world.is_fresh());
    }
}
