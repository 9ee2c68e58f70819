//! CSI calls beside a volume's ordinary life.

use std::time::Duration;

use csi_proto::v1::{
    CapacityRange, ControllerExpandVolumeRequest, NodeExpandVolumeRequest,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
};
use rds_csi_tests::plugin::Plugin;
use rds_csi_tests::volume::{PublishContext, Volume};
use rds_csi_tests::wait::until;
use tonic::{Code, Status};

use crate::cluster::DEADLINE;

fn range(bytes: i64) -> Option<CapacityRange> {
    Some(CapacityRange {
        required_bytes: bytes,
        limit_bytes: 0,
    })
}

/// ControllerExpandVolume: the new size.
pub(crate) async fn grow(controller: &Plugin, volume: &Volume, bytes: i64) -> Result<i64, Status> {
    let request = ControllerExpandVolumeRequest {
        volume_id: volume.id().to_owned(),
        capacity_range: range(bytes),
        volume_capability: Some(volume.claim.capability()),
        ..ControllerExpandVolumeRequest::default()
    };
    let mut client = controller.controller();
    let response = client.controller_expand_volume(request).await?.into_inner();
    assert!(response.node_expansion_required);
    Ok(response.capacity_bytes)
}

/// NodeExpandVolume at a published path: the measured size.
pub(crate) async fn grow_here(
    node: &Plugin,
    volume: &Volume,
    path: &str,
    bytes: i64,
) -> Result<i64, Status> {
    let request = NodeExpandVolumeRequest {
        volume_id: volume.id().to_owned(),
        volume_path: path.to_owned(),
        staging_target_path: volume.staging_path(),
        capacity_range: range(bytes),
        volume_capability: Some(volume.claim.capability()),
        ..NodeExpandVolumeRequest::default()
    };
    let response = node.node().node_expand_volume(request).await?;
    Ok(response.into_inner().capacity_bytes)
}

/// NodeGetVolumeStats.
pub(crate) async fn stats(
    node: &Plugin,
    volume: &Volume,
    path: &str,
) -> Result<NodeGetVolumeStatsResponse, Status> {
    let request = NodeGetVolumeStatsRequest {
        volume_id: volume.id().to_owned(),
        volume_path: path.to_owned(),
        staging_target_path: volume.staging_path(),
    };
    let response = node.node().node_get_volume_stats(request).await?;
    Ok(response.into_inner())
}

/// Whether kubelet may see the same call succeed later without anybody's doing.
pub(crate) fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted
    )
}

/// Stages again and again, as kubelet does after errors that may pass.
pub(crate) async fn stage_at_last(node: &Plugin, volume: &Volume, context: &PublishContext) {
    // Kubelet begins with half a second too.
    until(
        "the volume is staged",
        2 * DEADLINE,
        async || match volume.stage(node, context).await {
            Ok(()) => Ok(Some(())),
            Err(status) if may_pass(&status) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(None)
            }
            Err(status) => Err(status.into()),
        },
    )
    .await
    .unwrap();
}
