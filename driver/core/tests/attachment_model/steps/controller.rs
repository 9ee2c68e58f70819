//! The attach-detach controller, and the driver's with the rules.

use rds_csi_core::attachment::{
    Mode, Modes, Release, Request, Rule, Seat, Verdict, judge, release,
};

use super::{By, NAMES, Steps};
use crate::Broken;
use crate::world::{Attachment, Call, Guest, Health, World};

impl Steps<'_> {
    /// It wishes for an attachment where a pod is, and takes the wish back where none is and
    /// kubelet says that nothing is in use, or kubelet says nothing any more.
    pub(super) fn attach_detach_controller(&mut self, n: usize) {
        let site = self.from.sites[n];
        match site.attachment {
            None if site.pod.is_some_and(|pod| !pod.ends) && self.admits(n) => {
                self.at(By::System, "a wish is made", n, |site| {
                    site.attachment = Some(Attachment::default());
                });
            }
            Some(attachment)
                if !attachment.leaving
                    && site.pod.is_none()
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
        if matches!(site.health, Health::Tainted | Health::Vanished) && site.pod.is_some() {
            self.at(
                By::System,
                "the pod of a node that is off is removed",
                n,
                |site| {
                    site.pod = None;
                },
            );
        }
    }

    /// Whether the webhook lets the wish pass. A webhook that is absent or behind lets
    /// everything pass, which is the harder case for the driver.
    fn admits(&self, n: usize) -> bool {
        !self.rules.webhook || self.judge(&self.from, n, Seat::Admission)
    }

    fn judge(&self, world: &World, n: usize, seat: Seat) -> bool {
        let mut seen = world.seen(self.rules.for_many);
        match self.rules.broken {
            Some(Broken::LeavingIsGone) => {
                seen.attachments
                    .retain(|standing| !standing.attachment.leaving);
            }
            Some(Broken::NoRecord) => {
                for standing in &mut seen.attachments {
                    standing.granted = false;
                }
            }
            _ => {}
        }
        let Ok(now) = "2026-06-01T00:00:00Z".parse() else {
            panic!("no moment");
        };
        let request = Request {
            node: NAMES[n],
            access: None,
            seat,
            modes: &self.modes(),
            now: &now,
        };
        match judge(&request, &seen).verdict {
            Verdict::Allow(_) | Verdict::AllowAsMigration(_) => true,
            Verdict::Deny(_) => false,
            Verdict::Unknown(unread) => panic!("{unread}"),
        }
    }

    fn modes(&self) -> Modes {
        let without = |rule| Modes::default().with(rule, Mode::Audit);
        match self.rules.broken {
            Some(Broken::UnreadyIsGone) => without(Rule::NodeLoss),
            Some(Broken::AnyMachine) => without(Rule::SameMachine),
            _ => Modes::default(),
        }
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
            Call::Decided => self.write(n),
        }
        if site.call != Call::None {
            self.step(By::System, "a call dies", n, |world| world.end_call(n));
        }
        if attachment.leaving
            && let Some(certain) = self.lets_go(n)
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
        let granted = seen.sites[n].attachment.is_some_and(|own| own.granted);
        if !self.judge(seen, n, Seat::Driver) {
            self.step(By::System, "a node is refused", n, |world| {
                world.end_call(n);
            });
        } else if granted && self.is_fence_due(n) {
            self.step(By::System, "the export ends and begins anew", n, |world| {
                world.end_call(n);
                for site in &mut world.sites {
                    (site.session, site.guest, site.lost) = (false, Guest::None, false);
                }
            });
        } else if granted {
            self.step(By::System, "what was granted is attached", n, |world| {
                world.end_call(n);
                if let Some(attachment) = &mut world.sites[n].attachment {
                    attachment.attached = true;
                }
            });
        } else {
            self.step(By::System, "a node is to get it", n, |world| {
                world.end_call(n);
                world.sites[n].call = Call::Decided;
            });
        }
    }

    /// Whether a lost node is to be shut out before this one uses the volume. Not while another
    /// one is on the same export.
    fn is_fence_due(&self, n: usize) -> bool {
        let others = || (0..3).filter(|other| *other != n);
        let sites = &self.from.sites;
        let attached = |found: Attachment| found.attached;
        self.rules.fencing
            && others().any(|other| sites[other].lost)
            && !sites
                .iter()
                .any(|site| site.attachment.is_some_and(attached))
    }

    /// The record is written over the version that was read, so every other call that is
    /// under way has read another one and begins anew. The answer arrives, or is lost.
    fn write(&mut self, n: usize) {
        let no_record = self.rules.broken == Some(Broken::NoRecord);
        let waits = self.is_fence_due(n);
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
                    attachment.attached |= answered && !waits;
                }
            });
        }
    }

    /// Whether a node is taken to have let go, and whether it is known to have.
    fn lets_go(&self, n: usize) -> Option<bool> {
        let site = self.from.sites[n];
        if self.rules.broken == Some(Broken::InUseIsGone) && site.seems_ready() {
            return Some(true);
        }
        let seen = self.from.seen(self.rules.for_many);
        match release(Some(NAMES[n]), &self.modes(), &seen) {
            Release::LetGo(why) => {
                let mut all = seen.attachments.iter().map(|found| &found.attachment);
                let own = all.find(|found| found.node == NAMES[n]);
                Some(own.is_some_and(|own| why.is_certain(own, None)))
            }
            Release::Keep(_) => None,
            Release::Unknown(unread) => panic!("{unread}"),
        }
    }
}
