//! Every world that can come about, and what can be reached from each of them.
//!
//! The worlds are walked in the order of how many steps lead to them, each once: what is found
//! that must not be is found on a shortest way. "From everywhere there is a way on" (AG EF) is
//! followed backwards from where one wants to get.

use std::collections::hash_map::Entry;

use super::bounds::Rules;
use super::known::Known;
use super::steps::{Answers, By, steps};
use super::world::World;

pub(crate) struct Graph {
    pub(crate) worlds: Vec<World>,
    /// The steps, in the order of the worlds that they lead from.
    edges: Vec<Edge>,
    /// Where those end that lead from each world.
    ends: Vec<usize>,
    /// From where each world was first reached.
    before: Vec<u32>,
}

/// A step: by whom, and to where. There are tens of millions of them.
#[derive(Clone, Copy)]
struct Edge(u32);

impl Edge {
    /// As many bits are for who takes it.
    const BY: u32 = 3;

    fn new(by: By, to: u32) -> Self {
        assert!(to.leading_zeros() >= Self::BY, "too many worlds");
        Self(to << Self::BY | by as u32)
    }

    fn is_by(self, allowed: &[By]) -> bool {
        let by = self.0 & ((1 << Self::BY) - 1);
        allowed.iter().any(|allowed| *allowed as u32 == by)
    }

    fn to(self) -> usize {
        (self.0 >> Self::BY) as usize
    }
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
        let mut numbers: Known<u32> = Known::from_iter([(start.number(), 0)]);
        let mut graph = Self {
            worlds: vec![start],
            edges: Vec::new(),
            ends: Vec::new(),
            before: vec![0],
        };
        let (mut next, mut found) = (0, Vec::new());
        while let Some(world) = graph.worlds.get(next as usize).copied() {
            steps(rules, &mut answers, &world, &mut found);
            for step in &found {
                let new = number(graph.worlds.len());
                let to = match numbers.entry(step.to.number()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(unknown) => {
                        graph.worlds.push(step.to);
                        graph.before.push(next);
                        *unknown.insert(new)
                    }
                };
                graph.edges.push(Edge::new(step.by, to));
                if let Some(broken) = broken(&step.to).filter(|_| to == new) {
                    return (graph, Some(broken));
                }
            }
            graph.ends.push(graph.edges.len());
            next += 1;
        }
        (graph, None)
    }

    /// The steps that lead to a world, in words.
    pub(crate) fn way(&self, rules: &Rules, world: &World) -> String {
        let mut at = self.worlds.iter().position(|found| found == world);
        let (mut way, mut all) = (Vec::new(), Vec::new());
        while let Some(to) = at.filter(|at| *at > 0) {
            let from = self.before[to] as usize;
            let answers = &mut Answers::default();
            steps(rules, answers, &self.worlds[from], &mut all);
            let step = all.iter().find(|step| step.to == self.worlds[to]);
            way.extend(step.map(|step| format!("{step:?}")));
            at = Some(from);
        }
        way.reverse();
        way.join(", ")
    }

    /// Worlds among `from` from which no steps of those that lead `backwards` lead to `goal`:
    /// the first of them, and how many.
    pub(crate) fn stuck(
        &self,
        from: impl Fn(&World) -> bool,
        backwards: &Backwards,
        goal: impl Fn(&World) -> bool,
    ) -> Option<(World, usize)> {
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
    pub(crate) fn backwards(&self, allowed: &[By]) -> Backwards {
        let mut begins = vec![0_u32; self.worlds.len() + 1];
        self.each(allowed, |_, to| begins[to + 1] += 1);
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut free = begins.clone();
        let mut from = vec![0; begins[self.worlds.len()] as usize];
        self.each(allowed, |source, to| {
            from[free[to] as usize] = source;
            free[to] += 1;
        });
        Backwards { begins, from }
    }

    /// Each step that somebody of these takes, from where and to where.
    fn each(&self, allowed: &[By], mut visit: impl FnMut(u32, usize)) {
        let mut begin = 0;
        for (from, end) in self.ends.iter().enumerate() {
            let edges = self.edges[begin..*end].iter();
            for edge in edges.filter(|edge| edge.is_by(allowed)) {
                visit(number(from), edge.to());
            }
            begin = *end;
        }
    }

    pub(crate) fn some(&self, is: impl Fn(&World) -> bool) -> bool {
        self.worlds.iter().any(is)
    }
}

/// Steps by where they lead to.
pub(crate) struct Backwards {
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
