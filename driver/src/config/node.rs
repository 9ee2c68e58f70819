//! The flags of `node`.

use std::path::PathBuf;

use rds_csi_core::names::DriverName;

use super::reader::Reader;
use super::{ClusterMode, Common, NodeConfig, RegistrationConfig, SOCKET_PATH, socket_path};
use crate::args::NodeArgs;

/// `None` where a problem was noted.
pub(super) fn read(
    reader: &mut Reader,
    args: &NodeArgs,
    common: Option<Common>,
) -> Option<NodeConfig> {
    let takes = "a node's name: lower-case letters, digits, '-' and '.', at most 192 bytes";
    let node_name = reader
        .required("node-name", args.node_name.as_deref(), takes)
        .and_then(|text| {
            reader.checked("node-name", text, takes, |text| {
                is_node_name(text).then(|| text.to_owned())
            })
        });
    let state_dir = reader.checked("state-dir", &args.state_dir, "an absolute path", |text| {
        Some(PathBuf::from(text)).filter(|path| path.is_absolute())
    });
    let (marker, takes) = (args.shutdown_marker.as_str(), "an absolute path, or off");
    let shutdown_marker = match marker {
        "off" => Some(None),
        _ => reader.checked("shutdown-marker", marker, takes, |text| {
            let path = PathBuf::from(text);
            path.is_absolute().then_some(Some(path))
        }),
    };
    let connect_timeout = reader.duration("connect-timeout", &args.connect_timeout, 1..=300);
    let max_volumes = match args.max_volumes.as_deref().filter(|text| !text.is_empty()) {
        None => Some(None),
        Some(text) => reader.checked("max-volumes", text, "1 to 10000", |text| {
            let count = text.parse().ok()?;
            (1..=10_000).contains(&count).then_some(Some(count))
        }),
    };
    let none = "nobody is asked, and every volume that is recorded here counts as this node's";
    let cluster = ClusterMode::read(reader, args.cluster.as_deref(), none);
    let driver_name = common.as_ref().map(|common| &common.driver_name);
    let registration = registration(reader, args, driver_name);
    let common = common?;
    // Another driver's volumes are not this one's to follow, nor to give up.
    let state_dir = state_dir?.join(common.driver_name.as_str());
    Some(NodeConfig {
        driver_name: common.driver_name,
        endpoint: common.endpoint,
        admin: common.admin,
        cluster_id: common.cluster_id,
        cluster: cluster?,
        node_name: node_name?,
        nqn_prefix: common.nqn_prefix,
        state_dir,
        connect_timeout: connect_timeout?,
        max_volumes: max_volumes?,
        shutdown_marker: shutdown_marker?,
        registration: registration?,
        shutdown_grace: common.shutdown_grace,
    })
}

/// `Some(None)` where somebody else registers the plugin.
fn registration(
    reader: &mut Reader,
    args: &NodeArgs,
    driver_name: Option<&DriverName>,
) -> Option<Option<RegistrationConfig>> {
    let flag = "registration-dir";
    let text = args.registration_dir.as_str();
    if text == "off" {
        return Some(None);
    }
    let takes = "an absolute path, or off";
    let directory = reader.checked(flag, text, takes, |text| {
        Some(PathBuf::from(text)).filter(|path| path.is_absolute())
    });
    let kubelet_endpoint = reader
        .required(
            "kubelet-endpoint",
            args.kubelet_endpoint.as_deref(),
            SOCKET_PATH,
        )
        .and_then(|text| reader.checked("kubelet-endpoint", text, SOCKET_PATH, socket_path));
    let socket = directory?.join(socket_name(driver_name?));
    let takes = format!("a directory in which {socket:?} is {SOCKET_PATH}");
    let socket = reader.checked(flag, text, &takes, |_| socket_path(socket.to_str()?))?;
    Some(Some(RegistrationConfig {
        socket,
        kubelet_endpoint: kubelet_endpoint?,
    }))
}

/// kubelet's gRPC library, since Kubernetes 1.29, sends the socket's path as the authority
/// of each call, with `%2F` for its slashes, and ours refuses a host with a `%` in it. What
/// comes before an `@` is no part of the host: so the directories are not, and all is well.
fn socket_name(driver_name: &DriverName) -> String {
    format!("csi@{driver_name}-reg.sock")
}

/// Kubernetes allows 253 bytes; CSI allows 256 for a node id, which has more than the
/// name in it.
fn is_node_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=192).contains(&text.len())
        && text.bytes().all(|b| plain(b) || b == b'-' || b == b'.')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
}
