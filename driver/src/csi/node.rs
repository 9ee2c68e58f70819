//! CSI's Node service: decode, call, encode.
//!
//! What changes something runs under the volume's guard in a task of its own, because
//! kubelet gives up after two minutes and asks again while a mount may still be under
//! way: then it is told ABORTED. Statistics are only read and wait for nobody.

use std::sync::Arc;

use csi_proto::v1::node_server::Node as NodeService;
use csi_proto::v1::node_service_capability::rpc::Type as Rpc;
use csi_proto::v1::node_service_capability::{Rpc as RpcCapability, Type};
use csi_proto::v1::volume_usage::Unit;
use csi_proto::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeCondition, VolumeUsage,
};
use rds_csi_core::volume_id::VolumeId;
use tonic::{Request, Response, Status};

use super::convert::required;
use crate::detach::Tasks;
use crate::node::{Condition, Node, NodeError, Report, Usage};
use crate::status::status;

mod decode;

use decode::path;

/// The Node service.
#[derive(Debug, Clone)]
pub(crate) struct NodeHandler {
    node: Arc<Node>,
    tasks: Tasks,
}

impl NodeHandler {
    pub(crate) const fn new(node: Arc<Node>, tasks: Tasks) -> Self {
        Self { node, tasks }
    }

    /// Runs a changing operation on a volume to its end, whatever the caller does.
    async fn change<T, F, O>(&self, name: &'static str, id: &VolumeId, op: O) -> Result<T, Status>
    where
        O: FnOnce(Arc<Node>) -> F,
        F: Future<Output = Result<T, NodeError>> + Send + 'static,
        T: Send + 'static,
    {
        let guard = self
            .node
            .locks()
            .lock(id.as_str())
            .await
            .map_err(|busy| status(&busy))?;
        self.tasks.run(name, guard, op(self.node.clone())).await
    }
}

fn usage(usage: Usage) -> Vec<VolumeUsage> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match usage {
        Usage::Block(total) => vec![VolumeUsage {
            total: count(total),
            unit: Unit::Bytes.into(),
            ..VolumeUsage::default()
        }],
        Usage::Filesystem(stats) => vec![
            VolumeUsage {
                available: count(stats.available_bytes),
                total: count(stats.total_bytes),
                used: count(stats.used_bytes),
                unit: Unit::Bytes.into(),
            },
            VolumeUsage {
                available: count(stats.available_inodes),
                total: count(stats.total_inodes),
                used: count(stats.used_inodes),
                unit: Unit::Inodes.into(),
            },
        ],
    }
}

fn stats_response(report: Report) -> NodeGetVolumeStatsResponse {
    let (abnormal, message) = match report.condition {
        Condition::Normal => (false, "the volume works".to_owned()),
        Condition::Abnormal(message) => (true, message),
    };
    NodeGetVolumeStatsResponse {
        usage: report.usage.map(usage).unwrap_or_default(),
        volume_condition: Some(VolumeCondition { abnormal, message }),
    }
}

#[tonic::async_trait]
impl NodeService for NodeHandler {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let request = decode::stage(request.get_ref()).map_err(|error| status(&error))?;
        let id = request.id.clone();
        self.change(
            "stage",
            &id,
            |node| async move { node.stage(&request).await },
        )
        .await?;
        Ok(Response::new(NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let request = request.get_ref();
        let id: VolumeId =
            required("volume_id", &request.volume_id).map_err(|error| status(&error))?;
        let staging = path("staging_target_path", &request.staging_target_path)
            .map_err(|error| status(&error))?;
        let volume = id.clone();
        self.change("unstage", &id, |node| async move {
            node.unstage(&volume, &staging).await
        })
        .await?;
        Ok(Response::new(NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = decode::publish(request.get_ref()).map_err(|error| status(&error))?;
        let id = request.id.clone();
        self.change("publish", &id, |node| async move {
            node.publish(&request).await
        })
        .await?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.get_ref();
        let id: VolumeId =
            required("volume_id", &request.volume_id).map_err(|error| status(&error))?;
        let target = path("target_path", &request.target_path).map_err(|error| status(&error))?;
        let volume = id.clone();
        self.change("unpublish", &id, |node| async move {
            node.unpublish(&volume, &target).await
        })
        .await?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let (id, path) = decode::stats(request.get_ref()).map_err(|error| status(&error))?;
        let report = self.tasks.read(self.node.stats(&id, &path)).await?;
        Ok(Response::new(stats_response(report)))
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let request = decode::expand(request.get_ref()).map_err(|error| status(&error))?;
        let id = request.id.clone();
        let size = self
            .change(
                "expand",
                &id,
                |node| async move { node.expand(&request).await },
            )
            .await?;
        Ok(Response::new(NodeExpandVolumeResponse {
            capacity_bytes: size.to_i64(),
        }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let offered = [
            Rpc::StageUnstageVolume,
            Rpc::GetVolumeStats,
            Rpc::ExpandVolume,
            Rpc::VolumeCondition,
            Rpc::SingleNodeMultiWriter,
        ];
        let capability = |rpc: Rpc| NodeServiceCapability {
            r#type: Some(Type::Rpc(RpcCapability { r#type: rpc.into() })),
        };
        Ok(Response::new(NodeGetCapabilitiesResponse {
            capabilities: offered.map(capability).into(),
        }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        let settings = self.node.settings();
        Ok(Response::new(NodeGetInfoResponse {
            node_id: settings.name.clone(),
            max_volumes_per_node: settings.max_volumes.into(),
            // Every node reaches the device alike.
            accessible_topology: None,
        }))
    }
}

#[cfg(test)]
mod tests;
