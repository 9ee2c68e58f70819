//! The page of each role, whole.

use async_trait::async_trait;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_core::appliance::{Step, VolumeState};
use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::device_access::{DeviceAccess, Rule};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::{LinkState, Rds, RdsError, Reading};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::detach::Tasks;
use crate::inflight::VolumeLocks;

/// A device that was connected twice and is never asked anything.
#[derive(Debug)]
struct Connected;

#[async_trait]
impl Rds for Connected {
    async fn inventory(&self) -> Result<Reading, RdsError> {
        panic!("a scrape asks the device")
    }

    async fn volume(&self, _: &VolumeId, _: &BackingFile) -> Result<VolumeState, RdsError> {
        panic!("a scrape asks the device")
    }

    async fn apply(
        &self,
        _: &VolumeId,
        _: &BackingFile,
        _: Option<&Owner>,
        _: &[Step],
    ) -> Result<VolumeState, RdsError> {
        panic!("a scrape changes the device")
    }

    fn link(&self) -> LinkState {
        LinkState {
            connected: true,
            connects: 2,
            ..LinkState::default()
        }
    }
}

/// The page, which holds one series a family, whose order is not fixed, but for two that
/// always show all.
fn page(metrics: &Metrics) -> String {
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let page = metrics.encode().unwrap();
    let mut lines: Vec<&str> = page.lines().collect();
    for (family, count) in [
        ("rds_csi_nvme_sessions{", State::ALL.len()),
        ("rds_csi_device_access_rule{", Rule::ALL.len()),
    ] {
        let is_of_it = |line: &&str| line.starts_with(family);
        if let Some(first) = lines.iter().position(is_of_it) {
            lines[first..first + count].sort_unstable();
        }
    }
    let page: String = lines.iter().map(|line| format!("{line}\n")).collect();
    page.replace(&version, "version=\"[version]\"")
}

#[test]
fn the_page_of_a_controller() {
    let tasks = Tasks::new(CancellationToken::new());
    let metrics = Metrics::new(
        "controller",
        vec![
            Box::new(InFlight(tasks)),
            Box::new(DeviceLink(Arc::new(Connected))),
        ],
    );
    metrics.rpc("CreateVolume", "OK", Duration::from_millis(150));
    metrics.rpc("CreateVolume", "OK", Duration::from_millis(1));
    metrics.attachments_granted(2);
    metrics.attachment_conflict("single-node");
    metrics.attachment_kept("node-loss");
    metrics.attachment_rule_relaxed("same-machine", "warn");
    metrics.attachment_exception();
    metrics.fence("done");
    metrics.migration("completed");
    metrics.migration_took(Duration::from_secs(20));
    metrics.active_migrations(1);
    metrics.stale_attachments(2);
    metrics.stale_attachment_cleared();
    metrics.access("set");
    metrics.device_access(DeviceAccess {
        rule: Rule::List,
        keeps_sessions: true,
        ends_sessions: false,
    });
    metrics.event("MigrationCompleted", true);
    insta::assert_snapshot!(page(&metrics));
}

#[test]
fn requests_to_a_cluster_are_read_at_the_scrape() {
    let source = ClusterRequests(Arc::new(FakeCluster::default()));
    let page = page(&Metrics::new("controller", vec![Box::new(source)]));
    for line in [
        "rds_csi_cluster_connection_state 1",
        "rds_csi_cluster_requests_total{call=\"list volumeattachments\",result=\"ok\"} 3",
    ] {
        assert!(page.lines().any(|found| found == line), "{page}");
    }
}

#[test]
fn the_page_of_a_node() {
    let metrics = Metrics::new("node", Vec::new());
    metrics.nvme_connect(true);
    metrics.nvme_connect(true);
    metrics.formatted(FsType::Ext4);
    metrics.registration(false);
    metrics.sessions([State::Live, State::Live].into_iter());
    metrics.unused_sessions(1);
    metrics.session_lost();
    metrics.session_restored(Duration::from_secs(7));
    metrics.session_reconnect("ok");
    metrics.stale_recovery(true);
    metrics.event("ConnectionRecovery", true);
    insta::assert_snapshot!(page(&metrics));
}

#[tokio::test]
async fn an_operation_under_way_is_counted() {
    let tasks = Tasks::new(CancellationToken::new());
    let metrics = Metrics::new("controller", vec![Box::new(InFlight(tasks.clone()))]);
    let guard = VolumeLocks::default().try_lock("pvc-1").unwrap();
    let counted = tasks
        .run("read the metrics", guard, async move {
            Ok::<_, RdsError>(metrics.encode().unwrap())
        })
        .await
        .unwrap();
    assert!(
        counted.contains("\nrds_csi_operations_in_flight 1\n"),
        "{counted}"
    );
}
