//! The `rds-csi-driver` program; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    rds_csi_driver::run::main(std::env::args_os())
}
