//! Live migration in a real cluster: KubeVirt's objects made as virt-controller makes them,
//! over pods, kubelets and volumes that are real. KubeVirt itself does not run: what it
//! would do next, the tests do.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

mod moves;
mod stand;
mod third;
mod verdicts;
