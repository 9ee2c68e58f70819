//! Admission in a real cluster: what is refused and by whom, what never reaches the
//! webhook, and where its certificates come from.
//!
//! These tests install the chart with values of their own and take the webhook away: one
//! at a time, by `--test-threads=1`.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod api;
mod away;
mod certificates;
mod claims;
mod figures;
mod foreign;
mod ground;
mod profiles;
mod release;
mod rotation;
