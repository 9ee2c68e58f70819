//! What the task and its callers both see of the connection.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::rds::LinkState;

/// The shared state of one connection. Each session has a number, so that the end of an
/// old one is not taken for the end of its successor.
#[derive(Debug, Clone, Default)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<LinkState>,
    end: Notify,
}

impl Link {
    pub(super) fn state(&self) -> LinkState {
        self.with(|state| state.clone())
    }

    pub(super) fn opened(&self, version: &str) {
        self.with(|state| {
            state.connected = true;
            state.connects += 1;
            state.version = Some(version.to_owned());
            state.last_error = None;
        });
    }

    /// The session of this number, counted from 1, has ended.
    pub(super) fn ended(&self, number: u64) {
        self.with(|state| {
            if state.connects == number {
                state.connected = false;
            }
        });
        // Kept for a task that does not wait yet.
        self.0.end.notify_one();
    }

    /// Waits until a session has ended, or says at once that one did since the last call.
    /// It may have been an old one: the state tells.
    pub(super) async fn end(&self) {
        self.0.end.notified().await;
    }

    pub(super) fn failed(&self, error: String) {
        self.with(|state| {
            state.connected = false;
            state.last_error = Some(error);
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut LinkState) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
