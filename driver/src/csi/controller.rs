//! CSI's Controller service: decode, call, encode.
//!
//! What changes something runs under the volume's guard in a task of its own, because
//! the sidecar's deadline is shorter than a slow device; the same volume asked again
//! meanwhile is ABORTED. Snapshots, clones and groups are not offered.

use std::collections::HashMap;
use std::sync::Arc;

use csi_proto::v1::controller_server::Controller as ControllerService;
use csi_proto::v1::controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::controller_service_capability::{Rpc as RpcCapability, Type};
use csi_proto::v1::list_volumes_response::Entry;
use csi_proto::v1::validate_volume_capabilities_response::Confirmed;
use csi_proto::v1::{
    ControllerExpandVolumeRequest, ControllerExpandVolumeResponse,
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse,
    ControllerGetVolumeRequest, ControllerGetVolumeResponse, ControllerModifyVolumeRequest,
    ControllerModifyVolumeResponse, ControllerPublishVolumeRequest,
    ControllerPublishVolumeResponse, ControllerServiceCapability, ControllerUnpublishVolumeRequest,
    ControllerUnpublishVolumeResponse, CreateSnapshotRequest, CreateSnapshotResponse,
    CreateVolumeRequest, CreateVolumeResponse, DeleteSnapshotRequest, DeleteSnapshotResponse,
    DeleteVolumeRequest, DeleteVolumeResponse, GetCapacityRequest, GetCapacityResponse,
    GetSnapshotRequest, GetSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse,
    ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
    ValidateVolumeCapabilitiesResponse, Volume,
};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::VolumeContext;
use rds_csi_core::kind::Failure;
use rds_csi_core::parameters::StorageClassParameters;
use rds_csi_core::volume_id::VolumeId;
use tonic::{Request, Response, Status};

use super::convert::{FieldError, accesses, ordered};
use crate::controller::{Controller, Created, Token};
use crate::detach::Tasks;
use crate::status::status;

mod decode;

use decode::RequestError;

/// The Controller service.
#[derive(Debug, Clone)]
pub(crate) struct ControllerHandler {
    controller: Arc<Controller>,
    tasks: Tasks,
}

impl ControllerHandler {
    pub(crate) fn new(controller: Controller, tasks: Tasks) -> Self {
        Self {
            controller: Arc::new(controller),
            tasks,
        }
    }

    /// Runs a changing operation on a volume to its end, whatever the caller does.
    async fn change<T, E, F, O>(
        &self,
        name: &'static str,
        id: &VolumeId,
        op: O,
    ) -> Result<T, Status>
    where
        O: FnOnce(Arc<Controller>) -> F,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let locks = self.controller.locks();
        let guard = locks.lock(id.as_str()).await;
        let guard = guard.map_err(|busy| status(&busy))?;
        self.tasks
            .run(name, guard, op(self.controller.clone()))
            .await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn bad<E: Failure>(error: E) -> Status {
    status(&error)
}

fn volume(created: &Created) -> Volume {
    Volume {
        capacity_bytes: created.size.to_i64(),
        volume_id: created.id.to_string(),
        volume_context: created.context.to_map().into_iter().collect(),
        ..Volume::default()
    }
}

#[tonic::async_trait]
impl ControllerService for ControllerHandler {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = decode::create(request.get_ref()).map_err(bad)?;
        let id = self.controller.id_for(request.name.as_str());
        let create = |controller: Arc<Controller>| async move { controller.create(request).await };
        let created = self.change("create", &id, create).await?;
        Ok(Response::new(CreateVolumeResponse {
            volume: Some(volume(&created)),
        }))
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        if let Some(id) = decode::former(&request.get_ref().volume_id).map_err(bad)? {
            let volume = id.clone();
            self.change("delete", &id, |controller| async move {
                controller.delete(&volume).await
            })
            .await?;
        }
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn controller_publish_volume(
        &self,
        request: Request<ControllerPublishVolumeRequest>,
    ) -> Result<Response<ControllerPublishVolumeResponse>, Status> {
        let publish = decode::publish(request.get_ref()).map_err(bad)?;
        let id = publish.id.clone();
        let attach = |controller: Arc<Controller>| async move { controller.publish(publish).await };
        let context = self.change("publish", &id, attach).await?;
        Ok(Response::new(ControllerPublishVolumeResponse {
            publish_context: context.to_map().into_iter().collect(),
        }))
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<ControllerUnpublishVolumeResponse>, Status> {
        let request = request.get_ref();
        if let Some(id) = decode::former(&request.volume_id).map_err(bad)? {
            let node = Some(request.node_id.clone()).filter(|node| !node.is_empty());
            let volume = id.clone();
            self.change("unpublish", &id, |controller| async move {
                controller.unpublish(&volume, node.as_deref()).await
            })
            .await?;
        }
        Ok(Response::new(ControllerUnpublishVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        if request.volume_capabilities.is_empty() {
            return Err(bad(FieldError::Missing("volume_capabilities")));
        }
        let id = decode::existing(&request.volume_id).map_err(bad)?;
        let context = ordered(&request.volume_context);
        let directory = VolumeContext::parse(&context)
            .ok()
            .map(|context| context.volume_directory);
        self.controller.size(&id, directory).await.map_err(bad)?;
        let response = match decode::unconfirmed(&request, &context) {
            Some(message) => ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message,
            },
            None => ValidateVolumeCapabilitiesResponse {
                confirmed: Some(Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                    mutable_parameters: HashMap::new(),
                }),
                message: String::new(),
            },
        };
        Ok(Response::new(response))
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let request = request.get_ref();
        let most = decode::most(request.max_entries).map_err(bad)?;
        let after = Token::parse(&request.starting_token).map_err(bad)?;
        let page = self.controller.list(after, most).await.map_err(bad)?;
        let entry = |(id, size): (VolumeId, Bytes)| Entry {
            volume: Some(Volume {
                capacity_bytes: size.to_i64(),
                volume_id: id.to_string(),
                ..Volume::default()
            }),
            status: None,
        };
        Ok(Response::new(ListVolumesResponse {
            entries: page.volumes.into_iter().map(entry).collect(),
            next_token: page
                .next
                .map(|Token(id)| id.to_string())
                .unwrap_or_default(),
        }))
    }

    async fn get_capacity(
        &self,
        request: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        let request = request.get_ref();
        // What is not offered has no capacity: the scheduler then looks elsewhere.
        if !request.volume_capabilities.is_empty()
            && accesses(&request.volume_capabilities).is_err()
        {
            return Ok(Response::new(GetCapacityResponse::default()));
        }
        let parameters =
            StorageClassParameters::parse(&ordered(&request.parameters)).map_err(bad)?;
        let capacity = self.controller.capacity(&parameters).await.map_err(bad)?;
        Ok(Response::new(GetCapacityResponse {
            available_capacity: capacity.available.to_i64(),
            maximum_volume_size: Some(capacity.largest.to_i64()),
            minimum_volume_size: Some(Bytes::ALIGNMENT.to_i64()),
        }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let offered = [
            Rpc::CreateDeleteVolume,
            Rpc::PublishUnpublishVolume,
            Rpc::ListVolumes,
            Rpc::GetCapacity,
            Rpc::ExpandVolume,
            Rpc::SingleNodeMultiWriter,
        ];
        let capability = |rpc: Rpc| ControllerServiceCapability {
            r#type: Some(Type::Rpc(RpcCapability { r#type: rpc.into() })),
        };
        Ok(Response::new(ControllerGetCapabilitiesResponse {
            capabilities: offered.map(capability).into(),
        }))
    }

    async fn controller_expand_volume(
        &self,
        request: Request<ControllerExpandVolumeRequest>,
    ) -> Result<Response<ControllerExpandVolumeResponse>, Status> {
        let (id, range) = decode::expand(request.get_ref()).map_err(bad)?;
        let volume = id.clone();
        let grow =
            |controller: Arc<Controller>| async move { controller.expand(&volume, range).await };
        let size = self.change("expand", &id, grow).await?;
        // Block volumes too: their node must have the kernel read the new size.
        Ok(Response::new(ControllerExpandVolumeResponse {
            capacity_bytes: size.to_i64(),
            node_expansion_required: true,
        }))
    }

    async fn create_snapshot(
        &self,
        _: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        Err(unsupported("CreateSnapshot"))
    }

    async fn delete_snapshot(
        &self,
        _: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        Err(unsupported("DeleteSnapshot"))
    }

    async fn list_snapshots(
        &self,
        _: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        Err(unsupported("ListSnapshots"))
    }

    async fn get_snapshot(
        &self,
        _: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        Err(unsupported("GetSnapshot"))
    }

    async fn controller_get_volume(
        &self,
        _: Request<ControllerGetVolumeRequest>,
    ) -> Result<Response<ControllerGetVolumeResponse>, Status> {
        Err(unsupported("ControllerGetVolume"))
    }

    async fn controller_modify_volume(
        &self,
        _: Request<ControllerModifyVolumeRequest>,
    ) -> Result<Response<ControllerModifyVolumeResponse>, Status> {
        Err(unsupported("ControllerModifyVolume"))
    }
}

fn unsupported(rpc: &'static str) -> Status {
    bad(RequestError::NotOffered(rpc))
}
