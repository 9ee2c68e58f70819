//! The agent of a test guest: `guest-agent LISTEN READY`.
//!
//! Listens on the address and writes its process id to the file READY, which tells
//! the lab that the guest is up. See `rds_csi_tests::agent`. Never run it outside of
//! a guest: it obeys whoever connects.

use anyhow::Context as _;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(ready)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: guest-agent LISTEN READY");
    };
    let listener = TcpListener::bind(&listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    std::fs::write(&ready, std::process::id().to_string())
        .with_context(|| format!("writing {ready}"))?;
    rds_csi_tests::agent::serve(listener)
        .await
        .context("accepting connections")
}
