//! The attach-detach controller, and the driver's with the rules.

use rds_csi_core::attachment::exception::Moment;
use rds_csi_core::attachment::observation::Standing;
use rds_csi_core::attachment::{
    Fence, Mode, Modes, Release, Request, Rule, Seat, Verdict, judge, release,
};

use super::{By, NAMES, Steps};
use crate::bounds::{Broken, Rules};
use crate::known::Known;
use crate::world::{Attachment, Call, Decision, Guest, Health, Next, Reader, Whose, World};

/// What the rules have said: many worlds look alike, and to ask is most of a search.
#[derive(Default)]
pub(crate) struct Answers {
    /// Whether a node may have the volume, asked by the driver or else by the webhook, and
    /// whether only to read it.
    judged: Known<Option<bool>>,
    /// Whether a node is taken to have let go, and whether it is known to have.
    released: Known<Option<bool>>,
    /// What is to be done before a node uses the volume.
    fences: Known<Option<Next>>,
}

impl Answers {
    fn judge(&mut self, rules: &Rules, world: &World, n: usize, seat: Seat) -> Option<bool> {
        let looks = world.visible();
        let question = n * 2 + usize::from(seat == Seat::Driver);
        let said = self.judged.entry(looks.number().question(question));
        *said.or_insert_with(|| rules.judge(&looks, n, seat))
    }

    fn lets_go(&mut self, rules: &Rules, world: &World, n: usize) -> Option<bool> {
        let looks = world.visible_with_record();
        let said = self.released.entry(looks.number().question(n));
        *said.or_insert_with(|| rules.lets_go(&looks, n))
    }

    /// What follows once the record is written; `None` where another node is to use the volume
    /// first.
    fn next(&mut self, world: &World, n: usize) -> Option<Next> {
        let recorded = world.recorded();
        let said = self.fences.entry(recorded.number().question(n));
        *said.or_insert_with(|| match recorded.fence(n) {
            Fence::Clear | Fence::InUse { .. } => Some(Next::Attach),
            Fence::Clean(_) => Some(Next::Clean),
            Fence::Due { .. } => Some(Next::Fence),
            Fence::Underway { .. } => None,
        })
    }
}

impl Rules {
    fn judge(&self, world: &World, n: usize, seat: Seat) -> Option<bool> {
        let mut seen = world.seen(self.for_many);
        match self.broken {
            Some(Broken::LeavingIsGone) => {
                seen.attachments
                    .retain(|standing| !standing.attachment.leaving);
            }
            Some(Broken::NoRecord) => {
                for standing in &mut seen.attachments {
                    standing.granted = false;
                }
            }
            Some(Broken::GrantedStands) => {
                for standing in &mut seen.attachments {
                    let is_own = standing.attachment.node == NAMES[n];
                    standing.attachment.attached |= is_own && standing.granted;
                }
            }
            _ => {}
        }
        let request = Request {
            node: NAMES[n],
            access: None,
            seat,
            modes: &self.modes(),
            now: &Moment::last(),
        };
        let verdict = judge(&request, &seen).verdict;
        match verdict {
            Verdict::Allow(_) | Verdict::AllowAsMigration(_) => {
                let is_told = self.broken != Some(Broken::ReadersMayWrite);
                Some(is_told && verdict.is_for_readers())
            }
            Verdict::Deny(_) => None,
            Verdict::Unknown(unread) => panic!("{unread}"),
        }
    }

    fn modes(&self) -> Modes {
        let without = |rule| Modes::default().with(rule, Mode::Audit);
        match self.broken {
            Some(Broken::UnreadyIsGone) => without(Rule::NodeLoss),
            Some(Broken::AnyMachine) => without(Rule::SameMachine),
            _ => Modes::default(),
        }
    }

    fn lets_go(&self, world: &World, n: usize) -> Option<bool> {
        if self.broken == Some(Broken::InUseIsGone) && world.sites[n].seems_ready() {
            return Some(true);
        }
        let seen = world.seen(self.for_many);
        match release(Some(NAMES[n]), &self.modes(), &seen) {
            Release::LetGo(why) => {
                let (record, mut all) = (world.record(None), seen.attachments.iter());
                let own = all.find(|found| found.attachment.node == NAMES[n]);
                let is_certain = |own: &Standing| {
                    let recorded = record.entry(&own.attachment.uid);
                    why.is_certain(&own.attachment, recorded)
                };
                Some(own.is_some_and(is_certain))
            }
            Release::Keep(_) => None,
            Release::Unknown(unread) => panic!("{unread}"),
        }
    }
}

impl Steps<'_> {
    /// It wishes for an attachment where a pod is, and takes the wish back where none is and
    /// kubelet says that nothing is in use, or kubelet says nothing any more.
    pub(super) fn attach_detach_controller(&mut self, n: usize) {
        let site = self.from.sites[n];
        let wants = site.pod.is_some_and(|pod| !pod.ends);
        match site.attachment {
            None if (wants || site.reader != Reader::None) && self.admits(n) => {
                self.at(By::System, "a wish is made", n, |site| {
                    site.attachment = Some(Attachment::default());
                });
            }
            Some(attachment)
                if !attachment.leaving
                    && !site.has_pod()
                    && (!site.in_use || !site.seems_ready()) =>
            {
                self.at(By::System, "a wish is taken back", n, |site| {
                    site.attachment = Some(Attachment {
                        leaving: true,
                        ..attachment
                    });
                });
            }
            _ => {}
        }
        if matches!(site.health, Health::Tainted | Health::Vanished) && site.has_pod() {
            self.at(
                By::System,
                "the pods of a node that is off are removed",
                n,
                |site| (site.pod, site.reader) = (None, Reader::None),
            );
        }
    }

    /// Whether the webhook lets the wish pass. A webhook that is absent or behind lets
    /// everything pass, which is the harder case for the driver; it is absent when a stranger asks.
    fn admits(&mut self, n: usize) -> bool {
        let (rules, from) = (self.rules, &self.from);
        let pod = from.sites[n].pod;
        let is_stray = pod.is_some_and(|pod| pod.whose == Whose::Stranger);
        let mut asked = || self.answers.judge(rules, from, n, Seat::Admission);
        !rules.webhook || is_stray || asked().is_some()
    }

    /// ControllerPublishVolume in its three steps, on two replicas, and ControllerUnpublish.
    pub(super) fn controller(&mut self, n: usize) {
        let site = self.from.sites[n];
        let Some(attachment) = site.attachment else {
            return;
        };
        match site.call {
            Call::None if !attachment.attached && !attachment.leaving => self.read(n),
            Call::None => {}
            Call::Read => self.decide(n, &self.from.clone()),
            Call::Listed => self.decide(n, &self.from.as_listed()),
            Call::Decided(decision) => self.write(n, decision),
        }
        if site.call != Call::None {
            self.step(By::System, "a call dies", n, |world| world.end_call(n));
        }
        if attachment.leaving
            && let Some(certain) = self.answers.lets_go(self.rules, &self.from, n)
        {
            self.step(By::System, "the attachment goes", n, |world| {
                world.end_call(n);
                world.sites[n].attachment = None;
                world.sites[n].lost |= attachment.holds() && !certain;
            });
        }
    }

    /// A call reads the record, and one of the two reads the attachments long before the rest.
    fn read(&mut self, n: usize) {
        let calls = self.from.sites.iter().map(|site| site.call);
        if calls.clone().filter(|call| *call != Call::None).count() >= self.rules.replicas {
            return;
        }
        if self.rules.torn && calls.clone().all(|call| call != Call::Listed) {
            self.step(By::System, "record and attachments are read", n, |world| {
                world.sites[n].call = Call::Listed;
                for site in &mut world.sites {
                    site.listed = site.attachment;
                }
            });
        } else {
            self.at(By::System, "the record is read", n, |site| {
                site.call = Call::Read;
            });
        }
    }

    /// The rest is read, and the verdict given by what `seen` says.
    fn decide(&mut self, n: usize, seen: &World) {
        let said = self.answers.judge(self.rules, seen, n, Seat::Driver);
        let reader = said.unwrap_or_default();
        let own = seen.sites[n].attachment.unwrap_or_default();
        let granted = own.granted && (own.reader || !reader);
        let next = said.and_then(|_| self.next(n, seen));
        match next {
            None => self.step(By::System, "a node is refused", n, |world| {
                world.end_call(n);
            }),
            Some(Next::Fence) if granted => {
                self.step(By::System, "the export ends and begins anew", n, |world| {
                    world.end_call(n);
                    for site in &mut world.sites {
                        (site.session, site.guest) = (false, Guest::None);
                        (site.lost, site.former) = (false, false);
                    }
                });
            }
            Some(next) if granted => {
                self.step(By::System, "what was granted is attached", n, |world| {
                    world.end_call(n);
                    world.attach(n, next);
                });
            }
            Some(next) => self.step(By::System, "a node is to get it", n, |world| {
                world.end_call(n);
                world.sites[n].call = Call::Decided(Decision { next, reader });
            }),
        }
    }

    /// What follows once the record is written; `None` where another node is to use the volume
    /// first, or no pod is there for which others would be shut out.
    fn next(&mut self, n: usize, seen: &World) -> Option<Next> {
        let lost = seen.sites.iter().any(|site| site.lost);
        if !self.rules.fencing || !lost {
            return Some(Next::Attach);
        }
        let next = self.answers.next(seen, n)?;
        (next != Next::Fence || self.is_wanted(n, seen)).then_some(next)
    }

    fn is_wanted(&self, n: usize, seen: &World) -> bool {
        let seen = seen.seen(self.rules.for_many);
        seen.is_wanted(NAMES[n]).is_ok_and(|wanted| wanted)
    }

    /// The record is written over the version that was read, so every other call that is
    /// under way has read another one and begins anew. The answer arrives, or is lost.
    fn write(&mut self, n: usize, Decision { next, reader }: Decision) {
        let no_record = self.rules.broken == Some(Broken::NoRecord);
        for (what, answered) in [
            ("it is granted", true),
            ("it is granted and the answer lost", false),
        ] {
            self.step(By::System, what, n, |world| {
                if !no_record {
                    for site in 0..3 {
                        world.end_call(site);
                    }
                }
                world.end_call(n);
                if let Some(attachment) = &mut world.sites[n].attachment {
                    attachment.granted = true;
                    attachment.reader |= reader;
                }
                if answered && next != Next::Fence {
                    world.attach(n, next);
                }
            });
        }
    }
}
