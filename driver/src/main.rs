//! The `rds-csi-driver` program.
fn main() {}
