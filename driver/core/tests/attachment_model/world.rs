//! The state of the model: one volume, three nodes, one machine, and who believes what.
//!
//! Nodes are alike, so worlds that differ only in their order are one: sites are kept
//! sorted, and what belongs to a node (its attachment, its pod, the call about it) lies in
//! its site.

use super::known::Number;

/// How a node is, and what the cluster knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Health {
    /// It works.
    Ready,
    /// It is cut off from the API server, and nobody has noticed yet: it counts as ready.
    Cut,
    /// It is not ready, and its machine runs on.
    Lost,
    /// It is not ready, and its machine is off.
    Off,
    /// Its machine is off, and a person said so by the taint.
    Tainted,
    /// Its machine is off, and a person removed it from the cluster.
    Vanished,
}

/// A VolumeAttachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Attachment {
    pub(crate) leaving: bool,
    pub(crate) attached: bool,
    /// Whether it stands in the record of the PersistentVolume.
    pub(crate) granted: bool,
    /// Whether it was made for a Node object, if not a machine, that had the name before.
    pub(crate) before: bool,
    /// Whether it was granted to pods that only read, and its node was told so.
    pub(crate) reader: bool,
}

impl Attachment {
    pub(crate) fn holds(self) -> bool {
        self.attached || self.granted
    }
}

/// Which machine a pod or a guest belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// The machine.
    Ours,
    /// An earlier life of it, of which the cluster has forgotten the pod.
    Forgotten,
    /// Another machine, whose author named the same claim.
    Stranger,
}

/// A launcher pod that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Launcher {
    pub(crate) whose: Whose,
    pub(crate) runs: bool,
    /// Whether it was made as the target of a migration that has not handed over.
    pub(crate) target: bool,
    /// Whether it is to end.
    pub(crate) ends: bool,
}

/// A pod that only reads the volume, such as the source of a clone. Its process may be read of
/// as long as it likes: what counts is that kubelet keeps the volume for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reader {
    None,
    /// It is bound to the node and has not begun.
    Waits,
    Runs,
}

/// A guest, as a process on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Guest {
    None,
    /// It has the device open and waits for a migration to arrive.
    Waits,
    Writes(Whose),
}

/// A call of ControllerPublishVolume about a node, on one of the controller's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    None,
    /// It has read the PersistentVolume with the record.
    Read,
    /// It has read the attachments, too: see [`Site::listed`].
    Listed,
    /// It has read the rest and will write the record over the version that it read.
    Decided(Decision),
}

/// What a call has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Decision {
    pub(crate) next: Next,
    /// Whether the node gets the volume only to read it.
    pub(crate) reader: bool,
}

/// What follows once the record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Next {
    /// The node gets the volume.
    Attach,
    /// The same, and what the record had of the node itself is gone from it.
    Clean,
    /// The export is to end first.
    Fence,
}

/// A node and all that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Site {
    pub(crate) health: Health,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) pod: Option<Launcher>,
    pub(crate) reader: Reader,
    /// `status.volumesInUse`, as last reported.
    pub(crate) in_use: bool,
    /// Whether the node is connected to the volume and may write.
    pub(crate) session: bool,
    pub(crate) guest: Guest,
    pub(crate) call: Call,
    /// Its attachment as the call that is [`Call::Listed`] has read it.
    pub(crate) listed: Option<Attachment>,
    /// Whether it had an attachment that went although nobody knew that it had let go.
    pub(crate) lost: bool,
    /// Whether another machine has taken the node's name while the one that had it before is
    /// connected and writes.
    pub(crate) former: bool,
}

impl Site {
    pub(crate) const FRESH: Self = Self {
        health: Health::Ready,
        attachment: None,
        pod: None,
        reader: Reader::None,
        in_use: false,
        session: false,
        guest: Guest::None,
        call: Call::None,
        listed: None,
        lost: false,
        former: false,
    };

    /// Another number for every other site.
    fn number(&self) -> u64 {
        let bits = |flags: &[bool]| {
            flags
                .iter()
                .fold(0, |sum, flag| sum << 1 | u64::from(*flag))
        };
        let of = |found: Option<Attachment>| {
            found.map_or(0, |found| {
                let Attachment {
                    leaving,
                    attached,
                    granted,
                    before,
                    reader,
                } = found;
                1 + bits(&[leaving, attached, granted, before, reader])
            })
        };
        let pod = self.pod.map_or(0, |pod| {
            1 + pod.whose as u64 * 8 + bits(&[pod.runs, pod.target, pod.ends])
        });
        let guest = match self.guest {
            Guest::None => 0,
            Guest::Waits => 1,
            Guest::Writes(whose) => 2 + whose as u64,
        };
        let call = match self.call {
            Call::None => 0,
            Call::Read => 1,
            Call::Listed => 2,
            Call::Decided(decision) => 3 + decision.next as u64 * 2 + u64::from(decision.reader),
        };
        let parts = [
            (self.health as u64, 3),
            (of(self.attachment), 6),
            (of(self.listed), 6),
            (pod, 5),
            (self.reader as u64, 2),
            (guest, 3),
            (call, 4),
            (
                bits(&[self.in_use, self.session, self.lost, self.former]),
                4,
            ),
        ];
        let parts = parts.into_iter();
        parts.fold(0, |sum, (part, wide)| sum << wide | part)
    }

    /// Whether the cluster takes it for ready.
    pub(crate) fn seems_ready(&self) -> bool {
        matches!(self.health, Health::Ready | Health::Cut)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.health == Health::Ready
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self.guest, Guest::Writes(_))
    }

    /// Whether a pod is there for which kubelet keeps the volume.
    pub(crate) fn has_pod(&self) -> bool {
        self.pod.is_some() || self.reader != Reader::None
    }

    pub(crate) fn holds(&self) -> bool {
        self.attachment.is_some_and(Attachment::holds)
    }

    /// Whether its node has the volume only to be read: the kernel there refuses writes.
    pub(crate) fn only_reads(&self) -> bool {
        self.attachment.is_some_and(|own| own.reader)
    }

    /// Whether a machine was to run here, and cannot write.
    pub(crate) fn is_kept_out(&self) -> bool {
        self.only_reads() && self.pod.is_some_and(|pod| !pod.runs && !pod.ends)
    }

    /// Whether a pod of a stranger waits for what was promised to another one and never came true:
    /// the promise stands while the pod does.
    pub(crate) fn is_stray_on_a_promise(&self) -> bool {
        let is_stray = self
            .pod
            .is_some_and(|pod| pod.whose == Whose::Stranger && !pod.ends);
        is_stray
            && self
                .attachment
                .is_some_and(|own| own.granted && !own.attached)
    }

    /// Whether the export ended under the machine: its pod runs on, and the guest has failed.
    pub(crate) fn has_lost_its_disk(&self) -> bool {
        let runs = self.pod.is_some_and(|pod| pod.runs && !pod.ends);
        self.is_ready() && runs && self.guest == Guest::None
    }

    /// Whether its pod is the target of the migration that goes on.
    pub(crate) fn is_target(&self) -> bool {
        self.pod.is_some_and(|pod| pod.target && !pod.ends)
    }
}

/// How far the migration has come that goes on. One that has ended is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Migrating {
    None,
    Pending,
    /// There is a target pod.
    Targeted,
    /// The hand-over: both sides have the disk open for writing, and libvirt sees to it
    /// that one writes.
    HandOver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) sites: [Site; 3],
    pub(crate) migration: Migrating,
    pub(crate) migrations_left: u8,
    pub(crate) losses_left: u8,
    pub(crate) strangers_left: u8,
    pub(crate) readers_left: u8,
    pub(crate) replacements_left: u8,
}

impl World {
    /// Another number for every other world. A search looks every world up that it comes to, and
    /// field by field that would be most of its time.
    pub(crate) fn number(&self) -> Number {
        let left = [
            self.migrations_left,
            self.losses_left,
            self.strangers_left,
            self.readers_left,
            self.replacements_left,
        ];
        let rest = left.into_iter().fold(self.migration as u64, |sum, left| {
            sum << 2 | u64::from(left)
        });
        let sites = self.sites.iter().map(Site::number);
        let number = sites.fold(u128::from(rest), |sum, site| sum << 33 | u128::from(site));
        Number::new(number)
    }
}

impl World {
    /// A call ends, and what it has read is forgotten.
    pub(crate) fn end_call(&mut self, site: usize) {
        if self.sites[site].call == Call::Listed {
            for site in &mut self.sites {
                site.listed = None;
            }
        }
        self.sites[site].call = Call::None;
    }

    /// A node is told that it has the volume.
    pub(crate) fn attach(&mut self, site: usize, next: Next) {
        let site = &mut self.sites[site];
        if let Some(attachment) = &mut site.attachment {
            attachment.attached = true;
        }
        site.lost &= next != Next::Clean;
    }

    /// The world with the attachments that a call has listed.
    pub(crate) fn as_listed(mut self) -> Self {
        for site in &mut self.sites {
            site.attachment = site.listed;
        }
        self
    }

    pub(crate) fn holders(&self) -> usize {
        self.sites.iter().filter(|site| site.holds()).count()
    }

    pub(crate) fn writers(&self) -> usize {
        let guests = self.sites.iter().filter(|site| site.writes()).count();
        guests + self.sites.iter().filter(|site| site.former).count()
    }
}
