//! The attachments of this process.
//!
//! Without a cluster to ask, who has a volume is known only to this process, and
//! forgotten when it ends. That is said at start; it is for trying the product and for
//! tests, where one process attaches and detaches. How many nodes have a volume is judged
//! as everywhere; which machine the second one is for, nobody here can see.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rds_csi_core::access::{Access, AccessMode};
use rds_csi_core::attachment::exception::Moment;
use rds_csi_core::attachment::observation::{
    Observations, Standing, Volume as Seen, VolumeAttachment,
};
use rds_csi_core::attachment::{Mode, Modes, Request, Rule, Seat, Verdict, judge};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::volume_id::VolumeId;

/// One attachment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The node.
    pub(crate) node: String,
    /// Under which access it was made.
    pub(crate) access: Access,
    /// Whether the kernel of that node refuses writes.
    pub(crate) read_only: bool,
}

/// Why a node does not get the volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttachmentError {
    /// The attachment rules.
    #[error("{0}; it is free once that is detached")]
    Denied(String),
    /// This node has it in another way.
    #[error("node {node:?} has it already, as {found}; {wanted} was asked")]
    OtherAccess {
        /// The node.
        node: String,
        /// How it has it.
        found: String,
        /// How it wants it.
        wanted: String,
    },
}

impl Failure for AttachmentError {
    fn kind(&self) -> Kind {
        match self {
            Self::Denied(_) => Kind::Conflict,
            Self::OtherAccess { .. } => Kind::Exists,
        }
    }
}

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
        let standing = volumes.get(id).map_or(&[][..], Vec::as_slice);
        let same = standing.iter().find(|found| found.node == wanted.node);
        match same {
            Some(same) if *same == wanted => Ok(()),
            Some(same) => Err(AttachmentError::OtherAccess {
                node: wanted.node.clone(),
                found: describe(same),
                wanted: describe(&wanted),
            }),
            None => {
                decide(standing, &wanted)?;
                volumes.entry(id.clone()).or_default().push(wanted);
                Ok(())
            }
        }
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

/// Whether one more node may have a volume beside these.
fn decide(standing: &[Attachment], wanted: &Attachment) -> Result<(), AttachmentError> {
    // The narrowest of all accesses counts, whoever came first.
    let all = || standing.iter().chain([wanted]);
    let single = all().find(|attachment| !attachment.access.mode.is_multi_node());
    let seen = Observations {
        volume: Seen {
            access_modes: vec!["ReadWriteMany".to_owned()],
            is_block: true,
            ..Seen::default()
        },
        attachments: standing.iter().map(granted).collect(),
        ..Observations::default()
    };
    let modes = Modes::default()
        .with(Rule::SameMachine, Mode::Audit)
        .with(Rule::NodeLoss, Mode::Audit);
    let request = Request {
        node: &wanted.node,
        access: Some(single.map_or(AccessMode::MultiNodeMultiWriter, |one| one.access.mode)),
        seat: Seat::Driver,
        modes: &modes,
        now: &Moment::last(),
    };
    match judge(&request, &seen).verdict {
        Verdict::Allow(_) | Verdict::AllowAsMigration(_) => Ok(()),
        Verdict::Deny(denial) => Err(AttachmentError::Denied(denial.why)),
        Verdict::Unknown(unread) => Err(AttachmentError::Denied(unread.to_string())),
    }
}

fn granted(attachment: &Attachment) -> Standing {
    Standing {
        attachment: VolumeAttachment {
            name: String::new(),
            uid: String::new(),
            node: attachment.node.clone(),
            persistent_volume: String::new(),
            attached: true,
            leaving: false,
            created: None,
        },
        granted: true,
    }
}

fn describe(attachment: &Attachment) -> String {
    let volume = if attachment.access.is_block() {
        "block"
    } else {
        "filesystem"
    };
    let read_only = if attachment.read_only {
        ", read-only"
    } else {
        ""
    };
    format!("{} {volume}{read_only}", attachment.access.mode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ONE: AccessMode = AccessMode::SingleNodeWriter;
    const MANY: AccessMode = AccessMode::MultiNodeMultiWriter;

    fn id() -> VolumeId {
        "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap()
    }

    fn on(node: &str, mode: AccessMode) -> Attachment {
        Attachment {
            node: node.to_owned(),
            access: Access::block(mode).unwrap(),
            read_only: false,
        }
    }

    #[test]
    fn detaching_without_a_node_detaches_all() {
        let attachments = InProcess::default();
        attachments.attach(&id(), on("a", MANY)).unwrap();
        attachments.attach(&id(), on("b", MANY)).unwrap();
        let third = attachments.attach(&id(), on("c", MANY)).unwrap_err();
        assert!(third.to_string().contains("nodes a and b have"), "{third}");
        attachments.detach(&id(), Some("a"));
        attachments.detach(&id(), Some("nobody"));
        assert_eq!(attachments.nodes(&id()), ["b"]);
        attachments.attach(&id(), on("c", MANY)).unwrap();
        attachments.detach(&id(), None);
        assert!(attachments.nodes(&id()).is_empty() && attachments.lock().is_empty());
    }

    #[rstest]
    #[case::both_for_one(ONE, ONE)]
    #[case::the_first_for_one(ONE, MANY)]
    #[case::the_second_for_one(MANY, ONE)]
    fn a_volume_for_one_node_has_one(#[case] first: AccessMode, #[case] second: AccessMode) {
        let attachments = InProcess::default();
        attachments.attach(&id(), on("a", first)).unwrap();
        let refused = attachments.attach(&id(), on("b", second)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict);
        let text = refused.to_string();
        assert!(
            text.contains("node a has") && text.contains("SINGLE_NODE_WRITER"),
            "{text}"
        );
        attachments.attach(&id(), on("a", first)).unwrap();
    }

    #[test]
    fn a_node_does_not_have_a_volume_in_two_ways() {
        let attachments = InProcess::default();
        attachments.attach(&id(), on("a", ONE)).unwrap();
        let read_only = Attachment {
            read_only: true,
            ..on("a", ONE)
        };
        let refused = attachments.attach(&id(), read_only).unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists);
        assert!(
            refused.to_string().contains("read-only was asked"),
            "{refused}"
        );
    }

    proptest! {
        /// Whatever is asked and taken back in whatever order, never two nodes have a
        /// volume for one, and never three have any.
        #[test]
        fn no_order_breaks_the_bound(
            asked in proptest::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 0..30),
        ) {
            let attachments = InProcess::default();
            for (node, many, attach) in asked {
                let node = ["a", "b", "c", "d"][node];
                if attach {
                    let _ = attachments.attach(&id(), on(node, if many { MANY } else { ONE }));
                } else {
                    attachments.detach(&id(), Some(node));
                }
                let volumes = attachments.lock();
                let standing = volumes.get(&id()).map_or(&[][..], Vec::as_slice);
                prop_assert!(standing.len() <= 2);
                let many = standing.iter().all(|found| found.access.mode == MANY);
                prop_assert!(standing.len() < 2 || many);
            }
        }
    }
}
