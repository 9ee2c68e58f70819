//! Requests to the API server: each with a deadline, each counted, each error in words.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::watcher;
use tokio::time::timeout;

use super::{ClusterError, ClusterLink};

/// How long one request may take. A slow API server (5 s an answer) still serves.
const DEADLINE: Duration = Duration::from_secs(10);

/// What was asked of the API server, and how it went.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    /// The last error, until a request succeeds.
    unreachable: Option<String>,
    /// What is followed: why it is behind, or nothing where it is not.
    behind: BTreeMap<&'static str, String>,
}

impl Calls {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits one request. `call` is its verb and resource.
    pub(super) async fn run<T>(
        &self,
        call: &'static str,
        request: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<T, Refusal> {
        let outcome = timeout(DEADLINE, request).await;
        let (result, outcome) = match outcome {
            Ok(Ok(value)) => ("ok", Ok(value)),
            Ok(Err(error)) => {
                let refusal = Refusal::of(call, &error);
                (result(&error), Err(refusal))
            }
            Err(_) => {
                let after = DEADLINE;
                let error = ClusterError::TimedOut { call, after };
                ("timeout", Err(Refusal { code: None, error }))
            }
        };
        self.count(call, result);
        // An answer of any kind but "not now" is an answer.
        let answered = ["ok", "conflict", "not_found"].contains(&result);
        self.requests().unreachable = match &outcome {
            Err(refusal) if !answered => Some(words(&refusal.error)),
            _ => None,
        };
        outcome
    }

    fn count(&self, call: &'static str, result: &'static str) {
        *self.requests().counts.entry((call, result)).or_default() += 1;
    }

    /// Notes that what `call` follows is not known yet.
    pub(super) fn expect(&self, call: &'static str) {
        let why = "not complete yet".to_owned();
        self.requests().behind.insert(call, why);
    }

    /// Notes that what `call` follows is known, all of it.
    pub(super) fn followed(&self, call: &'static str) {
        self.count(call, "ok");
        self.requests().behind.remove(call);
    }

    /// Notes that following failed for now. What was known before is still followed: the
    /// watch goes on where it ended, or reads everything again.
    pub(super) fn lost(&self, call: &'static str, error: &watcher::Error) {
        tracing::warn!(call, error = words(error), "following the cluster");
        self.count(call, watch_result(error));
        if let Some(why) = self.requests().behind.get_mut(call) {
            *why = words(error);
        }
    }

    /// What is known without asking.
    pub(super) fn link(&self) -> ClusterLink {
        let requests = self.requests();
        let behind = requests
            .behind
            .iter()
            .map(|(call, why)| format!("{call}: {why}"));
        let troubles: Vec<_> = requests
            .unreachable
            .clone()
            .into_iter()
            .chain(behind)
            .collect();
        ClusterLink {
            trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
            requests: requests.counts.clone(),
        }
    }
}

/// An error with the HTTP status of the answer, where there was one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Option<u16>,
    pub(super) error: ClusterError,
}

impl Refusal {
    fn of(call: &'static str, error: &kube::Error) -> Self {
        let code = code(error);
        let error = ClusterError::Failed {
            call,
            reason: words(error),
        };
        Self { code, error }
    }
}

/// An object, or that there is none.
pub(super) fn present<T>(answer: Result<T, Refusal>) -> Result<Option<T>, ClusterError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(refusal) if refusal.code == Some(404) => Ok(None),
        Err(refusal) => Err(refusal.error),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// How a request ended, in one of a fixed set of words.
fn result(error: &kube::Error) -> &'static str {
    match code(error) {
        None => "unreachable",
        Some(401 | 403) => "denied",
        Some(404) => "not_found",
        Some(409) => "conflict",
        Some(410) => "expired",
        Some(429) => "throttled",
        Some(_) => "failed",
    }
}

fn watch_result(error: &watcher::Error) -> &'static str {
    use watcher::Error as Watch;
    match error {
        Watch::InitialListFailed(error)
        | Watch::WatchStartFailed(error)
        | Watch::WatchFailed(error) => result(error),
        Watch::WatchError(status) => result(&kube::Error::Api(status.clone())),
        Watch::NoResourceVersion => "failed",
    }
}

/// An error and its causes as one sentence. Some errors of kube contain their cause's
/// words and some do not.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        source = cause.source();
    }
    sentence
}
