//! One script on one channel: its effect, its answer, and what goes wrong with them.

use std::sync::Arc;
use std::time::Duration;

use russh::ChannelId;
use russh::server::Handle;
use tokio_util::sync::CancellationToken;

use crate::fault::{Harm, Moment};
use crate::model::Output;
use crate::sim::shared::Shared;

/// Bytes of one message of an answer.
const CHUNK: usize = 16 * 1024;

/// Most bytes of an endless answer: enough for any reader's limit.
const ENDLESS: usize = 256 * 1024 * 1024;

/// One script on one channel.
pub(super) struct Execution {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
    pub(super) cut: CancellationToken,
}

impl Execution {
    pub(super) async fn run(&self, number: u64, script: &str) {
        let harm = self.shared.receive(number, script);
        tokio::time::sleep(self.shared.latency()).await;
        match harm {
            None => {
                let output = self.effect(script, None).await;
                self.answer(&output.stdout, output.status).await;
            }
            Some(Harm::Cut(moment)) => self.cut(moment, script).await,
            Some(Harm::Hang { effect }) => {
                if effect {
                    self.effect(script, None).await;
                }
                std::future::pending::<()>().await;
            }
            Some(Harm::Truncate { bytes }) => {
                let output = self.effect(script, None).await;
                let part = &output.stdout[..bytes.min(output.stdout.len())];
                self.answer(part, output.status).await;
            }
            Some(Harm::Endless) => {
                let output = self.effect(script, None).await;
                self.endless(&output.stdout).await;
            }
            Some(Harm::Garbage) => {
                let output = self.effect(script, None).await;
                let garbage: Vec<u8> = (0..=255_u8).rev().cycle().take(1000).collect();
                self.answer(&garbage, output.status).await;
            }
            Some(Harm::Slow { ms }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                let output = self.effect(script, None).await;
                self.answer(&output.stdout, output.status).await;
            }
            Some(Harm::Denied) => self.answer(b"not enough permissions (9)\r\n", 0).await,
        }
    }

    /// Lets the script take effect, and waits as long as it asks to. The effect comes
    /// before the wait: a `:delay` never moves later statements.
    async fn effect(&self, script: &str, budget: Option<usize>) -> Output {
        let output = self.shared.model().exec_statements(script, budget);
        tokio::time::sleep(output.delay).await;
        output
    }

    async fn cut(&self, moment: Moment, script: &str) {
        match moment {
            Moment::Before => {}
            Moment::AfterStatements(count) => {
                self.effect(script, Some(count)).await;
            }
            Moment::After => {
                self.effect(script, None).await;
            }
            Moment::MidAnswer => {
                let output = self.effect(script, None).await;
                self.send(&output.stdout[..output.stdout.len() / 2]).await;
                // The session's task writes; let it, so that half an answer does arrive.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.cut.cancel();
    }

    async fn send(&self, bytes: &[u8]) -> bool {
        for chunk in bytes.chunks(CHUNK) {
            if self
                .handle
                .data(self.channel, chunk.to_vec())
                .await
                .is_err()
            {
                return false;
            }
        }
        true
    }

    async fn endless(&self, answer: &[u8]) {
        let line = if answer.is_empty() { b"\r\n" } else { answer };
        let chunk: Vec<u8> = line.iter().copied().cycle().take(CHUNK).collect();
        let mut sent = 0;
        while sent < ENDLESS && self.send(&chunk).await {
            sent += chunk.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(&self, bytes: &[u8], status: u32) {
        let sent = self.send(bytes).await
            && self
                .handle
                .exit_status_request(self.channel, status)
                .await
                .is_ok()
            && self.handle.eof(self.channel).await.is_ok()
            && self.handle.close(self.channel).await.is_ok();
        if !sent {
            tracing::debug!("the connection ended before its answer");
        }
    }
}
