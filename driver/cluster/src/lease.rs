//! Which of several controllers does what is to be done once: a Lease.
//!
//! Whoever holds it renews it; another one takes it when it has not changed for its whole
//! duration, by the taker's own clock, so that clocks need not agree. Every write is over
//! the version that was read, so two never hold it by the store. Nor do two believe so: the
//! holder counts from before its last renewal was asked for, and for less time than another
//! one waits. What it had begun by then may still be under way: what is done under a lease
//! must bear being done twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::{DriverName, annotation};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

mod leadership;

pub use leadership::Leadership;

use super::ClusterError;
use super::calls::{Calls, present};

/// How long a lease stands without being renewed.
const DURATION: Duration = Duration::from_secs(12);
/// For how long after it asked for its last renewal the holder still acts.
const TRUST: Duration = Duration::from_secs(8);
/// How often it is looked at. Another one takes over within the duration and two looks: one
/// until the last renewal was seen, one until it is seen to be old.
const LOOK: Duration = Duration::from_secs(2);

const LOOK_AT: &str = "looking at the lease";
const GET: &str = "get leases";
const CREATE: &str = "create leases";
const PATCH: &str = "patch leases";

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

/// `unchanged` is for how long the lease has looked the same, or not been there. `may_be_held`: one
/// that was there and is not may have been deleted under a holder that has not seen that yet.
fn next(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration, may_be_held: bool) -> Step {
    let Some(lease) = lease else {
        return match may_be_held && unchanged < DURATION {
            true => Step::Wait,
            false => Step::Create,
        };
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
    /// Whether there ever was one.
    was_there: bool,
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
            was_there: false,
        };
        let mut trouble = false;
        loop {
            let began = Instant::now();
            // One that is not answered while this one leads is given up for another.
            let end = leadership.end().unwrap_or(began + TRUST);
            let looked = timeout_at(end, self.look(&mut seen, leadership)).await;
            let looked = looked.unwrap_or(Err(ClusterError::TimedOut {
                call: LOOK_AT,
                after: end - began,
            }));
            match looked {
                Ok(Some(asked)) => leadership.hold_until(asked + TRUST),
                Ok(None) => leadership.set(false),
                // Somebody was faster: the next look says who.
                Err(ClusterError::Changed { .. }) => {}
                Err(ref error) if !trouble => tracing::warn!("{}", Chain(error)),
                Err(_) => {}
            }
            trouble = looked.is_err();
            if leadership.end().is_none() {
                leadership.set(false);
            }
            sleep_until(began + LOOK).await;
        }
    }

    /// One look, and the step that it asks for. The lease is ours after it if it gives a time:
    /// that before the write, which nobody can have seen earlier.
    async fn look(
        &self,
        seen: &mut Seen,
        leadership: &Leadership,
    ) -> Result<Option<Instant>, ClusterError> {
        let found = present(self.calls.run(GET, self.leases.get(&self.name)).await)?;
        let spec = found
            .as_ref()
            .map(|lease| lease.spec.clone().unwrap_or_default());
        if spec != seen.spec {
            *seen = Seen {
                spec: spec.clone(),
                since: Instant::now(),
                was_there: true,
            };
        }
        let metadata = found.map(|lease| lease.metadata).unwrap_or_default();
        let said = metadata
            .annotations
            .and_then(|mut all| all.remove(&self.word));
        let may_be_held = seen.was_there && !leadership.is_held();
        let unchanged = seen.since.elapsed();
        let step = next(spec.as_ref(), &self.me, unchanged, may_be_held);
        let word = leadership.hear(said.as_deref(), step != Step::Wait);
        let over = Over {
            version: metadata.resource_version,
            word,
        };
        let asked = Instant::now();
        match step {
            Step::Wait => return Ok(None),
            Step::Create => self.create(over.word).await?,
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
        Ok(Some(asked))
    }

    async fn create(&self, word: Option<String>) -> Result<(), ClusterError> {
        let annotations = word.map(|word| json!({&self.word: word}));
        let lease = json!({
            "metadata": {"name": self.name, "annotations": annotations},
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
mod tests;
