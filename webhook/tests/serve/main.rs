//! The webhook over real TLS on the loopback interface: both protocols, rotation,
//! limits, an orderly end, certificates of its own, and the watch on storage classes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod api;
mod client;
mod harness;
mod lab;
mod limits;
mod own;
mod protocol;
mod renewal;
mod rotation;
mod shutdown;
mod watch;
