//! Nodes.

use rds_csi_core::attachment::observation::Node;
use rds_csi_core::names::foreign;
use serde::Deserialize;

use super::{Object, Spec};

/// A node's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct NodeSpec {
    taints: Option<Vec<Taint>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: String,
}

/// A node's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct NodeStatus {
    conditions: Option<Vec<Condition>>,
    volumes_in_use: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Spec for NodeSpec {
    type Kind = k8s_openapi::api::core::v1::Node;
    type Status = NodeStatus;
}

impl Object<NodeSpec> {
    /// The node as the attachment rules see it, from the volume of that name.
    pub(in super::super) fn seen_from(&self, volume: &str) -> Node {
        let taints = self.spec.taints.as_deref().unwrap_or_default();
        let conditions = self.status.conditions.as_deref().unwrap_or_default();
        let in_use = self.status.volumes_in_use.as_deref().unwrap_or_default();
        Node {
            ready: conditions
                .iter()
                .any(|condition| condition.r#type == "Ready" && condition.status == "True"),
            out_of_service: taints
                .iter()
                .any(|taint| taint.key == foreign::OUT_OF_SERVICE),
            in_use: in_use.iter().any(|name| name == volume),
            cut_off: false,
        }
    }
}
