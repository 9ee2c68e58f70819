//! Pods.

use jiff::Timestamp;
use rds_csi_core::attachment::Owner;
use rds_csi_core::attachment::observation::{Phase, Pod, Role};
use rds_csi_core::names::foreign;
use serde::Deserialize;

use super::{Object, Spec};

/// A pod's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct PodSpec {
    /// The node that it is bound to.
    node_name: String,
    pub(in super::super) volumes: Vec<PodVolume>,
    pub(in super::super) containers: Vec<Container>,
    pub(in super::super) init_containers: Vec<Container>,
    pub(in super::super) ephemeral_containers: Vec<Container>,
}

/// What is there or not, and otherwise not read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in super::super) struct Unread {}

/// A volume of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct PodVolume {
    pub(in super::super) name: String,
    pub(in super::super) persistent_volume_claim: Option<ClaimSource>,
    /// A claim that is made for the pod and named after both.
    pub(in super::super) ephemeral: Option<Unread>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct ClaimSource {
    pub(in super::super) claim_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct Container {
    pub(in super::super) volume_mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Mount {
    /// The volume's.
    pub(in super::super) name: String,
}

/// A pod's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct PodStatus {
    pub(in super::super) phase: String,
    pub(in super::super) container_statuses: Vec<ContainerStatus>,
    pub(in super::super) init_container_statuses: Vec<ContainerStatus>,
    pub(in super::super) ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// What a container does now, and what it did before its last restart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct ContainerStatus {
    pub(in super::super) state: ContainerState,
    pub(in super::super) last_state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct ContainerState {
    pub(in super::super) running: Option<Started>,
    pub(in super::super) terminated: Option<Started>,
}

/// When it ran; none where it never did, as kubelet says of containers that it lost.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct Started {
    pub(in super::super) started_at: Option<Timestamp>,
}

impl PodStatus {
    /// How far the pod came. Kubernetes says `Pending` until every init container has ended,
    /// and these write, too: a pod of which any container was ever seen to begin runs.
    fn phase(&self) -> Phase {
        let lists = [
            &self.init_container_statuses,
            &self.container_statuses,
            &self.ephemeral_container_statuses,
        ];
        let mut all = lists.into_iter().flatten();
        match Phase::parse(&self.phase) {
            Phase::Pending if all.any(ContainerStatus::has_begun) => Phase::Running,
            phase => phase,
        }
    }
}

impl ContainerStatus {
    /// Whether it runs, or has run or may have: kubelet also calls one terminated that it lost.
    fn has_begun(&self) -> bool {
        let begun = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
        begun(&self.state) || begun(&self.last_state)
    }
}

impl Spec for PodSpec {
    type Kind = k8s_openapi::api::core::v1::Pod;
    type Status = PodStatus;
}

impl From<Object<PodSpec>> for Pod {
    fn from(object: Object<PodSpec>) -> Self {
        let Object {
            meta, spec, status, ..
        } = object;
        let labels = meta.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).map(String::as_str);
        let owners = meta.owner_references.unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true));
        let owner = owner.map(|owner| Owner {
            api_version: &owner.api_version,
            kind: &owner.kind,
            name: &owner.name,
            uid: &owner.uid,
        });
        // Whether a container mounts it or not, kubelet has it attached.
        let claims = spec
            .volumes
            .iter()
            .filter_map(|volume| volume.claim(&meta.name));
        Self {
            role: Role::of(owner.as_ref(), label),
            migration: label(foreign::MIGRATION).map(str::to_owned),
            claims: claims.collect(),
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            node: spec.node_name,
            phase: status.phase(),
            leaving: meta.deletion_timestamp.is_some(),
        }
    }
}

impl PodVolume {
    /// The claim behind a volume of the pod of that name, where there is one.
    pub(in super::super) fn claim(&self, pod: &str) -> Option<String> {
        match (&self.persistent_volume_claim, &self.ephemeral) {
            (Some(source), _) => Some(source.claim_name.clone()),
            (None, Some(_)) => Some(format!("{pod}-{}", self.name)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// An init container may write for an hour while its pod is pending.
    #[rstest]
    #[case::unscheduled("{}", Phase::Pending)]
    #[case::waits(r#"{"phase": "Pending"}"#, Phase::Pending)]
    #[case::initialises(
        r#"{"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}],
            "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]}"#,
        Phase::Running
    )]
    #[case::is_yet_to_initialise(
        r#"{"phase": "Pending", "initContainerStatuses": [{"state": {"waiting": {}}}]}"#,
        Phase::Pending
    )]
    #[case::has_initialised(
        r#"{"phase": "Pending", "initContainerStatuses":
            [{"state": {"terminated": {"startedAt": "2026-02-02T00:00:00Z"}}}]}"#,
        Phase::Running
    )]
    #[case::initialises_again(
        r#"{"phase": "Pending", "initContainerStatuses":
            [{"state": {"waiting": {}}, "lastState": {"terminated": {}}}]}"#,
        Phase::Running
    )]
    #[case::begins(
        r#"{"phase": "Pending", "containerStatuses": [{"state": {"running": {}}}]}"#,
        Phase::Running
    )]
    #[case::ended(
        r#"{"phase": "Failed", "initContainerStatuses": [{"state": {"terminated": {}}}]}"#,
        Phase::Over
    )]
    fn a_pod_has_begun_with_its_first_container(#[case] status: &str, #[case] expected: Phase) {
        let status: PodStatus = serde_json::from_str(status).unwrap();
        assert_eq!(status.phase(), expected);
    }
}
