//! The `rds-csi-webhook` program; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    rds_csi_webhook::cli::run(std::env::args_os())
}
