//! csi-sanity, the conformance tests of the CSI community, against the driver on real
//! kernels: every spec passes, or is an exception with its reason.
//!
//! `hack/test sanity` runs this, with the program's path in `RDS_CSI_SANITY`.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod exceptions;
mod interface;
mod stand;

use rds_csi_tests::sanity::Summary;

use exceptions::EXCEPTIONS;
use stand::Stand;

/// The specs of csi-sanity 5.4.0, run or not. A suite that was cut short has fewer, and
/// another version may have others: then look at what is new.
const SPECS: usize = 92;

/// Takes all specs through a driver of its own; `access_type` as csi-sanity names it.
#[expect(
    clippy::print_stdout,
    reason = "what was not run is told with the result"
)]
async fn conform(access_type: &str) {
    let stand = Stand::boot().await;
    let report = stand.run(access_type).await;
    let summary = Summary {
        report: &report,
        exceptions: EXCEPTIONS,
    };
    println!("csi-sanity with {access_type} volumes: {summary}");
    assert_eq!(report.complaints(EXCEPTIONS), [""; 0]);
    let excepted: usize = EXCEPTIONS.iter().map(|group| group.specs.len()).sum();
    assert_eq!(report.total(), SPECS);
    assert_eq!(report.passed(), SPECS - excepted);
    stand.assert_calm();
    stand.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_driver_conforms_with_filesystem_volumes() {
    conform("mount").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_driver_conforms_with_block_volumes() {
    conform("block").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_serves_what_its_capabilities_promise_and_nothing_else() {
    let stand = Stand::boot().await;
    interface::assert_controller(stand.controller()).await;
    interface::assert_node(stand.node()).await;
    interface::assert_services(stand.controller()).await;
    interface::assert_services(stand.node()).await;
    stand.assert_calm();
}
