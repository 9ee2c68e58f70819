//! What csi-sanity does not ask: whether a role serves the calls that its capabilities
//! promise, and answers UNIMPLEMENTED to all others of the specification.

use std::collections::BTreeSet;

use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::{
    ControllerGetCapabilitiesRequest, GetPluginCapabilitiesRequest, NodeGetCapabilitiesRequest,
    controller_service_capability, node_service_capability, plugin_capability,
};
use serde_json::Value;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

/// The names, numbers and types of the specification.
const SPECIFICATION: &str = include_str!("../../../proto/tests/interface-1.13.json");

/// Calls and the capability that promises them; the empty one is every plugin's.
type Promises = &'static [(&'static str, &'static [&'static str])];

const CONTROLLER: Promises = &[
    ("", &["GetPluginInfo", "GetPluginCapabilities", "Probe"]),
    (
        "",
        &["ControllerGetCapabilities", "ValidateVolumeCapabilities"],
    ),
    ("CREATE_DELETE_VOLUME", &["CreateVolume", "DeleteVolume"]),
    (
        "PUBLISH_UNPUBLISH_VOLUME",
        &["ControllerPublishVolume", "ControllerUnpublishVolume"],
    ),
    ("LIST_VOLUMES", &["ListVolumes"]),
    ("GET_CAPACITY", &["GetCapacity"]),
    (
        "CREATE_DELETE_SNAPSHOT",
        &["CreateSnapshot", "DeleteSnapshot"],
    ),
    ("LIST_SNAPSHOTS", &["ListSnapshots"]),
    ("GET_SNAPSHOT", &["GetSnapshot"]),
    ("EXPAND_VOLUME", &["ControllerExpandVolume"]),
    ("GET_VOLUME", &["ControllerGetVolume"]),
    ("MODIFY_VOLUME", &["ControllerModifyVolume"]),
];

const NODE: Promises = &[
    ("", &["GetPluginInfo", "GetPluginCapabilities", "Probe"]),
    ("", &["NodePublishVolume", "NodeUnpublishVolume"]),
    ("", &["NodeGetCapabilities", "NodeGetInfo"]),
    (
        "STAGE_UNSTAGE_VOLUME",
        &["NodeStageVolume", "NodeUnstageVolume"],
    ),
    ("GET_VOLUME_STATS", &["NodeGetVolumeStats"]),
    ("EXPAND_VOLUME", &["NodeExpandVolume"]),
];

/// Asserts both for the controller.
pub(crate) async fn assert_controller(channel: Channel) {
    use controller_service_capability::Type;
    let mut client = ControllerClient::new(channel.clone());
    let request = ControllerGetCapabilitiesRequest {};
    let answer = client.controller_get_capabilities(request).await.unwrap();
    let capabilities = answer.into_inner().capabilities.into_iter();
    let names = capabilities.map(|capability| match capability.r#type {
        Some(Type::Rpc(rpc)) => rpc.r#type().as_str_name(),
        None => panic!("a capability that says nothing"),
    });
    assert_serves(&channel, promised(CONTROLLER, names)).await;
}

/// Asserts both for the node plugin.
pub(crate) async fn assert_node(channel: Channel) {
    use node_service_capability::Type;
    let mut client = NodeClient::new(channel.clone());
    let request = NodeGetCapabilitiesRequest {};
    let answer = client.node_get_capabilities(request).await.unwrap();
    let capabilities = answer.into_inner().capabilities.into_iter();
    let names = capabilities.map(|capability| match capability.r#type {
        Some(Type::Rpc(rpc)) => rpc.r#type().as_str_name(),
        None => panic!("a capability that says nothing"),
    });
    assert_serves(&channel, promised(NODE, names)).await;
}

/// Asserts that the plugin tells of a controller and of no other service.
pub(crate) async fn assert_services(channel: Channel) {
    use plugin_capability::Type;
    let mut client = IdentityClient::new(channel);
    let request = GetPluginCapabilitiesRequest {};
    let answer = client.get_plugin_capabilities(request).await.unwrap();
    let capabilities = answer.into_inner().capabilities.into_iter();
    let services = capabilities.filter_map(|capability| match capability.r#type {
        Some(Type::Service(service)) => Some(service.r#type().as_str_name()),
        _ => None,
    });
    assert_eq!(services.collect::<Vec<_>>(), ["CONTROLLER_SERVICE"]);
}

fn promised(
    promises: Promises,
    capabilities: impl Iterator<Item = &'static str>,
) -> BTreeSet<String> {
    let capabilities: BTreeSet<&str> = capabilities.chain([""]).collect();
    let kept = promises
        .iter()
        .filter(|(capability, _)| capabilities.contains(capability));
    let calls = kept.flat_map(|(_, calls)| *calls);
    calls.map(|&call| call.to_owned()).collect()
}

/// Sends every call of the specification without any field, so that none changes anything.
async fn assert_serves(channel: &Channel, promised: BTreeSet<String>) {
    let specification: Value = serde_json::from_str(SPECIFICATION).unwrap();
    let mut served = BTreeSet::new();
    for (service, calls) in specification["services"].as_object().unwrap() {
        for call in calls.as_array().unwrap() {
            let name = call["rpc"].as_str().unwrap();
            match send(channel, &format!("/csi.v1.{service}/{name}")).await {
                Code::Unimplemented => {}
                Code::Ok | Code::InvalidArgument => {
                    served.insert(name.to_owned());
                }
                other => panic!("{name} without any field: {other:?}"),
            }
        }
    }
    assert_eq!(served, promised);
}

async fn send(channel: &Channel, path: &str) -> Code {
    let path: PathAndQuery = path.parse().unwrap();
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    match client.unary(tonic::Request::new(()), path, codec).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}
