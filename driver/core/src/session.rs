//! What has become of a staged volume's session, and what that means.
//!
//! The kernel reconnects by itself for as long as the loss time lasts, and then, or when
//! the device tells it not to retry, it removes the controller for ever. This module
//! judges one look at a session ([`sight`]) and follows it through its states
//! ([`Watch`]); whoever looks does what the states ask for.
//!
//! ```text
//!                  controllers, none of them does I/O
//!        ┌────────────────────────────────────────────────┐
//!        │                                                ▼
//!    ┌───┴──┐        the same device is live        ┌────────────┐
//!    │ Live │◄──────────────────────────────────────┤ Connecting │  the kernel retries:
//!    └───┬──┘◄─────────────────┐                    └─────┬──────┘  wait, unless the volume
//!        │                     │                          │         was taken: give it up
//!        │                     │                          │
//!        │ no controller   ┌───┴─────┐   no controller    │
//!        ├────────────────►│ Removed │◄───────────────────┤
//!        │                 └───┬─────┘                    │
//!        │                     │ connect anew: then the   │
//!        │                     │ volume is live, or …     │
//!        │                     ▼                          │
//!        │                 ┌─────────┐  something that is │
//!        └────────────────►│ Foreign │◄───────────────────┘
//!                          └─────────┘  not the volume: touch nothing, report
//!
//!    Unknown, from and to every state: a look failed; look again
//! ```
//!
//! The kernel connects without asking whose the volume is by then, and writes what waits
//! for it: so the cluster is asked about what stays in Connecting, and a session whose
//! volume was taken from this node is given up ([`doubt`]).
//!
//! Pure: time comes in as a number, and nothing here waits or connects. A look that
//! failed is never taken for a session that is gone.

use std::net::IpAddr;

use crate::bytes::Bytes;
use crate::nqn::Nqn;
use crate::nvme::{Namespace, Subsystem};

pub mod backoff;
pub mod doubt;
mod watch;

pub use watch::{Change, State, Transition, Watch};

/// What makes a session the staged volume's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Where it goes.
    pub address: IpAddr,
    /// The TCP port there.
    pub port: u16,
    /// Under which host NQN this node opens sessions.
    pub host: Nqn,
    /// The namespace's identifier when the volume was staged, where the kernel showed one.
    pub wwid: Option<String>,
    /// The namespace's size then. It may have grown since.
    pub size: Bytes,
}

/// What one look at a session shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The volume's device, and it does I/O as far as the kernel knows.
    Live(Namespace),
    /// Controllers, but no device that does I/O; in words, what there is.
    Waiting(String),
    /// No controller.
    Absent,
    /// Something is connected under the volume's NQN that is not the volume that was
    /// staged; in words, why.
    Foreign(String),
    /// The look failed; in words, how.
    Unknown(String),
}

/// Judges a complete reading of the volume's subsystem, or the words of a failed one.
#[must_use]
pub fn sight(expected: &Expected, reading: Result<Option<&Subsystem>, String>) -> Sight {
    let subsystem = match reading {
        Err(words) => return Sight::Unknown(words),
        // Without controllers a subsystem lingers only because its device is still held.
        Ok(None) => return Sight::Absent,
        Ok(Some(subsystem)) if subsystem.controllers.is_empty() => return Sight::Absent,
        Ok(Some(subsystem)) => subsystem,
    };
    if let Some(words) = stranger(expected, subsystem) {
        return Sight::Foreign(words);
    }
    match subsystem.namespaces.as_slice() {
        [namespace] if subsystem.is_live() && namespace.size > Bytes::default() => {
            match other_device(expected, namespace) {
                Some(words) => Sight::Foreign(words),
                None => Sight::Live(namespace.clone()),
            }
        }
        [] | [_] => Sight::Waiting(states(subsystem)),
        more => Sight::Foreign(format!("{} namespaces instead of one", more.len())),
    }
}

/// Why a controller is not one that this node opened for the volume.
fn stranger(expected: &Expected, subsystem: &Subsystem) -> Option<String> {
    let wanted = (expected.address, expected.port);
    subsystem.controllers.iter().find_map(|controller| {
        let (name, host) = (&controller.name, controller.host_nqn.as_deref());
        match controller.address {
            Some((address, port)) if (address, port) != wanted => Some(format!(
                "{name} is connected at {address}:{port}, the volume at {}:{}",
                wanted.0, wanted.1
            )),
            _ if host.is_some_and(|host| host != expected.host.as_str()) => Some(format!(
                "{name} is connected as {}, this node is {}",
                host.unwrap_or_default(),
                expected.host
            )),
            _ => None,
        }
    })
}

/// Why a namespace is not the one that was staged. Names that the kernel makes up from
/// serial numbers say nothing about content and are not compared.
fn other_device(expected: &Expected, namespace: &Namespace) -> Option<String> {
    let is_identity = |wwid: &&String| wwid.starts_with("uuid.") || wwid.starts_with("eui.");
    let staged = expected.wwid.as_ref().filter(is_identity);
    let found = namespace.wwid.as_ref().filter(is_identity);
    if let (Some(staged), Some(found)) = (staged, found)
        && staged != found
    {
        return Some(format!(
            "{} is {found}, and {staged} was staged",
            namespace.name
        ));
    }
    (namespace.size < expected.size).then(|| {
        format!(
            "{} has {}, and {} were staged",
            namespace.name, namespace.size, expected.size
        )
    })
}

fn states(subsystem: &Subsystem) -> String {
    let mut words: Vec<String> = subsystem
        .controllers
        .iter()
        .map(|controller| format!("{} {}", controller.name, controller.state))
        .collect();
    if subsystem.namespaces.is_empty() {
        words.push("no namespace".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests;
