//! `cargo xtask`: developer tasks that need no tool but cargo and git.
//!
//! One file per task. A task changes nothing outside the build directory unless its
//! help says so, and ends with an exit status that a pipeline can use.

#![expect(
    clippy::print_stdout,
    reason = "a developer task speaks to a person at a terminal"
)]

mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer tasks of rds-csi.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check what no compiler checks: which crate may use what, the shape of files, words
    /// that do not belong in the repository. Looks at the files that git tracks.
    Tidy,
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().task {
        Task::Tidy => tidy::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
