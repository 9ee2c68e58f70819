//! Whether a node may be taken to have let go of a volume: ControllerUnpublishVolume.
//!
//! Once it is answered with success, the VolumeAttachment goes and another node gets the
//! volume. So a node that exists and may still be writing is kept until it is ready again
//! and uses the volume no more, or a person says that its machine is off. Kubernetes asks
//! for less: six minutes after a node was last heard of, it detaches whatever no pod
//! object uses there.

use super::grant::{Entry, VolumeAttachment};
use super::judge::{WayOut, name_in_command};
use super::mode::{Mode, Modes, Seat};
use super::observation::{Node, Observations, Unread};
use super::pod::Phase;
use super::verdict::{Denial, Object, Rule};

/// Why a node is taken to have let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// No node was named. What each node has is what its VolumeAttachment says.
    NoNode,
    /// The node exists no more. Whether its machine does is for the array to settle.
    Vanished,
    /// Its kubelet says that it does not use the volume, in this Node.
    NotInUse(Node),
    /// Its kubelet only waits for the volume, for a pod that has not begun.
    NotBegun,
    /// A person says that its machine is off.
    OutOfService,
    /// The rule that refuses it is not enforced.
    Relaxed,
}

impl LetGo {
    /// Whether the node of this attachment, of which that is recorded, is known to have no
    /// session by which it may write. Otherwise it is for the array to settle: see
    /// [`super::fence`].
    #[must_use]
    pub fn is_certain(self, attachment: &VolumeAttachment, recorded: Option<&Entry>) -> bool {
        match self {
            Self::NotInUse(node) => speaks_for(&node, attachment, recorded),
            // A node that was lost comes back with pods that the cluster has forgotten.
            Self::NotBegun => false,
            Self::NoNode | Self::Vanished | Self::OutOfService | Self::Relaxed => false,
        }
    }
}

/// Whether what a Node says holds for the machine that the volume was attached to. A new
/// machine of the name knows nothing of the old one's mounts, and a Node object that was made
/// anew does not name them at first. Where the grant did not note who the node was, as that
/// of another driver, the object must at least be older than the attachment.
fn speaks_for(node: &Node, attachment: &VolumeAttachment, recorded: Option<&Entry>) -> bool {
    match recorded.and_then(|entry| entry.identity) {
        Some(granted) => node.identity == Some(granted),
        None => {
            let both = node.created.zip(attachment.created);
            both.is_some_and(|(node, attachment)| node < attachment)
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// Success, and nothing is left to do.
    LetGo(LetGo),
    /// Not yet: UNAVAILABLE, as the node may still write.
    Keep(Denial),
    /// Nobody can say: UNAVAILABLE, once what is missing was read and could not be.
    Unknown(Unread),
}

/// Judges whether `node` has let go of the volume; `None` or an empty name is all nodes.
/// Asking again gives the same answer, also for what is gone long since.
#[must_use]
pub fn release(node: Option<&str>, modes: &Modes, seen: &Observations) -> Release {
    let Some(node) = node.filter(|node| !node.is_empty()) else {
        return Release::LetGo(LetGo::NoNode);
    };
    let found = match seen.node(node) {
        Ok(Some(found)) => found,
        Ok(None) => return Release::LetGo(LetGo::Vanished),
        Err(unread) => return Release::Unknown(unread),
    };
    if found.ready {
        return if found.in_use {
            release_in_use(node, seen)
        } else {
            Release::LetGo(LetGo::NotInUse(found))
        };
    }
    if found.out_of_service {
        return Release::LetGo(LetGo::OutOfService);
    }
    if modes.of(Rule::NodeLoss, Seat::Driver) != Mode::Enforce {
        return Release::LetGo(LetGo::Relaxed);
    }
    let way_out = WayOut::of_lost_node(node);
    keep(
        Rule::NodeLoss,
        format!(
            "node {} is not ready and may still write to the volume",
            name_in_command(node)
        ),
        way_out.object,
        way_out.next,
    )
}

/// A node that works and says that it uses the volume. A node that was lost comes back like
/// that, with pods that the cluster has forgotten: its kubelet ends them, and then says so.
///
/// Kubelet also says so of a volume that it only waits for. It would wait for ever if the
/// old attachment stayed, since the new one is made when that is gone; a pod that has not
/// begun is therefore no reason to keep it.
fn release_in_use(node: &str, seen: &Observations) -> Release {
    let users = match seen.users(node) {
        Ok(users) => users,
        Err(unread) => return Release::Unknown(unread),
    };
    if !users.is_empty() && users.iter().all(|pod| pod.phase == Phase::Pending) {
        return Release::LetGo(LetGo::NotBegun);
    }
    let node = name_in_command(node);
    let why = format!("node {node} still uses the volume");
    match users.iter().find(|pod| pod.phase != Phase::Pending) {
        Some(pod) => {
            let (namespace, name) = (name_in_command(&pod.namespace), name_in_command(&pod.name));
            keep(
                Rule::InUse,
                why,
                Object {
                    kind: "Pod",
                    namespace: Some(namespace.to_owned()),
                    name: name.to_owned(),
                },
                format!(
                    "It is let go of once the pod has ended. To see it: kubectl describe pod -n {namespace} {name}"
                ),
            )
        }
        None => keep(
            Rule::InUse,
            why,
            Object {
                kind: "Node",
                namespace: None,
                name: node.to_owned(),
            },
            format!(
                "Its kubelet lets go of what no pod uses. To see whether it did: kubectl get node {node} -o jsonpath='{{.status.volumesInUse}}'"
            ),
        ),
    }
}

fn keep(rule: Rule, why: String, object: Object, next: String) -> Release {
    Release::Keep(Denial {
        rule,
        why,
        object,
        next,
        held: true,
    })
}

#[cfg(test)]
mod tests;
