//! The Identity service: who the plugin is and whether it can work.
//!
//! `Probe` answers from what is known and asks nobody. It reports ready as soon as the
//! process serves: a restart cannot bring an unreachable device back, and a controller
//! that is restarted for it could not even detach a volume. What is wrong outside shows
//! at `/readyz` and in the metrics.

use std::collections::HashMap;

use csi_proto::v1::identity_server::Identity;
use csi_proto::v1::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
use csi_proto::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
};
use rds_csi_core::names::DriverName;
use tonic::{Request, Response, Status};

/// The version of this driver.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The service, the same for both roles: CSI wants the capabilities of the whole plugin
/// from each of its parts.
#[derive(Debug)]
pub(crate) struct IdentityService {
    driver_name: DriverName,
    role: &'static str,
}

impl IdentityService {
    /// The service of the named driver; `role` is told in the manifest.
    pub(crate) fn new(driver_name: DriverName, role: &'static str) -> Self {
        Self { driver_name, role }
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.driver_name.to_string(),
            vendor_version: VERSION.to_owned(),
            manifest: HashMap::from([("role".to_owned(), self.role.to_owned())]),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let types = [
            Type::Service(Service {
                r#type: service::Type::ControllerService.into(),
            }),
            Type::VolumeExpansion(VolumeExpansion {
                r#type: volume_expansion::Type::Online.into(),
            }),
        ];
        let capabilities = types
            .map(|kind| PluginCapability { r#type: Some(kind) })
            .to_vec();
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(true) }))
    }
}
