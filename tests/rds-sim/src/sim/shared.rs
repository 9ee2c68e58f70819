//! What connections, the control socket and the owner of a simulator share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::PublicKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::{Armed, Fault, Harm};
use crate::model::{FileBacked, Kind, Model};

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
    latency_ms: AtomicU64,
    refusing: AtomicBool,
    down: AtomicBool,
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
            "exports": model.exports(),
            "target_error": model.target_error(),
            "variants": variants,
            "waiting_faults": armed,
            "counters": self.counters(),
        })
    }

    pub(super) fn inject(self: &Arc<Self>, tasks: &TaskTracker, fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Exec { trigger, harm } => lock(&self.armed).push(trigger, harm),
            Fault::Permissions { denied } => self.model().deny(denied),
            Fault::Latency { ms } => self.latency_ms.store(ms, Ordering::SeqCst),
            Fault::RefuseConnections { refuse } => self.refusing.store(refuse, Ordering::SeqCst),
            Fault::CutConnections => self.cut_connections(),
            Fault::PoolFull { full } => {
                self.model().change(|device| device.pool_mut().full = full);
            }
            Fault::PoolState { state } => {
                self.model()
                    .change(|device| device.pool_mut().state = state);
            }
            Fault::PoolMounted { mounted } => {
                self.model()
                    .change(|device| device.pool_mut().mounted = mounted);
            }
            Fault::Reboot {
                down_ms,
                mount_ms,
                power_cut,
            } => {
                self.down.store(true, Ordering::SeqCst);
                self.cut_connections();
                self.model().switch_off(power_cut);
                let shared = Arc::clone(self);
                tasks.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(down_ms)).await;
                    let started = shared.model().switch_on(Duration::from_millis(mount_ms));
                    match started {
                        Ok(()) => shared.down.store(false, Ordering::SeqCst),
                        Err(error) => tracing::error!(%error, "the device did not come back"),
                    }
                });
            }
            Fault::ForeignFile { path, content } => {
                let path = self.model().host_path(&path).map_err(io::Error::other)?;
                write(&path, |file| std::fs::write(file, content))?;
            }
            Fault::ForeignItem {
                slot,
                file_path,
                nqn,
                comment,
                size,
            } => {
                let mut model = self.model();
                let path = model.host_path(&file_path).map_err(io::Error::other)?;
                write(&path, |file| {
                    let options = std::fs::File::options()
                        .create(true)
                        .append(true)
                        .open(file)?;
                    options.set_len(size)
                })?;
                model.change(|device| {
                    let uuid = device.uuid(device.next_id, None);
                    let file = FileBacked {
                        file_path,
                        size,
                        file_offset: 0,
                        mount_filesystem: false,
                        mount_read_only: false,
                        swap: false,
                        export: nqn.is_some(),
                        port: None,
                        nqn,
                        allow_host: None,
                        password: None,
                        uuid,
                    };
                    device.push(&slot, Kind::File(file)).comment = comment;
                });
            }
        }
        Ok(())
    }
}

fn write(
    path: &std::path::Path,
    write: impl FnOnce(&std::path::Path) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    write(path)
}
