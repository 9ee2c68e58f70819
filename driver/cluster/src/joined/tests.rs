//! Who shares which reading.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::*;

const LONG: Duration = Duration::from_millis(500);

/// Readings that say which one of them they are, and take long.
#[derive(Default)]
struct Store {
    joined: Joined<&'static str, u32>,
    began: AtomicU32,
}

impl Store {
    async fn read(&self, key: &'static str) -> Result<u32, ClusterError> {
        self.reads_for(key, LONG).await
    }

    async fn reads_for(&self, key: &'static str, time: Duration) -> Result<u32, ClusterError> {
        let reading = async move {
            let number = self.began.fetch_add(1, Ordering::Relaxed);
            sleep(time).await;
            Ok(number)
        };
        self.joined.read(key, reading.boxed()).await
    }

    /// What a call says that is made after a time.
    async fn after(&self, time: Duration) -> u32 {
        sleep(time).await;
        self.read("pods").await.unwrap()
    }

    fn is_idle(&self) -> bool {
        lock(&self.joined.0).is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_at_once_make_two_readings() {
    let store = Store::default();
    let answers = join_all((0..100).map(|_| store.read("pods"))).await;
    let numbers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers[0], 0);
    assert_eq!(numbers[1..], [1; 99]);
    assert!(store.is_idle());
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_of_a_reading_that_had_begun_when_it_was_asked_for() {
    let store = Store::default();
    let times = [0, 1, 499, 501, 750, 1001, 2000];
    let answers = times.map(|time| store.after(Duration::from_millis(time)));
    // Readings begin at 0, 500, 1000, 1500 and 2000.
    assert_eq!(join_all(answers).await, [0, 1, 1, 2, 2, 3, 4]);
    assert!(store.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_read_side_by_side() {
    let store = Store::default();
    let both = join_all([store.read("pods"), store.read("machines")]);
    let both = timeout(LONG, both).await.unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(store.began.into_inner(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_does_not_keep_the_others() {
    let store = Store::default();
    let began = Instant::now();
    let others = async {
        let answers = join_all((0..9).map(|_| store.read("pods"))).await;
        (answers, began.elapsed())
    };
    let hangs = store.reads_for("pods", 20 * LONG);
    let (hung, (answers, took)) = tokio::join!(hangs, others);
    assert_eq!(hung.unwrap(), 0);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == 1));
    assert_eq!(took, PATIENCE + LONG);
    assert!(store.is_idle());
}

#[tokio::test(start_paused = true)]
async fn where_the_one_who_reads_goes_away_another_one_does() {
    let store = Store::default();
    let (first, gone, other) = tokio::join!(
        store.read("pods"),
        // It begins the second reading.
        timeout(LONG * 3 / 2, store.read("pods")),
        store.read("pods")
    );
    assert_eq!(first.unwrap(), 0);
    assert!(gone.is_err());
    assert_eq!(other.unwrap(), 2);
    assert!(store.is_idle());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_callers_that_have_all_gone_away() {
    let store = Store::default();
    let both = join_all([store.read("pods"), store.read("pods")]);
    assert!(timeout(LONG / 2, both).await.is_err());
    assert!(store.is_idle());
    assert_eq!(store.read("pods").await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_everybodys_and_is_not_kept() {
    let (joined, failed) = (Joined::<&str, u32>::default(), AtomicU32::new(0));
    let failing = || async {
        failed.fetch_add(1, Ordering::Relaxed);
        sleep(LONG).await;
        let missing = "pods".to_owned();
        Err(ClusterError::Without { missing })
    };
    let answers = join_all((0..3).map(|_| joined.read("pods", failing().boxed()))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(failed.load(Ordering::Relaxed), 2);
    let answer = joined.read("pods", async { Ok(7) }.boxed()).await;
    assert_eq!(answer.unwrap(), 7);
}
