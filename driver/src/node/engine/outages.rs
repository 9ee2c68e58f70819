//! Which volumes are lost, written down, so that a process that starts in the middle of an
//! outage tells neither its beginning a second time nor its end too early.
//!
//! That is about what people are told and about nothing else: what cannot be read or
//! written holds up no volume.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use rds_csi_core::kind::Chain;
use rds_csi_host::registry::{self, RegistryError};
use tracing::warn;

use super::Engine;

/// The write under way, if there is one, and what it writes.
pub(super) type Notes =
    FuturesUnordered<BoxFuture<'static, (registry::Outages, Result<(), RegistryError>)>>;

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// What an earlier process wrote, until the records are read.
    earlier: registry::Outages,
    /// What is on the disk; `None` where that is not known.
    noted: Option<registry::Outages>,
    /// Why it is not, as it was told last.
    told: String,
}

impl Outages {
    pub(super) fn take_earlier(&mut self) -> registry::Outages {
        std::mem::take(&mut self.earlier)
    }

    /// Takes in what came of a write.
    pub(super) fn conclude(&mut self, noted: (registry::Outages, Result<(), RegistryError>)) {
        let (outages, result) = noted;
        match result {
            Ok(()) => {
                self.noted = Some(outages);
                self.told.clear();
            }
            Err(failed) => self.failed(&failed),
        }
    }

    fn failed(&mut self, failed: &RegistryError) {
        let words = Chain(failed).to_string();
        if self.told != words {
            warn!("a plugin that is restarted now tells of outages anew: {words}");
            self.told = words;
        }
    }
}

impl Engine {
    pub(super) async fn read_outages(&mut self) {
        let read = self.node.registry.outages(&self.node.settings.boot).await;
        match read {
            Ok(outages) => {
                self.outages.noted = Some(outages.clone());
                self.outages.earlier = outages;
            }
            Err(failed) => self.outages.failed(&failed),
        }
    }

    /// Writes down which volumes are lost, where that has changed. Not before it is known
    /// which volumes there are.
    pub(super) fn note_outages(&self, notes: &mut Notes) {
        if self.unread.is_some() || !notes.is_empty() {
            return;
        }
        let lost: registry::Outages = self
            .tracked
            .iter()
            .filter_map(|(id, tracked)| Some((id.clone(), tracked.lost?)))
            .collect();
        if self.outages.noted.as_ref() == Some(&lost) {
            return;
        }
        let (registry, boot) = (self.node.registry.clone(), self.node.settings.boot.clone());
        notes.push(Box::pin(async move {
            let noted = registry.note_outages(&boot, lost.clone()).await;
            (lost, noted)
        }));
    }
}

/// In milliseconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// How long ago that was.
pub(super) fn ago(since: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(since))
}
