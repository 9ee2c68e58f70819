//! Commands that wait, in turns by volume: the retries of one volume cannot keep the
//! others from the device.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::command::Script;
use crate::console::{ConsoleError, Output};

/// A command and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) script: Script,
    /// Commands with one key keep their order.
    pub(super) key: Option<String>,
    pub(super) reply: oneshot::Sender<Result<Output, ConsoleError>>,
}

/// The waiting commands.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: VecDeque<Option<String>>,
    jobs: HashMap<Option<String>, VecDeque<Job>>,
}

impl Queue {
    pub(super) fn push(&mut self, job: Job) {
        let of_key = self.jobs.entry(job.key.clone()).or_default();
        if of_key.is_empty() {
            self.turns.push_back(job.key.clone());
        }
        of_key.push_back(job);
    }

    /// The next command whose caller still waits. Those whose caller went away before
    /// they were sent are forgotten: nothing happened and nobody would know.
    pub(super) fn pop(&mut self) -> Option<Job> {
        while let Some(key) = self.turns.pop_front() {
            let Some(of_key) = self.jobs.get_mut(&key) else {
                continue;
            };
            let job = of_key.pop_front();
            if of_key.is_empty() {
                self.jobs.remove(&key);
            } else {
                self.turns.push_back(key);
            }
            if let Some(job) = job.filter(|job| !job.reply.is_closed()) {
                return Some(job);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(key: &str) -> (Job, oneshot::Receiver<Result<Output, ConsoleError>>) {
        let (reply, answer) = oneshot::channel();
        let script = Script::new(Vec::new(), Vec::new());
        let key = Some(key.to_owned());
        (Job { script, key, reply }, answer)
    }

    #[test]
    fn volumes_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        let mut waiting = Vec::new();
        let mut scripts = Vec::new();
        for key in ["a", "a", "a", "b", "c", "b"] {
            let (job, answer) = job(key);
            scripts.push(job.script.clone());
            waiting.push(answer);
            queue.push(job);
        }
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop())
            .map(|job| scripts.iter().position(|s| *s == job.script).unwrap())
            .collect();
        assert_eq!(order, [0, 3, 4, 1, 5, 2]);
        assert!(queue.turns.is_empty() && queue.jobs.is_empty());
    }

    #[test]
    fn a_caller_that_left_before_its_turn_costs_nothing() {
        let mut queue = Queue::default();
        let (left, answer) = job("a");
        drop(answer);
        let (stays, _answer) = job("b");
        queue.push(left);
        queue.push(stays);
        assert_eq!(queue.pop().unwrap().key.as_deref(), Some("b"));
        assert!(queue.pop().is_none());
    }
}
