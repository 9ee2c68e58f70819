//! Faults, and people who mend or do worse.

use super::{By, Steps};
use crate::world::{Call, Guest, Health, Launcher, Reader, Whose};

impl Steps<'_> {
    pub(super) fn faults_and_people(&mut self, n: usize) {
        let site = self.from.sites[n];
        match site.health {
            Health::Ready if self.from.losses_left > 0 => {
                self.step(By::Fault, "a node is cut off", n, |world| {
                    world.losses_left -= 1;
                    world.sites[n].health = Health::Cut;
                });
            }
            Health::Ready => {}
            Health::Cut => {
                self.at(By::System, "the loss is noticed", n, |site| {
                    site.health = Health::Lost;
                });
            }
            Health::Lost => {
                self.at(By::Repair, "the machine is switched off", n, |site| {
                    site.health = Health::Off;
                    site.session = false;
                    site.guest = Guest::None;
                });
                if self.rules.forced {
                    self.force_delete(n);
                }
                if self.rules.mistaken {
                    self.at(By::User, "a person is wrong that it is off", n, |site| {
                        site.health = Health::Tainted;
                    });
                    self.at(By::User, "a person removes a node that runs", n, |site| {
                        site.health = Health::Vanished;
                    });
                }
            }
            Health::Off => {
                self.at(By::Repair, "a person says that it is off", n, |site| {
                    site.health = Health::Tainted;
                });
                self.at(By::Repair, "a person removes the node", n, |site| {
                    site.health = Health::Vanished;
                });
                self.force_delete(n);
            }
            Health::Tainted | Health::Vanished => {}
        }
        self.of_no_use(n);
        self.comes_back(n);
        self.replacement(n);
        self.stranger(n);
        self.wants_to_read(n);
    }

    /// What runs on a node and cannot work there is ended by a person.
    fn of_no_use(&mut self, n: usize) {
        let site = self.from.sites[n];
        if self.rules.returns_dirty && site.has_lost_its_disk() {
            self.at(By::Repair, "the machine is started anew", n, |site| {
                if let Some(pod) = &mut site.pod {
                    pod.ends = true;
                }
            });
        }
        if site.is_stray_on_a_promise() {
            self.at(By::Repair, "a stray pod is deleted", n, |site| {
                if let Some(pod) = &mut site.pod {
                    pod.ends = true;
                }
            });
        }
        if site.is_kept_out() {
            self.at(
                By::Repair,
                "a pod that cannot write is deleted",
                n,
                |site| {
                    if let Some(pod) = &mut site.pod {
                        pod.ends = true;
                    }
                },
            );
        }
    }

    fn comes_back(&mut self, n: usize) {
        let site = self.from.sites[n];
        if site.health != Health::Ready {
            let was_off = !matches!(site.health, Health::Cut | Health::Lost);
            self.at(By::Repair, "a node comes back", n, |site| {
                // The Node object is made anew, and says nothing of what is in use at first.
                if site.health == Health::Vanished {
                    site.in_use = false;
                    if let Some(attachment) = &mut site.attachment {
                        attachment.before = true;
                    }
                }
                site.health = Health::Ready;
                if let Some(pod) = site.pod.as_mut().filter(|_| was_off) {
                    pod.ends = true;
                }
            });
        }
    }

    /// Another machine registers under the name of one that was removed. It knows nothing of
    /// what that has mounted.
    fn replacement(&mut self, n: usize) {
        let site = self.from.sites[n];
        if site.former {
            let what = "the machine that was removed is switched off";
            self.at(By::Repair, what, n, |site| site.former = false);
        }
        if site.health != Health::Vanished || self.from.replacements_left == 0 {
            return;
        }
        self.step(
            By::User,
            "another machine registers under the name",
            n,
            |world| {
                world.replacements_left -= 1;
                let site = &mut world.sites[n];
                site.former = site.session && site.writes();
                if let Some(attachment) = &mut site.attachment {
                    attachment.before = true;
                }
                if let Some(pod) = &mut site.pod {
                    pod.ends = true;
                }
                site.health = Health::Ready;
                (site.session, site.in_use, site.guest) = (false, false, Guest::None);
            },
        );
    }

    fn force_delete(&mut self, n: usize) {
        if self.from.sites[n].reader != Reader::None {
            self.at(By::User, "a reader is deleted by force", n, |site| {
                site.reader = Reader::None;
            });
        }
        if self.from.sites[n].pod.is_some() {
            self.at(By::User, "a pod is deleted by force", n, |site| {
                site.pod = None;
            });
        }
    }

    fn stranger(&mut self, n: usize) {
        let site = self.from.sites[n];
        let is_told = site.attachment.is_some_and(|own| own.attached);
        let asks = !is_told && !matches!(site.call, Call::Decided(_));
        let may_come = asks || !self.rules.strangers_ask;
        let is_free = site.is_ready() && site.pod.is_none() && self.is_clean(n);
        if self.from.strangers_left > 0 && is_free && may_come {
            self.step(By::User, "another machine names the claim", n, |world| {
                world.strangers_left -= 1;
                world.sites[n].pod = Some(Launcher {
                    whose: Whose::Stranger,
                    runs: false,
                    target: false,
                    ends: false,
                });
            });
        }
    }

    /// A pod that only reads comes to be, on any node that seems ready or only beside the
    /// machine.
    fn wants_to_read(&mut self, n: usize) {
        let site = self.from.sites[n];
        let stays = site.holds() && site.attachment.is_some_and(|own| !own.leaving);
        let beside = stays && (site.pod.is_some() || site.guest != Guest::None);
        let is_free = site.seems_ready() && site.reader == Reader::None && self.is_clean(n);
        if self.from.readers_left > 0 && is_free && (beside || !self.rules.readers_join) {
            self.step(By::User, "a reader is started", n, |world| {
                world.readers_left -= 1;
                world.sites[n].reader = Reader::Waits;
            });
        }
    }
}
