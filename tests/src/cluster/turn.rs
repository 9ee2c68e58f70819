//! Which tests work in the cluster at the same time: those that break nothing beside each other,
//! any other alone.
//!
//! A test has its turn from when it first asks for the cluster until its thread ends, however
//! it ends: the harness gives each test a thread of its own, which is named after it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sha2::{Digest as _, Sha256};

static CLUSTER: RwLock<()> = RwLock::new(());
/// The tests of this process that have their turn.
static LIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

struct Turn {
    owner: String,
    guard: Guard,
}

enum Guard {
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
    Beside(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
}

/// Waits until no other test of this process works in the cluster, and lets none begin. Blocks
/// the thread: whoever calls this has begun nothing yet.
///
/// # Panics
/// The test has begun beside others.
pub(super) fn alone() {
    take(|| Guard::Alone(CLUSTER.write().unwrap_or_else(PoisonError::into_inner)));
    TURN.with_borrow(|turn| {
        let is_alone = |turn: &Turn| matches!(turn.guard, Guard::Alone(_));
        assert!(turn.as_ref().is_some_and(is_alone), "begun beside others");
    });
}

/// Waits until no other test works in the cluster that needs it for itself.
pub(super) fn beside_others() {
    take(|| Guard::Beside(CLUSTER.read().unwrap_or_else(PoisonError::into_inner)));
}

fn take(guard: impl FnOnce() -> Guard) {
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(|| {
            let (guard, owner) = (guard(), owner());
            live(|live| live.insert(owner.clone()));
            Turn { owner, guard }
        });
    });
}

impl Drop for Turn {
    fn drop(&mut self) {
        live(|live| live.remove(&self.owner));
    }
}

/// The tests that have their turn, as labels take them.
pub(super) fn owners() -> BTreeSet<String> {
    live(|live| live.clone())
}

/// The test that runs, as a label takes it.
pub(super) fn owner() -> String {
    let thread = std::thread::current();
    let words = format!("{} {:?}", std::process::id(), thread.name());
    let hash = format!("{:x}", Sha256::digest(words));
    hash.chars().take(16).collect()
}

fn live<T>(act: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
    act(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests;
