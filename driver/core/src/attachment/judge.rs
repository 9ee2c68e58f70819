//! Whether a node may have a volume: the one rule of the webhook and of
//! ControllerPublishVolume.
//!
//! From the surest to the most particular: no shared filesystem; a volume for one node has
//! one; no volume has three; nothing is shared with a node that may be lost; and a second
//! node is for the live migration of the machine on the first, or for who only
//! reads. An attachment counts until it is gone, whatever is known of its node, and no
//! clock decides: there is no window in which another node may take what one has.

mod second;
mod tie;
mod way_out;

use super::exception::Moment;
use super::mode::{Mode, Modes, Seat};
use super::observation::{Observations, Standing, Unread};
use super::verdict::{Denial, Finding, Judgement, Noted, Object, Reason, Rule, Verdict};
use crate::access::AccessMode;
pub(super) use way_out::{WayOut, name_in_command};

/// Who asks for what.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The node that is to have the volume.
    pub node: &'a str,
    /// How it will use it, where that is known: ControllerPublishVolume's access mode.
    pub access: Option<AccessMode>,
    /// Who asks.
    pub seat: Seat,
    /// How strictly the rules are held.
    pub modes: &'a Modes,
    /// The asker's clock, for the end of exceptions and nothing else.
    pub now: &'a Moment,
}

/// Judges a request by what was observed. The same observations give the same verdict, and
/// one that was allowed is allowed again once it has come true. Beside another node, a yes that
/// has not come true yet is judged anew, for those who ask now: nobody uses what is not attached.
///
/// Parts of the observations that no rule needs may be
/// [`NotYet`](super::observation::Reading::NotYet): the common case, a volume that no other
/// node has, needs none of them. Otherwise the verdict is [`Verdict::Unknown`] and names the
/// part.
#[must_use]
pub fn judge(request: &Request<'_>, seen: &Observations) -> Judgement {
    let mut judge = Judge {
        request,
        seen,
        noted: Vec::new(),
    };
    let verdict = match judge.verdict() {
        Ok(verdict) => verdict,
        Err(Stop::Deny(mut denial)) => {
            denial.held |= judge.own_holds();
            Verdict::Deny(*denial)
        }
        Err(Stop::Unread(unread)) => Verdict::Unknown(unread),
    };
    Judgement {
        verdict,
        noted: judge.noted,
    }
}

/// Why a judgement ends before it allows.
#[derive(Debug)]
enum Stop {
    Deny(Box<Denial>),
    Unread(Unread),
}

impl From<Unread> for Stop {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

struct Judge<'a> {
    request: &'a Request<'a>,
    seen: &'a Observations,
    noted: Vec<Noted>,
}

impl<'a> Judge<'a> {
    fn verdict(&mut self) -> Result<Verdict, Stop> {
        if let Some(denial) = self.shared_filesystem().or_else(|| self.leaving()) {
            return self.refuse(denial);
        }
        let holders = self.holders()?;
        let [holder, more @ ..] = holders.as_slice() else {
            let stands = self.own_holds();
            let reason = if stands {
                Reason::Stands
            } else {
                Reason::Alone
            };
            return Ok(Verdict::Allow(reason));
        };
        if let Some(denial) = self.too_many(holder, more) {
            return self.refuse(denial);
        }
        if self.own().any(|own| own.attachment.attached) {
            return Ok(Verdict::Allow(Reason::Stands));
        }
        let lost = self.node_loss(holder);
        self.weigh(Rule::NodeLoss, lost)?;
        let second = second::second(self.request, self.seen, holder);
        let judged = self.weigh(Rule::SameMachine, second)?;
        Ok(judged.unwrap_or(Verdict::Allow(Reason::Relaxed)))
    }

    fn refuse(&mut self, denial: Denial) -> Result<Verdict, Stop> {
        self.weigh(denial.rule, Err(Stop::Deny(Box::new(denial))))
            .map(|judged| judged.unwrap_or(Verdict::Allow(Reason::Relaxed)))
    }

    /// Lets pass what a rule refuses that is not enforced, and notes it.
    fn weigh<T>(&mut self, rule: Rule, said: Result<T, Stop>) -> Result<Option<T>, Stop> {
        let mode = self.request.modes.of(rule, self.request.seat);
        match said {
            Ok(said) => Ok(Some(said)),
            Err(stop) if mode == Mode::Enforce => Err(stop),
            Err(stop) => {
                let finding = match stop {
                    Stop::Deny(denial) => Finding::Denial(*denial),
                    Stop::Unread(unread) => Finding::Unread(unread),
                };
                self.noted.push(Noted { mode, finding });
                Ok(None)
            }
        }
    }

    fn own(&self) -> impl Iterator<Item = &'a Standing> {
        let node = self.request.node;
        let all = self.seen.attachments.iter();
        all.filter(move |standing| standing.attachment.node == node)
    }

    fn own_holds(&self) -> bool {
        self.own().any(Standing::holds)
    }

    fn shared_filesystem(&self) -> Option<Denial> {
        let volume = &self.seen.volume;
        (volume.is_for_many() && !volume.is_block).then(|| Denial {
            rule: Rule::SharedFilesystem,
            why: "two nodes that mount one ext4 or xfs destroy it, and the volume is a filesystem for many".to_owned(),
            object: Object {
                kind: "PersistentVolume",
                namespace: None,
                name: volume.persistent_volume.clone(),
            },
            next: "Use volumeMode: Block for a VM disk, or accessModes: [ReadWriteOnce] for a filesystem".to_owned(),
            held: false,
        })
    }

    /// An attachment that is being deleted is not given anew: who asks waits for the next.
    fn leaving(&self) -> Option<Denial> {
        let mut own = self.own().peekable();
        let first = *own.peek()?;
        if own.any(|standing| !standing.attachment.leaving) {
            return None;
        }
        let way_out = WayOut::of_attachment(first);
        Some(Denial {
            rule: Rule::Leaving,
            why: format!(
                "the attachment to node {} is being deleted; the next one is judged anew",
                self.request.node
            ),
            object: way_out.object,
            next: way_out.next,
            held: true,
        })
    }

    /// The attachments of other nodes that count, one a node.
    fn holders(&self) -> Result<Vec<&'a Standing>, Unread> {
        let mut holders: Vec<&'a Standing> = Vec::new();
        for standing in &self.seen.attachments {
            let node = &standing.attachment.node;
            let known = |holder: &&Standing| holder.attachment.node == *node;
            if *node == self.request.node || holders.iter().any(known) {
                continue;
            }
            if self.counts(standing)? {
                holders.push(standing);
            }
        }
        // The same words for the same state, however it was listed.
        holders.sort_by(|one, other| one.attachment.node.cmp(&other.attachment.node));
        Ok(holders)
    }

    /// The driver counts what it granted or what came true: two wishes that wait for each
    /// other would never end otherwise. The webhook counts wishes too, and so hears the
    /// third node early, but not those that nobody takes back or that the driver refuses: they
    /// stand for as long as their pod waits, and would keep out whoever may come in.
    fn counts(&self, standing: &Standing) -> Result<bool, Unread> {
        if standing.holds() {
            return Ok(true);
        }
        let node = &standing.attachment.node;
        match self.request.seat {
            Seat::Driver => Ok(false),
            Seat::Admission => Ok(self.seen.node(node)?.is_some() && self.is_next(node)?),
        }
    }

    /// Whether the driver would grant another node's wish as things are.
    fn is_next(&self, node: &str) -> Result<bool, Unread> {
        let request = Request {
            node,
            access: None,
            seat: Seat::Driver,
            ..*self.request
        };
        match judge(&request, self.seen).verdict {
            Verdict::Allow(_) | Verdict::AllowAsMigration(_) => Ok(true),
            Verdict::Deny(_) => Ok(false),
            Verdict::Unknown(unread) => Err(unread),
        }
    }

    fn too_many(&self, holder: &Standing, more: &[&Standing]) -> Option<Denial> {
        let volume = &self.seen.volume;
        let narrow = self.request.access.filter(|mode| !mode.is_multi_node());
        let node = &holder.attachment.node;
        let (rule, why) = if !volume.is_migratable() || narrow.is_some() {
            let mode =
                narrow.map_or_else(|| volume.access_modes.join(", "), |mode| mode.to_string());
            let has = holder.has();
            let why = format!("node {node} {has} the volume and {mode} allows one node");
            (Rule::SingleNode, why)
        } else {
            let other = more.first()?;
            let have = if holder.holds() && other.holds() {
                "have"
            } else {
                "have or are about to get"
            };
            let why = format!(
                "nodes {node} and {} {have} the volume, and two is the most that a live migration needs",
                other.attachment.node
            );
            (Rule::TwoNodes, why)
        };
        let way_out = WayOut::of_several(self.seen, holder, more);
        Some(Denial {
            rule,
            why,
            object: way_out.object,
            next: way_out.next,
            held: false,
        })
    }

    /// Nothing is shared with a node that is not known to work: if it is off, its
    /// attachment goes first, and if it is not, it may be writing.
    fn node_loss(&self, holder: &Standing) -> Result<(), Stop> {
        let (node, has) = (&holder.attachment.node, holder.has());
        let why = match self.seen.node(node)? {
            Some(found) if found.ready && !found.out_of_service => return Ok(()),
            Some(found) if found.out_of_service => {
                format!(
                    "node {node} {has} the volume, is out of service, and has not let go of it yet"
                )
            }
            Some(_) => {
                format!("node {node} {has} the volume, is not ready, and may still write to it")
            }
            None => format!(
                "node {node} {has} the volume and is in the cluster no more; its machine may still write to it"
            ),
        };
        let way_out = WayOut::of_node_loss(self.seen, holder);
        Err(Stop::Deny(Box::new(Denial {
            rule: Rule::NodeLoss,
            why,
            object: way_out.object,
            next: way_out.next,
            held: false,
        })))
    }
}

#[cfg(test)]
pub(super) mod tests;
