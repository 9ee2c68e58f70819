//! The Container Storage Interface services: decode a request, call the operation,
//! encode its result.
//!
//! Nothing here decides anything about a volume, and nothing outside `csi` and
//! `server` names the generated types.

pub(crate) mod controller;
pub(crate) mod convert;
pub(crate) mod identity;
pub(crate) mod node;

use std::sync::Arc;

use csi_proto::v1::controller_server::ControllerServer;
use csi_proto::v1::identity_server::IdentityServer;
use csi_proto::v1::node_server::NodeServer;
use rds_csi_core::names::DriverName;
use tonic::service::Routes;

use crate::controller::Controller;
use crate::detach::Tasks;
use crate::node::Node;
use controller::ControllerHandler;
use identity::IdentityService;
use node::NodeHandler;

/// The services of a controller.
pub(crate) fn controller_routes(
    driver_name: &DriverName,
    controller: Controller,
    tasks: Tasks,
) -> Routes {
    let identity = IdentityService::new(driver_name.clone(), "controller");
    Routes::new(IdentityServer::new(identity)).add_service(ControllerServer::new(
        ControllerHandler::new(controller, tasks),
    ))
}

/// The services of a node.
pub(crate) fn node_routes(driver_name: &DriverName, node: Arc<Node>, tasks: Tasks) -> Routes {
    let identity = IdentityService::new(driver_name.clone(), "node");
    Routes::new(IdentityServer::new(identity))
        .add_service(NodeServer::new(NodeHandler::new(node, tasks)))
}
