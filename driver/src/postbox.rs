//! Events that wait to be posted on claims, about volumes that go by a name of type `K`.
//!
//! They are posted one after another beside everything else, so that an API server that
//! does not answer holds up no volume. What does not fit or fails is counted.

use rds_csi_cluster::{ClusterError, Notice, Severity};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Takes events.
#[derive(Debug)]
pub(crate) struct Postbox<K> {
    metrics: Metrics,
    events: mpsc::Sender<(K, Notice)>,
}

/// The events that wait.
#[derive(Debug)]
pub(crate) struct Waiting<K> {
    metrics: Metrics,
    events: mpsc::Receiver<(K, Notice)>,
}

impl<K> Postbox<K> {
    /// A postbox in which so many events may wait.
    pub(crate) fn new(room: usize, metrics: Metrics) -> (Self, Waiting<K>) {
        let (events, receiver) = mpsc::channel(room);
        let waiting = Waiting {
            metrics: metrics.clone(),
            events: receiver,
        };
        (Self { metrics, events }, waiting)
    }

    /// Has an event posted. The reason must come from a fixed set.
    pub(crate) fn put(&self, about: K, severity: Severity, reason: &'static str, message: String) {
        let notice = Notice {
            severity,
            reason,
            message,
        };
        if self.events.try_send((about, notice)).is_err() {
            self.metrics.event(reason, false);
        }
    }
}

impl<K> Waiting<K> {
    /// The next event, once there is one; `None` when nobody can put any in any more.
    pub(crate) async fn next(&mut self) -> Option<(K, Notice)> {
        self.events.recv().await
    }

    /// Counts what came of one, and hands back why it failed.
    pub(crate) fn posted(
        &self,
        notice: &Notice,
        outcome: Result<(), ClusterError>,
    ) -> Option<ClusterError> {
        self.metrics.event(notice.reason, outcome.is_ok());
        outcome.err()
    }
}
