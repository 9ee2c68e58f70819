//! Every world that can come about, and what can be reached from each of them.
//!
//! stateright finds worlds that must not be. "From everywhere there is a way on" (AG EF) is
//! none of its properties, so the same steps are walked once more into a graph, and that is
//! followed backwards from where one wants to get.

use std::collections::HashMap;

use super::Rules;
use super::steps::{By, steps};
use super::world::World;

pub(crate) struct Graph {
    pub(crate) worlds: Vec<World>,
    /// By whom, from where and to where.
    edges: Vec<(By, usize, usize)>,
}

impl Graph {
    pub(crate) fn of(rules: &Rules) -> Self {
        let start = rules.start();
        let mut numbers: HashMap<World, usize> = HashMap::from([(start, 0)]);
        let mut worlds = vec![start];
        let mut edges = Vec::new();
        let mut next = 0;
        while next < worlds.len() {
            for step in steps(rules, &worlds[next]) {
                let new = worlds.len();
                let to = *numbers.entry(step.to).or_insert(new);
                if to == new {
                    worlds.push(step.to);
                }
                edges.push((step.by, next, to));
            }
            next += 1;
        }
        Self { worlds, edges }
    }

    /// Worlds among `from` from which no steps of these lead to `goal`: the first of them,
    /// and how many.
    pub(crate) fn stuck(
        &self,
        from: impl Fn(&World) -> bool,
        allowed: &[By],
        goal: impl Fn(&World) -> bool,
    ) -> Option<(World, usize)> {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.worlds.len()];
        for (by, from, to) in &self.edges {
            if allowed.contains(by) {
                before[*to].push(*from);
            }
        }
        let mut arrives: Vec<bool> = self.worlds.iter().map(goal).collect();
        let mut queue: Vec<usize> = (0..arrives.len()).filter(|at| arrives[*at]).collect();
        while let Some(at) = queue.pop() {
            for from in before[at].iter().copied() {
                if !arrives[from] {
                    arrives[from] = true;
                    queue.push(from);
                }
            }
        }
        let stuck = self.worlds.iter().zip(&arrives);
        let stuck: Vec<_> = stuck
            .filter(|(world, arrives)| !**arrives && from(world))
            .collect();
        stuck.first().map(|(world, _)| (**world, stuck.len()))
    }

    pub(crate) fn some(&self, is: impl Fn(&World) -> bool) -> bool {
        self.worlds.iter().any(is)
    }
}
