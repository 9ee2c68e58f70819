//! Which of several controllers does what is to be done once: a Lease.
//!
//! Whoever holds it renews it; another one takes it when it has not changed for its whole
//! duration, by the taker's own clock, so that clocks need not agree. Every write is over
//! the version that was read, so two never hold it by the store. Two may believe so for a
//! moment if one of them hangs: what is done under a lease must bear being done twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::{DriverName, annotation};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ClusterError;
use super::calls::{Calls, present};

/// How long a lease stands without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// For how long after its last renewal the holder still acts.
const TRUST: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(3);

const GET: &str = "get leases";
const CREATE: &str = "create leases";
const PATCH: &str = "patch leases";

/// Whether this process does what is to be done once. Clones share it; at first it does not.
#[derive(Debug, Clone, Default)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How often it has changed whether this one leads: it does where the number is odd.
    changes: AtomicU64,
    word: Mutex<Option<String>>,
}

impl Leadership {
    /// Whether it does now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.term().is_some()
    }

    /// For which time it does now, if it does. Whoever lost it in between, however briefly, has
    /// another one than before.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let changes = self.0.changes.load(Ordering::Acquire);
        (changes % 2 == 1).then_some(changes)
    }

    /// Says so, or not. For tests, and for a process that is alone.
    pub fn set(&self, held: bool) {
        let change = |changes| ((changes % 2 == 1) != held).then_some(changes + 1);
        let changed = self
            .0
            .changes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        if changed.is_ok() {
            tracing::info!(held, "leadership");
        }
    }

    /// What the one that leads has said last, or one that led before it: it stands in the
    /// Lease, and is some seconds old.
    #[must_use]
    pub fn word(&self) -> Option<String> {
        self.words().clone()
    }

    /// Says something that all should know, where this is the one that leads.
    pub fn say(&self, word: &str) {
        *self.words() = Some(word.to_owned());
    }

    /// Hears what the Lease says, and gives what it should say instead. Who leads has said
    /// something newer, or knows nothing else.
    fn hear(&self, said: Option<&str>, leads: bool) -> Option<String> {
        let mut word = self.words();
        if !leads || word.is_none() {
            *word = said.map(str::to_owned);
        }
        word.clone().filter(|word| Some(word.as_str()) != said)
    }

    fn words(&self) -> MutexGuard<'_, Option<String>> {
        self.0.word.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is next for one that wants a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is none.
    Create,
    /// It is ours: say that we live.
    Renew,
    /// Nobody has it any more.
    Take,
    /// Somebody has it.
    Wait,
}

/// `unchanged` is for how long the lease has looked the same.
fn next(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> Step {
    let Some(lease) = lease else {
        return Step::Create;
    };
    match lease.holder_identity.as_deref().unwrap_or_default() {
        "" => Step::Take,
        holder if holder == me => Step::Renew,
        _ if unchanged >= DURATION => Step::Take,
        _ => Step::Wait,
    }
}

/// The way to one lease.
pub(super) struct Election<'a> {
    leases: Api<Lease>,
    calls: &'a Calls,
    name: String,
    /// The annotation with the word of the one that leads.
    word: String,
    me: String,
}

/// What a write is made over, and what is said with it.
struct Over {
    version: Option<String>,
    word: Option<String>,
}

/// The lease as it was last seen to change.
struct Seen {
    spec: Option<LeaseSpec>,
    since: Instant,
}

impl<'a> Election<'a> {
    pub(super) fn new(client: Client, calls: &'a Calls, driver: &DriverName) -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned());
        Self {
            leases: Api::default_namespaced(client),
            calls,
            name: lease_name(driver),
            word: driver.annotation(annotation::DEVICE_ACCESS),
            // A pod that starts again is another one: it has forgotten what it did.
            me: format!("{host}_{}", Timestamp::now().as_nanosecond()),
        }
    }

    /// Takes the lease whenever it can and keeps it, for ever.
    pub(super) async fn hold(&self, leadership: &Leadership) {
        let mut seen = Seen {
            spec: None,
            since: Instant::now(),
        };
        let mut renewed: Option<Instant> = None;
        let mut trouble = false;
        loop {
            match self.look(&mut seen, leadership).await {
                Ok(true) => renewed = Some(Instant::now()),
                Ok(false) => renewed = None,
                // Somebody was faster: the next look says who.
                Err(ClusterError::Changed { .. }) => {}
                Err(error) if !trouble => {
                    trouble = true;
                    tracing::warn!("{}", Chain(&error));
                }
                Err(_) => {}
            }
            trouble &= renewed.is_none();
            leadership.set(renewed.is_some_and(|at| at.elapsed() < TRUST));
            sleep(LOOK).await;
        }
    }

    /// One look, and the step that it asks for: whether the lease is ours after it.
    async fn look(&self, seen: &mut Seen, leadership: &Leadership) -> Result<bool, ClusterError> {
        let found = present(self.calls.run(GET, self.leases.get(&self.name)).await)?;
        let spec = found
            .as_ref()
            .map(|lease| lease.spec.clone().unwrap_or_default());
        if spec != seen.spec {
            *seen = Seen {
                spec: spec.clone(),
                since: Instant::now(),
            };
        }
        let metadata = found.map(|lease| lease.metadata).unwrap_or_default();
        let said = metadata
            .annotations
            .and_then(|mut all| all.remove(&self.word));
        let step = next(spec.as_ref(), &self.me, seen.since.elapsed());
        let word = leadership.hear(said.as_deref(), step != Step::Wait);
        let over = Over {
            version: metadata.resource_version,
            word,
        };
        match step {
            Step::Wait => return Ok(false),
            Step::Create => self.create().await?,
            Step::Renew => self.write(over, json!({})).await?,
            Step::Take => {
                let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
                let taken = json!({
                    "holderIdentity": self.me,
                    "acquireTime": now(),
                    "leaseTransitions": transitions.saturating_add(1),
                });
                self.write(over, taken).await?;
            }
        }
        Ok(true)
    }

    async fn create(&self) -> Result<(), ClusterError> {
        let lease = json!({
            "metadata": {"name": self.name},
            "spec": {
                "holderIdentity": self.me,
                "acquireTime": now(),
                "renewTime": now(),
                "leaseDurationSeconds": DURATION.as_secs(),
                "leaseTransitions": 0,
            },
        });
        let lease: Lease = serde_json::from_value(lease).map_err(|error| ClusterError::Failed {
            call: CREATE,
            reason: error.to_string(),
        })?;
        let parameters = PostParams::default();
        let created = self.leases.create(&parameters, &lease);
        match self.calls.run(CREATE, created).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == Some(409) => Err(self.changed()),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Writes over the version that was read.
    async fn write(&self, over: Over, mut spec: Value) -> Result<(), ClusterError> {
        spec["renewTime"] = json!(now());
        spec["leaseDurationSeconds"] = json!(DURATION.as_secs());
        let mut metadata = json!({"resourceVersion": over.version});
        if let Some(word) = over.word {
            metadata["annotations"] = json!({&self.word: word});
        }
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": spec}));
        let parameters = PatchParams::default();
        let patched = self.leases.patch(&self.name, &parameters, &patch);
        match self.calls.run(PATCH, patched).await {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.code, Some(404 | 409)) => Err(self.changed()),
            Err(refusal) => Err(refusal.error),
        }
    }

    fn changed(&self) -> ClusterError {
        let name = format!("Lease {}", self.name);
        ClusterError::Changed { name }
    }
}

/// What the lease of a driver is called.
fn lease_name(driver: &DriverName) -> String {
    let driver = driver.as_str().replace('.', "-");
    format!("driver-leader-{driver}")
}

/// As `MicroTime` is written.
fn now() -> String {
    Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_has_it_or_its_holder_is_silent() {
        let soon = Duration::from_secs(14);
        assert_eq!(next(None, "me", soon), Step::Create);
        assert_eq!(
            next(Some(&held_by("me")), "me", Duration::ZERO),
            Step::Renew
        );
        assert_eq!(next(Some(&held_by("")), "me", soon), Step::Take);
        assert_eq!(next(Some(&LeaseSpec::default()), "me", soon), Step::Take);
        assert_eq!(next(Some(&held_by("you")), "me", soon), Step::Wait);
        assert_eq!(next(Some(&held_by("you")), "me", DURATION), Step::Take);
    }

    #[test]
    fn whoever_lost_it_for_a_moment_has_another_term() {
        let leadership = Leadership::default();
        assert_eq!(leadership.term(), None);
        leadership.set(false);
        leadership.set(true);
        let first = leadership.term();
        leadership.set(true);
        assert!(leadership.is_held() && first.is_some());
        assert_eq!(leadership.term(), first);
        leadership.set(false);
        assert!(!leadership.is_held());
        leadership.set(true);
        assert!(leadership.is_held());
        assert_ne!(leadership.term(), first);
    }

    #[test]
    fn who_leads_is_heard_by_all_and_by_whoever_leads_next() {
        let (first, second) = (Leadership::default(), Leadership::default());
        assert_eq!(first.hear(None, true), None, "nothing to say");
        first.say("new");
        assert_eq!(first.hear(Some("old"), true).as_deref(), Some("new"));
        assert_eq!(first.hear(Some("new"), true), None, "it stands there");
        assert_eq!(second.hear(Some("old"), false), None);
        assert_eq!(second.hear(Some("new"), false), None);
        assert_eq!(second.word().as_deref(), Some("new"));
        assert_eq!(second.hear(Some("new"), true), None, "its turn");
        assert_eq!(second.word().as_deref(), Some("new"));
        let third = Leadership::default();
        assert_eq!(third.hear(Some("new"), true), None);
        assert_eq!(third.word().as_deref(), Some("new"));
        second.say("newer");
        assert_eq!(second.hear(Some("new"), true).as_deref(), Some("newer"));
        assert_eq!(first.hear(Some("newer"), false), None);
        assert_eq!(first.word().as_deref(), Some("newer"), "it leads no more");
    }

    #[test]
    fn a_holder_stops_acting_before_another_may_begin() {
        assert!(TRUST + LOOK < DURATION);
    }
}
