//! Kubelet and the node plugin.

use super::{By, Steps};
use crate::world::{Guest, Launcher, Whose};

impl Steps<'_> {
    /// It reports a volume in use before it connects, connects what is attached and is not
    /// on its way out, and goes back in the reverse order.
    pub(super) fn kubelet(&mut self, n: usize) {
        let site = self.from.sites[n];
        if !site.is_ready() {
            return;
        }
        let may_connect = site
            .attachment
            .is_some_and(|found| found.attached && !found.leaving);
        match site.pod {
            Some(_) if !site.in_use => {
                self.at(By::System, "kubelet says in use", n, |site| {
                    site.in_use = true;
                });
            }
            Some(_) if !site.session && may_connect => {
                self.at(By::System, "the node connects", n, |site| {
                    site.session = true;
                });
            }
            Some(pod) if site.session && !pod.runs && !pod.ends && site.guest == Guest::None => {
                self.at(By::System, "the pod runs", n, |site| {
                    let guest = if pod.target {
                        Guest::Waits
                    } else {
                        Guest::Writes(pod.whose)
                    };
                    site.guest = guest;
                    site.pod = Some(Launcher { runs: true, ..pod });
                });
            }
            None if site.guest == Guest::None && site.session => {
                self.at(By::System, "the node disconnects", n, |site| {
                    site.session = false;
                });
            }
            None if !site.session && site.in_use => {
                self.at(By::System, "kubelet says not in use", n, |site| {
                    site.in_use = false;
                });
            }
            _ => {}
        }
        if site.pod.is_some_and(|pod| pod.ends) {
            self.at(By::System, "the pod ends", n, |site| {
                site.pod = None;
                site.guest = Guest::None;
            });
        }
        let forgotten = site.pod.is_none() || site.guest == Guest::Writes(Whose::Forgotten);
        if forgotten && site.guest != Guest::None {
            self.at(By::System, "kubelet ends what nobody knows of", n, |site| {
                site.guest = Guest::None;
            });
        }
    }
}
