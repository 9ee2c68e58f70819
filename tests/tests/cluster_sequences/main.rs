//! Sequences of attachments and migrations against a real API server, with the chart in it:
//! what the webhook says, what the driver answers, what is told, and who has which disk in
//! the end. `hack/test cluster` runs this.
//!
//! Machines, migrations and pods are made as virt-controller makes them, and attachments as
//! the attach-detach controller asks for them. Disks are real volumes; the nodes are objects
//! alone, since nobody reads or writes here. Machines that do so on real nodes are in
//! `cluster_migration`.
//!
//! Whoever is refused here is refused twice: by the webhook, and by the driver, which is
//! asked past it as if the webhook had been away or behind.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

mod aborted;
mod asking;
mod beside;
mod evacuation;
mod halves;
mod lost;
mod nodes;
mod objects;
mod onward;
mod recordings;
mod replay;
mod stand;
