//! The fault matrix: writers on volumes of every sort through one fault after another,
//! with every record that was acknowledged read back at the end.
//!
//! Nobody calls the node plugin meanwhile: what comes back comes back by itself. A fault
//! that the kernel rides out costs the writer nothing but time; after one that made the
//! kernel give up, a writer that opens the target again, as a restarted container does,
//! goes on where it was.

pub(crate) mod device;
mod harm;
mod held;
mod identity;
mod matrix;
mod soak;
mod table;
mod writer;

use std::time::Duration;

use harm::Harm;
use matrix::Matrix;

async fn every_fault(multipath: bool) {
    let mut matrix = Matrix::begin(multipath).await;
    for harm in [
        Harm::LinkCut(Duration::from_secs(1)),
        // Seven times the loss time of the short ones, as ten minutes are of 80 s.
        Harm::LinkCut(Duration::from_secs(30)),
        Harm::Twin,
        Harm::Grow,
        Harm::TargetRestart,
        Harm::LatePool,
        Harm::ExportsRemoved,
        Harm::NamesSwapped,
        Harm::HostRefused,
        Harm::PluginKilled,
        Harm::PowerCut,
    ] {
        if !(multipath && matches!(harm, Harm::NamesSwapped)) {
            matrix.meet(&harm).await;
        }
    }
    matrix.end().await;
}

#[tokio::test]
async fn writers_outlive_every_fault_with_multipath() {
    every_fault(true).await;
}

#[tokio::test]
async fn writers_outlive_every_fault_without_multipath() {
    every_fault(false).await;
}
