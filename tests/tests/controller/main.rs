//! The whole controller as the orchestrator sees it: its server on a Unix socket, its
//! SSH client, and a simulated device on the other side of a real connection. Each test
//! asks over gRPC and then looks at the device, because an answer alone proves nothing.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

mod absurd;
mod access;
mod attachments;
mod cluster;
mod cuts;
mod devices;
mod evacuation;
mod fence;
mod fields;
mod foreign;
mod harness;
mod leaders;
mod leftovers;
mod life;
mod listing;
mod migration;
mod outage;
mod pool;
mod probe;
mod recall;
mod sizes;
mod tasks;
mod told;
