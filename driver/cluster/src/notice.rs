//! Events on claims: what people are told.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use rds_csi_core::names::DriverName;

use super::ClusterError;
use super::calls::{Calls, present};
use super::wire::{Object, VolumeSpec};

pub(super) const GET_VOLUME: &str = "get persistentvolumes";
const CREATE_EVENT: &str = "create events";
/// How many bytes an event may say, by the API's own bound.
const NOTE: usize = 1024;

/// What somebody is told about a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How it looks to people.
    pub severity: Severity,
    /// One of [`rds_csi_core::names::event`].
    pub reason: &'static str,
    /// What happened, and what may be done.
    pub message: String,
}

/// How an event looks to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to worry about.
    Normal,
    /// Something to look at.
    Warning,
}

/// Who tells what, and what they were doing.
pub(super) struct Teller<'a> {
    pub(super) client: &'a Client,
    pub(super) calls: &'a Calls,
    pub(super) driver: &'a DriverName,
    /// Which of the driver's processes.
    pub(super) instance: &'a str,
    pub(super) action: &'static str,
}

impl Teller<'_> {
    /// Posts an event on the claim of a PersistentVolume. Where there is none, nobody is to
    /// be told.
    pub(super) async fn post(&self, volume: &str, notice: &Notice) -> Result<(), ClusterError> {
        let api: Api<Object<VolumeSpec>> = Api::all(self.client.clone());
        let found = present(self.calls.run(GET_VOLUME, api.get(volume)).await)?;
        let Some(claim) = found.and_then(|volume| volume.claim()) else {
            return Ok(());
        };
        let event = Event {
            type_: match notice.severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: notice.reason.to_owned(),
            note: Some(notice.message[..notice.message.floor_char_boundary(NOTE)].to_owned()),
            action: self.action.to_owned(),
            secondary: None,
        };
        let reporter = Reporter {
            controller: self.driver.to_string(),
            instance: Some(self.instance.to_owned()),
        };
        // A recorder that lives on would fold events of one reason into the words of the
        // first; each of these says something new, and they are rare.
        let recorder = Recorder::new(self.client.clone(), reporter);
        let posted = self
            .calls
            .run(CREATE_EVENT, recorder.publish(&event, &claim));
        posted.await.map_err(|refusal| refusal.error)
    }
}
