//! Which nodes may have a volume at once.
//!
//! A volume for one node is never attached to a second one while the first attachment
//! stands: there is no window of grace, because within one a third node once took over
//! a volume that the second was still writing. A raw block volume that many nodes may
//! write is attached to two at most, which is what a live migration needs.
//!
//! [`judge()`] is the whole rule, over everything that a cluster shows, and [`release()`] its
//! counterpart for letting go; [`preflight()`] says early which migration cannot arrive. [`grant`] is the record that makes a yes hold between the
//! answer and its trace. [`decide`] is what is left of the rule where there is no cluster.

pub mod exception;
pub mod grant;
mod judge;
mod mode;
pub mod observation;
mod pod;
mod preflight;
mod release;
mod verdict;

pub use judge::{Request, judge};
pub use mode::{Mode, ModeError, Modes, Seat};
pub use observation::Observations;
pub use pod::{Owner, Role};
pub use preflight::{Disk, Obstacle, preflight};
pub use release::{LetGo, Release, release};
pub use verdict::{
    Denial, Finding, HandOver, Judgement, LONGEST, Noted, Object, Reason, Rule, Verdict,
};

use crate::access::Access;
use crate::kind::{Failure, Kind};

/// One attachment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The node.
    pub node: String,
    /// Under which access it was made.
    pub access: Access,
    /// Whether the kernel of that node refuses writes.
    pub read_only: bool,
}

/// Why a node does not get the volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// One node has it.
    #[error(
        "the volume is attached to node {holder:?} and {mode} allows one node; it is free once that attachment is gone"
    )]
    Held {
        /// The node that has it.
        holder: String,
        /// The access mode that allows no more.
        mode: String,
    },
    /// Two nodes have it.
    #[error("the volume is attached to nodes {} already, and two is the most that a live migration needs; try again once one of them has detached", .holders.join(" and "))]
    Full {
        /// The nodes that have it.
        holders: Vec<String>,
    },
    /// This node has it in another way.
    #[error("the volume is attached to node {node:?} already, as {found}; {wanted} was asked")]
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
            Self::Held { .. } | Self::Full { .. } => Kind::Conflict,
            Self::OtherAccess { .. } => Kind::Exists,
        }
    }
}

/// Whether the wanted attachment may stand beside those that do. Asking for one that
/// stands already is granted.
pub fn decide(standing: &[Attachment], wanted: &Attachment) -> Result<(), AttachmentError> {
    if let Some(same) = standing
        .iter()
        .find(|attachment| attachment.node == wanted.node)
    {
        return if same == wanted {
            Ok(())
        } else {
            Err(AttachmentError::OtherAccess {
                node: wanted.node.clone(),
                found: describe(same),
                wanted: describe(wanted),
            })
        };
    }
    // The narrowest of all accesses counts, whoever came first.
    let single = standing
        .iter()
        .chain([wanted])
        .find(|attachment| !attachment.access.mode.is_multi_node());
    match (standing, single) {
        ([], _) => Ok(()),
        ([first, ..], Some(single)) => Err(AttachmentError::Held {
            holder: first.node.clone(),
            mode: single.access.mode.to_string(),
        }),
        ([_], None) => Ok(()),
        (more, None) => Err(AttachmentError::Full {
            holders: more
                .iter()
                .map(|attachment| attachment.node.clone())
                .collect(),
        }),
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

    use super::*;
    use crate::access::AccessMode;

    fn on(node: &str, mode: AccessMode) -> Attachment {
        Attachment {
            node: node.into(),
            access: Access::block(mode).unwrap(),
            read_only: false,
        }
    }

    const ONE: AccessMode = AccessMode::SingleNodeWriter;
    const MANY: AccessMode = AccessMode::MultiNodeMultiWriter;

    #[test]
    fn a_volume_for_one_node_has_one() {
        assert_eq!(decide(&[], &on("a", ONE)), Ok(()));
        assert_eq!(decide(&[on("a", ONE)], &on("a", ONE)), Ok(()));
        let error = decide(&[on("a", ONE)], &on("b", ONE)).unwrap_err();
        assert!(error.to_string().contains("\"a\""), "{error}");
    }

    #[test]
    fn a_shared_block_volume_has_two_at_most() {
        assert_eq!(decide(&[on("a", MANY)], &on("b", MANY)), Ok(()));
        let error = decide(&[on("a", MANY), on("b", MANY)], &on("c", MANY)).unwrap_err();
        assert!(error.to_string().contains("a and b"), "{error}");
    }

    #[test]
    fn the_narrowest_access_counts() {
        assert!(decide(&[on("a", ONE)], &on("b", MANY)).is_err());
        assert!(decide(&[on("a", MANY)], &on("b", ONE)).is_err());
        assert_eq!(
            decide(&[on("a", MANY)], &on("a", ONE)).unwrap_err().kind(),
            Kind::Exists
        );
    }

    proptest! {
        /// Whatever is asked and taken back in whatever order, never two nodes have a
        /// volume for one, and never three have any.
        #[test]
        fn no_order_breaks_the_bound(asked in proptest::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 0..30)) {
            let mut standing: Vec<Attachment> = Vec::new();
            for (node, many, attach) in asked {
                let wanted = on(["a", "b", "c", "d"][node], if many { MANY } else { ONE });
                if !attach {
                    standing.retain(|attachment| attachment.node != wanted.node);
                } else if decide(&standing, &wanted).is_ok() && !standing.contains(&wanted) {
                    standing.push(wanted);
                }
                prop_assert!(standing.len() <= 2);
                prop_assert!(standing.len() < 2 || standing.iter().all(|attachment| attachment.access.mode == MANY));
            }
        }
    }
}
