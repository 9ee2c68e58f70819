//! What may happen next, by whom. Each step is one that somebody takes alone; what two do
//! at the same time is two steps in either order.

mod controller;
mod kubelet;
mod kubevirt;
mod people;

use std::fmt;

use super::bounds::Rules;
use super::world::{Site, World};
pub(crate) use controller::Answers;

/// Whose step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Something that goes on by itself.
    System,
    /// KubeVirt gives a migration up, or a person aborts it.
    GivingUp,
    /// A person who mends: a node comes back, or is switched off and said to be off.
    Repair,
    /// A person who wants something.
    User,
    /// A fault.
    Fault,
}

/// A step and the world after it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) by: By,
    pub(crate) what: &'static str,
    /// The site, as it was numbered before the step.
    pub(crate) site: usize,
    pub(crate) to: World,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.site)
    }
}

const NAMES: [&str; 3] = ["0", "1", "2"];

struct Steps<'a> {
    rules: &'a Rules,
    answers: &'a mut Answers,
    from: World,
    found: &'a mut Vec<Step>,
}

/// All that may happen next, in place of what was `found` before. `answers` are of the same rules.
pub(crate) fn steps(rules: &Rules, answers: &mut Answers, from: &World, found: &mut Vec<Step>) {
    found.clear();
    let mut steps = Steps {
        rules,
        answers,
        from: *from,
        found,
    };
    for site in 0..3 {
        steps.attach_detach_controller(site);
        steps.controller(site);
        steps.kubelet(site);
        steps.virt_controller_at(site);
        steps.faults_and_people(site);
    }
    steps.virt_controller();
}

impl Steps<'_> {
    fn step(&mut self, by: By, what: &'static str, site: usize, change: impl FnOnce(&mut World)) {
        let mut to = self.from;
        change(&mut to);
        to.sites.sort_unstable();
        if to != self.from {
            self.found.push(Step { by, what, site, to });
        }
    }

    fn at(&mut self, by: By, what: &'static str, site: usize, change: impl FnOnce(&mut Site)) {
        self.step(by, what, site, |world| change(&mut world.sites[site]));
    }
}
