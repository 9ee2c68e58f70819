//! The attachments of this process.
//!
//! Without a cluster to ask, who has a volume is known only to this process, and
//! forgotten when it ends. That is said at start; it is for trying the product and for
//! tests, where one process attaches and detaches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rds_csi_core::attachment::{Attachment, AttachmentError, decide};
use rds_csi_core::volume_id::VolumeId;

/// Which nodes have which volumes.
#[derive(Debug, Default)]
pub(crate) struct InProcess(Mutex<HashMap<VolumeId, Vec<Attachment>>>);

impl InProcess {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VolumeId, Vec<Attachment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attachment, if the rules allow it. One that stands is success.
    pub(crate) fn attach(&self, id: &VolumeId, wanted: Attachment) -> Result<(), AttachmentError> {
        let mut volumes = self.lock();
        let standing = volumes.entry(id.clone()).or_default();
        let verdict = decide(standing, &wanted);
        if verdict.is_ok() && !standing.contains(&wanted) {
            standing.push(wanted);
        }
        if standing.is_empty() {
            volumes.remove(id);
        }
        verdict
    }

    /// Removes the attachment to a node, or all where none is named. What does not
    /// stand is gone already.
    pub(crate) fn detach(&self, id: &VolumeId, node: Option<&str>) {
        let mut volumes = self.lock();
        if let Some(standing) = volumes.get_mut(id) {
            standing.retain(|attachment| node.is_some_and(|node| attachment.node != node));
            if standing.is_empty() {
                volumes.remove(id);
            }
        }
    }

    /// The nodes that have a volume.
    pub(crate) fn nodes(&self, id: &VolumeId) -> Vec<String> {
        self.lock()
            .get(id)
            .into_iter()
            .flatten()
            .map(|attachment| attachment.node.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rds_csi_core::access::{Access, AccessMode};

    use super::*;

    #[test]
    fn detaching_without_a_node_detaches_all() {
        let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        let attachments = InProcess::default();
        let on = |node: &str| Attachment {
            node: node.to_owned(),
            access: Access::block(AccessMode::MultiNodeMultiWriter).unwrap(),
            read_only: false,
        };
        attachments.attach(&id, on("a")).unwrap();
        attachments.attach(&id, on("b")).unwrap();
        attachments.attach(&id, on("c")).unwrap_err();
        attachments.detach(&id, Some("a"));
        attachments.detach(&id, Some("nobody"));
        assert_eq!(attachments.nodes(&id), ["b"]);
        attachments.attach(&id, on("c")).unwrap();
        attachments.detach(&id, None);
        assert!(attachments.nodes(&id).is_empty() && attachments.lock().is_empty());
    }
}
