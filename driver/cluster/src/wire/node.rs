//! Nodes.

use rds_csi_core::attachment::observation::{Node, NodeIdentity};
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
    node_info: NodeInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeInfo {
    #[serde(rename = "systemUUID")]
    system_uuid: String,
    #[serde(rename = "machineID")]
    machine_id: String,
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
            identity: self.identity(),
            created: self.meta.created(),
        }
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let NodeInfo {
            system_uuid,
            machine_id,
        } = &self.status.node_info;
        NodeIdentity::of(system_uuid, machine_id, &self.meta.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(info: &str) -> Node {
        let text = format!(
            r#"{{"metadata": {{"uid": "u", "creationTimestamp": "1970-01-01T00:01:00Z"}},
            "status": {{"nodeInfo": {info}, "volumesInUse": ["v"],
                "conditions": [{{"type": "Ready", "status": "True"}}]}}}}"#
        );
        let object: Object<NodeSpec> = serde_json::from_str(&text).unwrap();
        object.seen_from("v")
    }

    #[test]
    fn a_node_says_which_machine_it_is_and_since_when() {
        let info = r#"{"systemUUID": "s", "machineID": "m", "bootID": "b"}"#;
        let expected = Node {
            ready: true,
            out_of_service: false,
            in_use: true,
            identity: NodeIdentity::of("s", "m", "u"),
            created: Some(60),
        };
        assert_eq!(node(info), expected);
        assert!(expected.identity.is_some());
        assert_eq!(node("{}").identity, None);
    }
}
