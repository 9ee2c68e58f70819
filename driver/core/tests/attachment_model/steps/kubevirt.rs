//! virt-controller and virt-handler: machines and their migrations.

use super::{By, Steps};
use crate::world::{Guest, Launcher, Migrating, Site, Whose, World};

impl Steps<'_> {
    /// A machine without pods is started again, on any node that seems ready; a migration
    /// gets its target once no other pod of the machine is left.
    pub(super) fn virt_controller_at(&mut self, n: usize) {
        let world = self.from;
        let site = world.sites[n];
        let ours = |site: &&Site| site.pod.is_some_and(|pod| pod.whose == Whose::Ours);
        let active = world.sites.iter().filter(ours).count();
        let is_free = site.seems_ready() && site.pod.is_none();
        if !is_free || !self.is_clean(n) {
            return;
        }
        let pod = Launcher {
            whose: Whose::Ours,
            runs: false,
            target: false,
            ends: false,
        };
        if active == 0 {
            self.step(By::System, "the machine is started", n, |world| {
                world.migration = Migrating::None;
                for site in &mut world.sites {
                    if site.guest != Guest::None && site.guest != Guest::Writes(Whose::Stranger) {
                        site.guest = Guest::Writes(Whose::Forgotten);
                    }
                }
                world.sites[n].pod = Some(pod);
            });
        }
        let staying = world
            .sites
            .iter()
            .any(|site| site.pod.is_some_and(|pod| !pod.ends));
        if world.migration == Migrating::Pending && active == 1 && staying {
            self.step(By::System, "the target is made", n, |world| {
                world.migration = Migrating::Targeted;
                world.sites[n].pod = Some(Launcher {
                    target: true,
                    ..pod
                });
            });
        }
    }

    /// Whether kubelet has ended there what an attachment on its way out was for, and there is
    /// none of another machine of that name; and the node is one of those that pods come to.
    pub(super) fn is_clean(&self, n: usize) -> bool {
        let site = self.from.sites[n];
        let others = self
            .from
            .sites
            .iter()
            .filter(|other| **other != Site::FRESH);
        if site == Site::FRESH && others.count() >= self.rules.nodes {
            return false;
        }
        let stays = site.attachment.is_some_and(|found| !found.leaving);
        let before = site.attachment.is_some_and(|found| found.before);
        self.rules.returns_dirty || ((stays || !site.session) && !before)
    }

    pub(super) fn virt_controller(&mut self) {
        let world = self.from;
        let source = world.sites.iter().position(|site| {
            let stays = site.pod.is_some_and(|pod| !pod.target && !pod.ends);
            site.guest == Guest::Writes(Whose::Ours) && stays
        });
        let target = world.sites.iter().position(Site::is_target);
        if world.migrations_left > 0 && world.migration == Migrating::None && source.is_some() {
            self.step(By::User, "a migration is asked for", 0, |world| {
                world.migration = Migrating::Pending;
                world.migrations_left -= 1;
            });
        }
        if world.migration != Migrating::None {
            self.step(By::GivingUp, "the migration fails", 0, |world| {
                end_migration(world);
            });
        }
        if let (Some(source), Some(target)) = (source, target)
            && world.sites[source].is_ready()
            && world.sites[target].is_ready()
        {
            self.hand_over(source, target);
        }
        self.step(By::User, "the machine is stopped", 0, |world| {
            end_migration(world);
            for site in &mut world.sites {
                if let Some(pod) = &mut site.pod {
                    pod.ends = true;
                }
            }
        });
    }

    fn hand_over(&mut self, source: usize, target: usize) {
        match self.from.migration {
            Migrating::Targeted if self.from.sites[target].guest == Guest::Waits => {
                self.step(By::System, "the hand-over begins", target, |world| {
                    world.migration = Migrating::HandOver;
                    world.sites[target].guest = Guest::Writes(Whose::Ours);
                });
            }
            Migrating::HandOver => {
                self.step(By::System, "the hand-over is done", target, |world| {
                    world.migration = Migrating::None;
                    world.sites[source].guest = Guest::None;
                    if let Some(pod) = &mut world.sites[source].pod {
                        pod.ends = true;
                    }
                    if let Some(pod) = &mut world.sites[target].pod {
                        pod.target = false;
                    }
                });
                self.step(By::Fault, "post-copy fails", target, |world| {
                    world.migration = Migrating::None;
                    for site in [source, target] {
                        world.sites[site].guest = Guest::None;
                        if let Some(pod) = &mut world.sites[site].pod {
                            pod.ends = true;
                        }
                    }
                });
            }
            _ => {}
        }
    }
}

/// The target of a migration that has ended waits for nothing any more.
fn end_migration(world: &mut World) {
    world.migration = Migrating::None;
    for site in &mut world.sites {
        if site.is_target() {
            if let Some(pod) = &mut site.pod {
                pod.ends = true;
            }
            if site.writes() {
                site.guest = Guest::Waits;
            }
        }
    }
}
