//! Threads as the harness has them for tests.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody is seen to wait.
const MOMENT: Duration = Duration::from_millis(50);

/// One test alone, as all turns of a process are about one cluster.
#[test]
fn tests_that_break_nothing_work_beside_each_other_and_any_other_alone() {
    let (began, begins) = channel();
    let test = |name: &'static str, turn: fn()| {
        let began = began.clone();
        let (end, ended) = channel::<()>();
        let body = move || {
            turn();
            // Whoever asks again has its turn already.
            turn();
            began.send(name).unwrap();
            ended.recv().unwrap();
            panic!("a test that fails ends its turn too");
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        (end, thread.unwrap())
    };
    let end = |(end, thread): (Sender<()>, thread::JoinHandle<()>)| {
        end.send(()).unwrap();
        thread.join().unwrap_err();
    };
    let nobody = || begins.recv_timeout(MOMENT).unwrap_err();

    let first = test("first", beside_others);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok("first"));
    let second = test("second", beside_others);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok("second"));
    assert_eq!(owners().len(), 2);
    let alone = test("alone", alone);
    assert_eq!(nobody(), RecvTimeoutError::Timeout);
    end(first);
    assert_eq!(nobody(), RecvTimeoutError::Timeout);
    end(second);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok("alone"));
    assert_eq!(owners().len(), 1);
    let third = test("third", beside_others);
    assert_eq!(nobody(), RecvTimeoutError::Timeout);
    end(alone);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok("third"));
    end(third);
    assert_eq!(owners(), BTreeSet::new());
}
