//! What a person can do about an attachment that is in the way.

use crate::attachment::observation::{Observations, Standing};
use crate::attachment::pod::{Pod, Role};
use crate::attachment::verdict::Object;
use crate::names::foreign;

/// The object in the way, and what helps.
pub(in crate::attachment) struct WayOut {
    pub(in crate::attachment) object: Object,
    pub(in crate::attachment) next: String,
    /// What is said in its place to who asks once, where `next` promises that it goes on by
    /// itself.
    pub(in crate::attachment) once: Option<String>,
}

/// A name as it may stand in a command. Kubernetes has no other names than these; whatever
/// else got here is not handed to anybody's shell.
pub(in crate::attachment) fn name_in_command(name: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain) {
        name
    } else {
        "NAME"
    }
}

impl WayOut {
    /// What is to be said of an attachment of which only the object matters.
    pub(in crate::attachment) fn of_attachment(standing: &Standing) -> Self {
        let name = name_in_command(&standing.attachment.name);
        let (next, once) = if standing.attachment.leaving {
            let next = format!(
                "It is on its way out, and this is asked again by itself once it is gone. To see since when, and what holds it: kubectl describe volumeattachment {name}"
            );
            let once = format!(
                "It is on its way out. Ask again once it is gone: kubectl wait --for=delete volumeattachment/{name}"
            );
            (next, Some(once))
        } else {
            let next = format!(
                "It goes when no pod uses the volume there. To see it: kubectl describe volumeattachment {name}"
            );
            (next, None)
        };
        Self {
            object: Object {
                kind: "VolumeAttachment",
                namespace: None,
                name: name.to_owned(),
            },
            next,
            once,
        }
    }

    /// What is to be said of an attachment by what is known of its node and of the pods
    /// there. What is not known is not needed.
    pub(in crate::attachment) fn of(seen: &Observations, standing: &Standing) -> Self {
        let node = name_in_command(&standing.attachment.node);
        match seen.node(&standing.attachment.node) {
            Ok(None) => {
                let attachment = Self::of_attachment(standing);
                let name = name_in_command(&standing.attachment.name);
                let next = format!(
                    "Once the machine of that node is certainly off: kubectl delete volumeattachment {name}"
                );
                Self {
                    next,
                    once: None,
                    ..attachment
                }
            }
            Ok(Some(found)) if !found.ready && !found.out_of_service => Self::of_lost_node(node),
            _ if standing.attachment.leaving => Self::of_attachment(standing),
            Ok(Some(found)) if !found.ready => Self::of_node_out_of_service(standing),
            _ => Self::of_pod(seen, standing).unwrap_or_else(|| Self::of_attachment(standing)),
        }
    }

    /// What is to be said where nothing is shared with a node that may be lost. One that is ready
    /// is kept apart by the taint alone, and its pods need not end for that.
    pub(in crate::attachment) fn of_node_loss(seen: &Observations, standing: &Standing) -> Self {
        match seen.node(&standing.attachment.node) {
            Ok(Some(found))
                if found.ready && found.out_of_service && !standing.attachment.leaving =>
            {
                Self::of_node_that_is_back(&standing.attachment.node)
            }
            _ => Self::of(seen, standing),
        }
    }

    /// What is to be said where several attachments are too many: of the one that there is to
    /// wait for, which is on its way out already, has no machine, or never came true. The machine
    /// that is to move is not told to stop for it.
    pub(in crate::attachment) fn of_several(
        seen: &Observations,
        first: &Standing,
        more: &[&Standing],
    ) -> Self {
        let is_machine =
            |pod: &&Pod| matches!(pod.role, Role::Launcher { .. } | Role::HotPlug { .. });
        let has_none = |standing: &&&Standing| {
            let users = seen.users(&standing.attachment.node);
            users.is_ok_and(|users| !users.iter().any(is_machine))
        };
        let all: Vec<&Standing> = std::iter::once(first).chain(more.iter().copied()).collect();
        let leaving = all.iter().find(|standing| standing.attachment.leaving);
        // No machine runs where the volume was only promised.
        let promised = || all.iter().find(|standing| !standing.attachment.attached);
        let found = leaving
            .or_else(|| all.iter().find(has_none))
            .or_else(promised);
        let last = more.last().copied().unwrap_or(first);
        Self::of(seen, found.copied().unwrap_or(last))
    }

    /// What is to be said of a node that is not ready and may still write.
    pub(in crate::attachment) fn of_lost_node(node: &str) -> Self {
        let node = name_in_command(node);
        let lost = format!(
            "If it is lost, switch its machine off and then say so with: kubectl taint node {node} {}=nodeshutdown:NoExecute",
            foreign::OUT_OF_SERVICE
        );
        Self {
            object: node_object(node),
            next: format!("It goes on once the node is ready again. {lost}"),
            once: Some(format!("Ask again once the node is ready again. {lost}")),
        }
    }

    /// What is to be said of a node that is off, by a person's word: nobody can stop a pod there,
    /// and nobody need do anything.
    fn of_node_out_of_service(standing: &Standing) -> Self {
        let attachment = Self::of_attachment(standing);
        let name = name_in_command(&standing.attachment.name);
        let removed = "once Kubernetes has removed the pods of its node, which is out of service";
        let next = format!(
            "It goes by itself {removed}. To see it: kubectl describe volumeattachment {name}"
        );
        let once = format!(
            "It goes {removed}. Ask again then: kubectl wait --for=delete volumeattachment/{name}"
        );
        Self {
            next,
            once: Some(once),
            ..attachment
        }
    }

    /// What is to be said of a node that works and of which a person still says that it is off.
    fn of_node_that_is_back(node: &str) -> Self {
        let node = name_in_command(node);
        Self {
            object: node_object(node),
            next: format!(
                "It is ready. If it is well, say so with: kubectl taint node {node} {}-",
                foreign::OUT_OF_SERVICE
            ),
            once: None,
        }
    }

    fn of_pod(seen: &Observations, standing: &Standing) -> Option<Self> {
        let users = seen.users(&standing.attachment.node).ok()?;
        let pod = users.first()?;
        let namespace = name_in_command(&pod.namespace);
        let name = name_in_command(&pod.name);
        let what = match pod.role {
            Role::Launcher { .. } | Role::HotPlug { .. } => {
                "It is free once the machine was stopped or has moved away"
            }
            Role::Reader | Role::Writer => "It is free once the copy is done",
            Role::Other => "It is free once the pod has ended",
        };
        Some(Self {
            object: Object {
                kind: "Pod",
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
            },
            next: format!("{what}. To see it: kubectl describe pod -n {namespace} {name}"),
            once: None,
        })
    }
}

fn node_object(name: &str) -> Object {
    Object {
        kind: "Node",
        namespace: None,
        name: name.to_owned(),
    }
}
