//! The flags of `node`.

use std::path::PathBuf;

use super::reader::Reader;
use super::{Common, NodeConfig};
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
    let connect_timeout = reader.duration("connect-timeout", &args.connect_timeout, 1..=300);
    let max_volumes = match args.max_volumes.as_deref().filter(|text| !text.is_empty()) {
        None => Some(None),
        Some(text) => reader.checked("max-volumes", text, "1 to 10000", |text| {
            let count = text.parse().ok()?;
            (1..=10_000).contains(&count).then_some(Some(count))
        }),
    };
    let common = common?;
    Some(NodeConfig {
        driver_name: common.driver_name,
        endpoint: common.endpoint,
        admin: common.admin,
        cluster_id: common.cluster_id,
        node_name: node_name?,
        nqn_prefix: common.nqn_prefix,
        state_dir: state_dir?,
        connect_timeout: connect_timeout?,
        max_volumes: max_volumes?,
        shutdown_grace: common.shutdown_grace,
    })
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
