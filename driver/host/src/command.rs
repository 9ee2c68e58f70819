//! External programs: the only place that starts any.
//!
//! A program is started from a fixed list of directories, with an empty environment but
//! `PATH` and `LC_ALL=C`, no standard input, bounded output and a deadline, in its own
//! process group, which is killed with it. Never through a shell, and never with
//! arguments that could be read as options unless they are meant so.

use std::path::PathBuf;

use rds_csi_core::kind::{Failure, Kind};

/// Why a program gave no usable result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is in none of the directories.
    #[error("{program} is in none of {directories:?}; the image must carry it")]
    Missing {
        /// Its name.
        program: &'static str,
        /// Where it was looked for.
        directories: Vec<PathBuf>,
    },
    /// It did not start.
    #[error("starting {program}")]
    Start {
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its output or end could not be awaited.
    #[error("waiting for {program}")]
    Wait {
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It was killed at the deadline.
    #[error("{program} {arguments:?} did not end within {seconds} s and was killed")]
    TimedOut {
        /// Its name.
        program: &'static str,
        /// Its arguments.
        arguments: Vec<String>,
        /// The deadline.
        seconds: u64,
    },
    /// It ended with a status that its caller does not expect.
    #[error("{program} {arguments:?} ended with {status}: {stderr}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// Its arguments.
        arguments: Vec<String>,
        /// `exit status: 1` or the signal.
        status: String,
        /// What it said, shortened.
        stderr: String,
    },
}

impl Failure for CommandError {
    /// Never final: what a program changed before it failed is unknown.
    fn kind(&self) -> Kind {
        match self {
            Self::TimedOut { .. } => Kind::Timeout,
            Self::Missing { .. } | Self::Start { .. } | Self::Wait { .. } | Self::Failed { .. } => {
                Kind::Unreachable
            }
        }
    }
}
