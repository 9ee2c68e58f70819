//! Kubelet and the node plugin.

use super::{By, Steps};
use crate::world::{Guest, Launcher, Reader, Whose};

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
        if site.has_pod() {
            if !site.in_use {
                self.at(By::System, "kubelet says in use", n, |site| {
                    site.in_use = true;
                });
            } else if !site.session && may_connect {
                self.at(By::System, "the node connects", n, |site| {
                    site.session = true;
                });
            }
        } else if site.guest == Guest::None && site.session {
            self.at(By::System, "the node disconnects", n, |site| {
                site.session = false;
            });
        } else if !site.session && site.in_use {
            self.at(By::System, "kubelet says not in use", n, |site| {
                site.in_use = false;
            });
        }
        self.launcher(n);
        self.reader(n);
    }

    fn reader(&mut self, n: usize) {
        let site = self.from.sites[n];
        if site.session && site.in_use && site.reader == Reader::Waits {
            let may_write = site.guest == Guest::None && !site.only_reads();
            let writes = self.rules.readers_write && may_write;
            self.at(By::System, "the reader runs", n, |site| {
                site.reader = Reader::Runs;
                if writes {
                    site.guest = Guest::Writes(Whose::Stranger);
                }
            });
        }
        if site.reader != Reader::None {
            self.at(By::System, "the reader ends", n, |site| {
                site.reader = Reader::None;
            });
        }
    }

    fn launcher(&mut self, n: usize) {
        let site = self.from.sites[n];
        if let Some(pod) = site.pod
            && site.session
            && site.in_use
            && !pod.runs
            && !pod.ends
            && site.guest == Guest::None
            && !site.only_reads()
        {
            self.at(By::System, "the pod runs", n, |site| {
                site.guest = if pod.target {
                    Guest::Waits
                } else {
                    Guest::Writes(pod.whose)
                };
                site.pod = Some(Launcher { runs: true, ..pod });
            });
        }
        if site.pod.is_some_and(|pod| pod.ends) {
            self.at(By::System, "the pod ends", n, |site| {
                site.pod = None;
                // What the cluster had forgotten before the pod came is none of its own.
                if site.guest != Guest::Writes(Whose::Forgotten) {
                    site.guest = Guest::None;
                }
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
