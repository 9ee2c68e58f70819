//! Whatever people and monitoring are promised to be told is told, and nothing else.

use std::collections::BTreeSet;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::node::tests::identity;

/// What no event of a session moves, and who counts it: the version is a constant; calls
/// are counted by the layer around the server, and kubelet's verdict by the registration,
/// each with tests of its own.
const ELSEWHERE: [&str; 4] = ["build", "rpc", "rpc_duration_seconds", "registrations"];

/// Every family that a node registers, by the place where it does: one that never had a
/// label is not on the page at all.
fn registered() -> BTreeSet<&'static str> {
    let places = include_str!("../../../metrics.rs").split("registry.register(");
    let names = places.skip(1).filter_map(|place| place.split('"').nth(1));
    names.filter(|name| !ELSEWHERE.contains(name)).collect()
}

/// The families on the node's page that have counted something.
fn moved(page: &str) -> BTreeSet<&str> {
    let mut moved = BTreeSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(of) = line.strip_prefix("# TYPE rds_csi_") {
            family = of.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if value != 0.0 && !ELSEWHERE.contains(&family) {
                moved.insert(family);
            }
        }
    }
    moved
}

#[tokio::test(start_paused = true)]
async fn every_metric_moves_and_every_event_is_posted() {
    let used = EXT4;
    let lab = published(used).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        // Given up, and not there for a while; then it is back as another device.
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(60).await;
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
        assert!(lab.is_whole(used).await);
        // Something else under its name.
        lab.array.set_medium(&lab.nqn, Medium::Blank);
        lab.host.lose(&lab.nqn);
        seconds(60).await;
        // A session that nothing here uses.
        let other: Nqn = "nqn.2000-02.com.mikrotik:pvc-other".parse().unwrap();
        lab.array.export(&other, Bytes::gib(1), Medium::Blank);
        lab.connect_as(identity("node-1"), &other).await;
        seconds(180).await;
    })
    .await;
    let posted: BTreeSet<_> = cluster.reasons().into_iter().collect();
    assert_eq!(posted, BTreeSet::from(event::ALL));
    let page = lab.node.metrics.encode().unwrap();
    assert_eq!(moved(&page), registered(), "{page}");
}

/// What this thread logs at the level of an installation, a line each.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines since they were last asked for.
    fn lines(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Asserts that the lines since say just this, one each.
    fn assert_says(&self, words: &[&str]) {
        let lines = self.lines();
        let as_told = lines.len() == words.len()
            && lines
                .iter()
                .zip(words)
                .all(|(line, word)| line.contains(word));
        assert!(as_told, "{words:?} and not {lines:#?}");
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const LOST: &str = "the connection is lost";
const BACK: &str = "the connection is back";
/// Thousands of looks of either pace.
const LONG: u64 = 3600;

#[tokio::test(start_paused = true)]
async fn a_transition_is_one_line_of_the_log_and_a_look_is_none() {
    let lab = published(EXT4).await;
    let (log, _logging) = Log::begin();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        log.lines();
        seconds(LONG).await;
        log.assert_says(&[]);
        for _ in 0..3 {
            lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
            seconds(LONG).await;
            log.assert_says(&[LOST]);
            lab.host.set_state(&lab.nqn, &ControllerState::Live);
            seconds(LONG).await;
            log.assert_says(&[BACK]);
        }
        // A device that does not answer is asked again and again, and so is one that
        // refuses.
        lab.array.set_reachable(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(LONG).await;
        log.assert_says(&[LOST]);
        lab.array.set_exported(&lab.nqn, false);
        lab.array.set_reachable(&lab.nqn, true);
        seconds(LONG).await;
        log.assert_says(&["does not come back yet"]);
        lab.array.set_exported(&lab.nqn, true);
        seconds(LONG).await;
        let lines = log.lines();
        let said = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
        assert_eq!(
            (said(BACK), said("session opened anew")),
            (1, 1),
            "{lines:#?}"
        );
        assert_eq!(said("came back as another device"), 1, "{lines:#?}");
        seconds(LONG).await;
        log.assert_says(&[]);
    })
    .await;
}

/// One that is wrong stays in a state that nothing is done about.
#[tokio::test(start_paused = true)]
async fn a_foreign_device_is_told_of_once() {
    let lab = published(EXT4).await;
    let (log, _logging) = Log::begin();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array.set_medium(&lab.nqn, Medium::Blank);
        lab.host.lose(&lab.nqn);
        seconds(120).await;
        log.lines();
        seconds(LONG).await;
        log.assert_says(&[]);
    })
    .await;
}
