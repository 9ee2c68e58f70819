//! The chart as helm renders it, for every set of values in `tests/chart/values`: valid
//! for an API server, accepted by the programs it starts, and no more privileged than
//! its reasons. Nothing here talks to a cluster; what a cluster makes of it is the
//! cluster tier's to see.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

mod admission;
mod arguments;
mod cel;
mod certificates;
mod classes;
mod helm;
mod impossible;
mod monitoring;
mod names;
mod network;
mod notes;
mod placement;
mod pods;
mod policy;
mod rbac;
mod schema;
mod uninstall;
mod validity;
mod values;
mod versions;
