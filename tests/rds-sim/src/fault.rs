//! What can go wrong, on demand.
//!
//! A fault that concerns one execution waits for its turn: it fires at the execution
//! after `skip` others whose script contains `matching`, once. The rest take effect at
//! once. Which of them a device shows is known from reports (connections that break,
//! reboots with a late pool, degraded arrays); none is a claim about how often.

use serde::{Deserialize, Serialize};

use crate::model::Denied;

/// Which execution a fault waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Matching executions that pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// Text that the script must contain; none fits every script.
    #[serde(default)]
    pub matching: Option<String>,
}

impl Trigger {
    /// The next execution.
    #[must_use]
    pub fn next() -> Self {
        Self::default()
    }

    /// The next execution whose script contains `text`.
    #[must_use]
    pub fn on(text: &str) -> Self {
        Self {
            skip: 0,
            matching: Some(text.to_owned()),
        }
    }

    /// Whether it fires for `script`; counts down if it only matches.
    fn fires(&mut self, script: &str) -> bool {
        let matches = self
            .matching
            .as_ref()
            .is_none_or(|text| script.contains(text.as_str()));
        let fires = matches && self.skip == 0;
        if matches && self.skip > 0 {
            self.skip -= 1;
        }
        fires
    }
}

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Nothing took effect.
    Before,
    /// So many statements took effect; commands inside `[…]` are not counted.
    AfterStatements(usize),
    /// Everything took effect and half of the answer was sent.
    MidAnswer,
    /// Everything took effect and nothing was answered.
    After,
}

/// What happens to one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// The connection breaks.
    Cut(Moment),
    /// The script is never answered; whether it took effect is said here.
    Hang {
        /// Whether it took effect.
        effect: bool,
    },
    /// Only the first bytes are answered, and the channel ends as if all was well.
    Truncate {
        /// How many.
        bytes: usize,
    },
    /// The answer never ends.
    Endless,
    /// Bytes of no meaning come in place of the answer; the script took effect.
    Garbage,
    /// The answer comes late.
    Slow {
        /// By so many milliseconds.
        ms: u64,
    },
    /// Nothing takes effect; `not enough permissions (9)` is the answer.
    Denied,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// Harm to one execution.
    Exec {
        /// Which one.
        #[serde(flatten)]
        trigger: Trigger,
        /// What happens to it.
        harm: Harm,
    },
    /// From now on the user may not do this.
    Permissions {
        /// What is denied.
        denied: Denied,
    },
    /// From now on every execution takes so long.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// New connections are accepted and closed at once, or no longer.
    RefuseConnections {
        /// Whether.
        refuse: bool,
    },
    /// All connections break now.
    CutConnections,
    /// The pool takes nothing more, or does again.
    PoolFull {
        /// Whether.
        full: bool,
    },
    /// The pool shows this state.
    PoolState {
        /// `clean`, `degraded`, …
        state: String,
    },
    /// The pool is unmounted, or mounted again.
    PoolMounted {
        /// Whether.
        mounted: bool,
    },
    /// The device restarts: connections and exports end, nobody can connect for a while,
    /// and the pool is mounted later still.
    Reboot {
        /// Milliseconds until it can be reached.
        down_ms: u64,
        /// Milliseconds from then until the pool is mounted.
        mount_ms: u64,
        /// Whether it is a power cut, which loses configuration that is not saved yet.
        #[serde(default)]
        power_cut: bool,
    },
    /// A disk item of somebody else appears, with a file if it names one.
    ForeignItem {
        /// Its slot.
        slot: String,
        /// Its file, with a leading slash.
        file_path: String,
        /// Its NQN, if it is exported.
        #[serde(default)]
        nqn: Option<String>,
        /// Its comment.
        #[serde(default)]
        comment: String,
        /// Its size.
        size: u64,
    },
    /// A file of somebody else appears.
    ForeignFile {
        /// Its path.
        path: String,
        /// What is in it.
        content: String,
    },
}

impl Fault {
    /// Harm to the next execution.
    #[must_use]
    pub fn next(harm: Harm) -> Self {
        Self::Exec {
            trigger: Trigger::next(),
            harm,
        }
    }

    /// Harm to the next execution whose script contains `text`.
    #[must_use]
    pub fn on(text: &str, harm: Harm) -> Self {
        Self::Exec {
            trigger: Trigger::on(text),
            harm,
        }
    }
}

/// Faults that wait for their execution.
#[derive(Debug, Default)]
pub(crate) struct Armed(Vec<(Trigger, Harm)>);

impl Armed {
    pub(crate) fn push(&mut self, trigger: Trigger, harm: Harm) {
        self.0.push((trigger, harm));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The harm that `script` meets: the first that fires, which is then gone.
    pub(crate) fn take(&mut self, script: &str) -> Option<Harm> {
        let fired = self
            .0
            .iter_mut()
            .position(|(trigger, _)| trigger.fires(script))?;
        Some(self.0.remove(fired).1)
    }
}
