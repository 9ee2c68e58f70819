//! Why a program gave no usable result.

use std::path::PathBuf;

use rds_csi_core::kind::{Failure, Kind};

use crate::command::{Output, Program, owned};

/// Programs that are not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "programs {missing:?} are in none of {directories:?}; the image must carry e2fsprogs, xfsprogs and util-linux"
)]
pub struct MissingPrograms {
    /// Which.
    pub missing: Vec<&'static str>,
    /// Where they were looked for.
    pub directories: Vec<PathBuf>,
}

impl Failure for MissingPrograms {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

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

impl CommandError {
    pub(crate) fn failed(program: Program, arguments: &[&str], output: &Output) -> Self {
        Self::Failed {
            program: program.0,
            arguments: owned(arguments),
            status: output.status.to_string(),
            stderr: output.stderr.trim().chars().take(600).collect(),
        }
    }
}
