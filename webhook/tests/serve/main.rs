//! The webhook over real TLS on the loopback interface: both protocols, rotation,
//! limits, an orderly end, and the watch on storage classes.

mod harness;
mod limits;
mod protocol;
mod rotation;
mod shutdown;
mod watch;
