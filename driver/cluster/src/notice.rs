//! Events on claims: what people are told.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::ClusterError;
use super::calls::Calls;

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

/// Posts an event on a claim.
pub(super) async fn publish(
    client: &Client,
    calls: &Calls,
    reporter: Reporter,
    action: &str,
    notice: &Notice,
    claim: &ObjectReference,
) -> Result<(), ClusterError> {
    let event = Event {
        type_: match notice.severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason: notice.reason.to_owned(),
        note: Some(notice.message[..notice.message.floor_char_boundary(NOTE)].to_owned()),
        action: action.to_owned(),
        secondary: None,
    };
    // A recorder that lives on would fold events of one reason into the words of the
    // first; each of these says something new, and they are rare.
    let recorder = Recorder::new(client.clone(), reporter);
    let posted = calls.run(CREATE_EVENT, recorder.publish(&event, claim));
    posted.await.map_err(|refusal| refusal.error)
}
