//! Whether a device answers at an address, asked once for all volumes there.
//!
//! While it does, every volume may try. Once one attempt met no answer, a single one at a
//! time goes ahead, at a steady pace that does not grow: the first that is answered opens
//! the way for the others, so an outage of any length is over for all of them soon after
//! the device is back, and a dead address is asked by one volume and not by a hundred.
//!
//! A device that answers and rejects may be one that has started and not linked its exports
//! yet. Each volume's own attempts grow rare then, so beside them one of the rejected ones,
//! another each time, is tried at a steady pace, and the first that is accepted makes the
//! others due. An export that is gone for good is not worth that for ever: it ends a while
//! after the last volume was accepted.

use std::time::Duration;

use rds_csi_core::session::backoff;

/// For how long rejected volumes are tried at a steady pace: longer than a device takes to
/// start and to mount its pools.
const BRISK: Duration = Duration::from_secs(600);

/// The way to one address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Gate {
    /// When the next attempt may begin, once one met no answer.
    closed_until: Option<Duration>,
    /// How many attempts are under way.
    inside: usize,
    /// Once one was rejected, and since none was accepted.
    rejecting: Option<Rejecting>,
}

/// A device that rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rejecting {
    since: Duration,
    /// When the next one is tried that is not due by itself.
    next: Duration,
    tried: u32,
}

impl Gate {
    /// Whether one more attempt may begin, at a time of the caller's clock.
    pub(super) fn may_pass(&self, now: Duration) -> bool {
        match self.closed_until {
            None => true,
            Some(until) => self.inside == 0 && now >= until,
        }
    }

    /// An attempt begins.
    pub(super) fn enter(&mut self) {
        self.inside += 1;
    }

    /// An attempt has ended.
    pub(super) fn leave(&mut self, answered: bool, now: Duration) {
        self.inside = self.inside.saturating_sub(1);
        self.closed_until = (!answered).then(|| now.saturating_add(backoff::FIRST));
    }

    /// Whether one of the rejected volumes may be tried that is not due by itself.
    pub(super) fn may_probe(&self, now: Duration) -> bool {
        let brisk = |rejecting: &Rejecting| now.saturating_sub(rejecting.since) < BRISK;
        let rejecting = self.rejecting.as_ref();
        rejecting.is_some_and(|rejecting| now >= rejecting.next && brisk(rejecting))
    }

    /// A rejected volume is tried again, due or not.
    pub(super) fn probe(&mut self, volume: &str, now: Duration) {
        if let Some(rejecting) = &mut self.rejecting {
            rejecting.tried = rejecting.tried.saturating_add(1);
            let pause = backoff::spread(backoff::FIRST, volume, rejecting.tried);
            rejecting.next = now.saturating_add(pause);
        }
    }

    /// The device rejected a volume.
    pub(super) fn reject(&mut self, volume: &str, now: Duration) {
        if self.rejecting.is_none() {
            self.rejecting = Some(Rejecting {
                since: now,
                next: now,
                tried: 0,
            });
            self.probe(volume, now);
        }
    }

    /// The device accepted a volume; whether it had rejected any since the last one.
    pub(super) fn accept(&mut self) -> bool {
        self.rejecting.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_device_that_answers_lets_all_pass() {
        let mut gate = Gate::default();
        for _ in 0..100 {
            assert!(gate.may_pass(NOW));
            gate.enter();
        }
        gate.leave(true, NOW);
        assert!(gate.may_pass(NOW));
    }

    #[test]
    fn a_silent_device_is_asked_by_one_at_a_time_until_it_answers() {
        let mut gate = Gate::default();
        gate.enter();
        gate.leave(false, NOW);
        for round in 1..50 {
            let due = NOW + backoff::FIRST * round;
            assert!(!gate.may_pass(due - Duration::from_millis(1)));
            assert!(gate.may_pass(due));
            gate.enter();
            assert!(!gate.may_pass(due), "one is under way");
            gate.leave(false, due);
        }
        let back = NOW + backoff::FIRST * 50;
        assert!(!gate.may_probe(back), "nothing was rejected");
        gate.enter();
        gate.leave(true, back);
        assert!(gate.may_pass(back));
    }

    #[test]
    fn a_device_that_rejects_is_probed_at_a_steady_pace_for_a_while() {
        let mut gate = Gate::default();
        assert!(!gate.accept());
        gate.reject("a", NOW);
        assert!(gate.may_pass(NOW), "whoever is due by itself may try");
        let mut probes = 0;
        for tenth in 1..20_000 {
            let now = NOW + Duration::from_millis(100) * tenth;
            if gate.may_probe(now) {
                gate.probe("a", now);
                assert!(!gate.may_probe(now));
                gate.reject("a", now);
                probes += 1;
            }
        }
        assert!((480..800).contains(&probes), "{probes}");
        assert!(gate.accept());
        assert!(!gate.accept());
        gate.reject("a", NOW * 100);
        assert!(gate.may_probe(NOW * 100 + backoff::FIRST * 2));
    }
}
