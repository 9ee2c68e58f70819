//! Every world that can come about, and what can be reached from each of them.
//!
//! The worlds are walked in the order of how many steps lead to them, each once: what is found
//! that must not be is found on a shortest way. "From everywhere there is a way on" (AG EF) is
//! followed backwards from where one wants to get.

use std::collections::hash_map::Entry;

use super::bounds::Rules;
use super::steps::{Answers, By, steps};
use super::world::{Known, World};

pub(crate) struct Graph {
    pub(crate) worlds: Vec<World>,
    /// By whom, from where and to where.
    edges: Vec<(By, u32, u32)>,
    /// From where each world was first reached.
    before: Vec<u32>,
}

/// Numbers are kept short, since there are millions of them.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_else(|_| panic!("too many worlds"))
}

impl Graph {
    /// Walks until a world is found that must not be: that is the last one then, and what of it
    /// must not be is returned, too.
    pub(crate) fn of(
        rules: &Rules,
        broken: impl Fn(&World) -> Option<&'static str>,
    ) -> (Self, Option<&'static str>) {
        let start = rules.start();
        let mut answers = Answers::default();
        let mut numbers: Known<u128, u32> = Known::from_iter([(start.number(), 0)]);
        let mut graph = Self {
            worlds: vec![start],
            edges: Vec::new(),
            before: vec![0],
        };
        let mut next = 0;
        while let Some(world) = graph.worlds.get(next as usize).copied() {
            for step in steps(rules, &mut answers, &world) {
                let new = number(graph.worlds.len());
                let to = match numbers.entry(step.to.number()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(unknown) => {
                        graph.worlds.push(step.to);
                        graph.before.push(next);
                        *unknown.insert(new)
                    }
                };
                graph.edges.push((step.by, next, to));
                if let Some(broken) = broken(&step.to).filter(|_| to == new) {
                    return (graph, Some(broken));
                }
            }
            next += 1;
        }
        (graph, None)
    }

    /// The steps that lead to a world, in words.
    pub(crate) fn way(&self, rules: &Rules, world: &World) -> String {
        let mut at = self.worlds.iter().position(|found| found == world);
        let mut way = Vec::new();
        while let Some(to) = at.filter(|at| *at > 0) {
            let from = self.before[to] as usize;
            let all = steps(rules, &mut Answers::default(), &self.worlds[from]);
            let step = all.iter().find(|step| step.to == self.worlds[to]);
            way.extend(step.map(|step| format!("{step:?}")));
            at = Some(from);
        }
        way.reverse();
        way.join(", ")
    }

    /// Worlds among `from` from which no steps of these lead to `goal`: the first of them,
    /// and how many.
    pub(crate) fn stuck(
        &self,
        from: impl Fn(&World) -> bool,
        allowed: &[By],
        goal: impl Fn(&World) -> bool,
    ) -> Option<(World, usize)> {
        let backwards = self.backwards(allowed);
        let mut arrives: Vec<bool> = self.worlds.iter().map(goal).collect();
        let mut queue: Vec<usize> = (0..arrives.len()).filter(|at| arrives[*at]).collect();
        while let Some(at) = queue.pop() {
            for from in backwards.of(at) {
                if !std::mem::replace(&mut arrives[*from as usize], true) {
                    queue.push(*from as usize);
                }
            }
        }
        let stuck = self.worlds.iter().zip(&arrives);
        let mut stuck = stuck.filter(|(world, arrives)| !**arrives && from(world));
        let (first, _) = stuck.next()?;
        Some((*first, 1 + stuck.count()))
    }

    /// The steps backwards that somebody of these takes.
    fn backwards(&self, allowed: &[By]) -> Backwards {
        let edges = || self.edges.iter().filter(|(by, ..)| allowed.contains(by));
        let mut begins = vec![0_u32; self.worlds.len() + 1];
        for (_, _, to) in edges() {
            begins[*to as usize + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut free = begins.clone();
        let mut from = vec![0; begins[self.worlds.len()] as usize];
        for (_, source, to) in edges() {
            let free = &mut free[*to as usize];
            from[*free as usize] = *source;
            *free += 1;
        }
        Backwards { begins, from }
    }

    pub(crate) fn some(&self, is: impl Fn(&World) -> bool) -> bool {
        self.worlds.iter().any(is)
    }
}

/// Steps by where they lead to.
struct Backwards {
    /// Where those to each world begin, and the end of all.
    begins: Vec<u32>,
    /// Where they come from.
    from: Vec<u32>,
}

impl Backwards {
    fn of(&self, to: usize) -> &[u32] {
        &self.from[self.begins[to] as usize..self.begins[to + 1] as usize]
    }
}
