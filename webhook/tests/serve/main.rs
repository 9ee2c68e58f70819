//! The webhook over real TLS on the loopback interface: both protocols, rotation,
//! limits, an orderly end, and the watch on storage classes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod client;
mod harness;
mod limits;
mod protocol;
mod rotation;
mod shutdown;
mod watch;
