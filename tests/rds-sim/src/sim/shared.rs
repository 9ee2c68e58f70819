//! What connections, the control socket and the owner of a simulator share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::PublicKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use crate::fault::{Armed, Harm, Trigger};
use crate::model::Model;

/// Most scripts that are remembered.
const HISTORY: usize = 4096;

/// One script that came in over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Number of the connection, from 1.
    pub connection: u64,
    /// The script.
    pub script: String,
}

/// How much there was since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Users logged in.
    pub logins: u64,
    /// Scripts received.
    pub executions: u64,
}

/// State behind the fronts.
#[derive(Debug)]
pub(super) struct Shared {
    model: Mutex<Model>,
    armed: Mutex<Armed>,
    history: Mutex<VecDeque<Executed>>,
    open: Mutex<HashMap<u64, CancellationToken>>,
    connections: AtomicU64,
    pub(super) logins: AtomicU64,
    executions: AtomicU64,
    pub(super) latency_ms: AtomicU64,
    pub(super) refusing: AtomicBool,
    pub(super) down: AtomicBool,
    pub(super) user: String,
    pub(super) keys: Vec<PublicKey>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(model: Model, user: &str, keys: Vec<PublicKey>) -> Self {
        let latency = model.variants().exec_latency_ms;
        Self {
            model: Mutex::new(model),
            armed: Mutex::default(),
            history: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            executions: AtomicU64::new(0),
            latency_ms: AtomicU64::new(latency),
            refusing: AtomicBool::new(false),
            down: AtomicBool::new(false),
            user: user.to_owned(),
            keys,
        }
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    /// The number and the end of a new connection, unless it must be refused.
    pub(super) fn connect(&self) -> Option<(u64, CancellationToken)> {
        let limit = self.model().variants().connection_limit;
        let mut open = lock(&self.open);
        let many = limit > 0 && u64::try_from(open.len()).is_ok_and(|count| count >= limit);
        if many || self.refusing.load(Ordering::SeqCst) || self.down.load(Ordering::SeqCst) {
            return None;
        }
        let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let token = CancellationToken::new();
        open.insert(number, token.clone());
        Some((number, token))
    }

    pub(super) fn disconnect(&self, number: u64) {
        lock(&self.open).remove(&number);
    }

    pub(super) fn cut_connections(&self) {
        for token in lock(&self.open).values() {
            token.cancel();
        }
    }

    /// Notes a script; says which harm it meets.
    pub(super) fn receive(&self, connection: u64, script: &str) -> Option<Harm> {
        self.executions.fetch_add(1, Ordering::SeqCst);
        let mut history = lock(&self.history);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Executed {
            connection,
            script: script.to_owned(),
        });
        drop(history);
        lock(&self.armed).take(script)
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.load(Ordering::SeqCst))
    }

    pub(super) fn arm(&self, trigger: Trigger, harm: Harm) {
        lock(&self.armed).push(trigger, harm);
    }

    pub(super) fn clear_faults(&self) {
        lock(&self.armed).clear();
    }

    pub(super) fn executed(&self) -> Vec<Executed> {
        lock(&self.history).iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            connections: self.connections.load(Ordering::SeqCst),
            open: u64::try_from(lock(&self.open).len()).unwrap_or(u64::MAX),
            logins: self.logins.load(Ordering::SeqCst),
            executions: self.executions.load(Ordering::SeqCst),
        }
    }

    pub(super) fn state(&self) -> Json {
        let armed = lock(&self.armed).len();
        let model = self.model();
        let variants: serde_json::Map<String, Json> = model
            .variants()
            .values()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Json::String(value)))
            .collect();
        let pools: Vec<Json> = model
            .device()
            .pools()
            .map(|pool| json!({"mount_point": pool.mount_point, "mounted": pool.mounted}))
            .collect();
        json!({
            "device": model.device(),
            "pools": pools,
            "files": model.files().unwrap_or_default(),
            "denied": model.denied(),
            "exports": model.exports(),
            "target_error": model.target_error(),
            "variants": variants,
            "waiting_faults": armed,
            "counters": self.counters(),
        })
    }
}
