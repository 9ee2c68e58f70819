//! Which volumes are watched: those that are staged here, in this boot of the machine.

use rds_csi_core::kind::Chain;
use rds_csi_core::session::Watch;
use rds_csi_core::session::backoff::Backoff;
use rds_csi_core::session::doubt::Doubt;
use rds_csi_host::registry::{Session, Staging};
use tracing::error;

use super::tracked::Tracked;
use super::{Engine, outages};

impl Engine {
    /// Takes in the records. Where they cannot be read, what is watched already goes on
    /// being watched.
    pub(super) async fn reload(&mut self) {
        let (sessions, damaged) = match self.node.registry.readable().await {
            Ok(records) => records,
            Err(failed) => {
                let words = Chain(&failed).to_string();
                if self.unread.as_ref() != Some(&words) {
                    error!("the sessions of this node are not known: {words}");
                }
                self.unread = Some(words);
                return;
            }
        };
        self.unread = None;
        let damaged: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        for words in damaged.iter().filter(|words| !self.damaged.contains(words)) {
            error!("{words}; its volume is not watched");
        }
        self.damaged = damaged;
        let now = self.now();
        let mut lost = self.outages.take_earlier();
        let mut before = std::mem::take(&mut self.tracked);
        for session in sessions {
            let Some(staging) = self.staged_now(&session) else {
                continue;
            };
            let id = session.volume.clone();
            let tracked = match before.remove(&id) {
                Some(tracked) => Tracked {
                    // A CSI call may have withdrawn targets of it.
                    unproved: tracked.unproved || session.recovery.is_some(),
                    session,
                    staging,
                    ..tracked
                },
                None => Tracked {
                    session,
                    staging,
                    lost: lost.get(&id).copied(),
                    watch: match lost.remove(&id) {
                        Some(since) => Watch::lost_before(outages::ago(since), now),
                        None => Watch::new(now),
                    },
                    number: None,
                    is_hollow: false,
                    unproved: true,
                    reconnections: Backoff::default(),
                    is_rejected: false,
                    doubt: Doubt::default(),
                    examined: now,
                    recoveries: Backoff::default(),
                    tried: now,
                    busy: false,
                    told: String::new(),
                },
            };
            self.tracked.insert(id, tracked);
        }
        let used: Vec<_> = self.tracked.values().map(Tracked::address).collect();
        self.gates.retain(|address, _| used.contains(address));
    }

    /// How the volume is staged, if it is, in this boot of the machine.
    fn staged_now(&self, session: &Session) -> Option<Staging> {
        session.staged_at.as_ref()?;
        session.staging_in(&self.node.settings.boot).cloned()
    }
}
