//! Whether a device answers at an address, asked once for all volumes there.
//!
//! While it does, every volume may try. Once one attempt met no answer, a single one at a
//! time goes ahead, at a steady pace that does not grow: the first that is answered opens
//! the way for the others, so an outage of any length is over for all of them soon after
//! the device is back, and a dead address is asked by one volume and not by a hundred.

use std::time::Duration;

use rds_csi_core::session::backoff;

/// The way to one address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Gate {
    /// When the next attempt may begin, once one met no answer.
    closed_until: Option<Duration>,
    /// How many attempts are under way.
    inside: usize,
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
        gate.enter();
        gate.leave(true, back);
        assert!(gate.may_pass(back));
    }
}
