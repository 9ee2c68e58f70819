//! Waiting for a state, with a deadline, instead of sleeping and hoping.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

/// Polls `probe` until it gives a value, first every 5 ms, later every 100 ms.
///
/// `what` names the awaited state in the error. An error of `probe` ends the wait.
///
/// # Errors
/// The deadline passed, or `probe` failed.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(5);
    loop {
        let found = probe()
            .await
            .with_context(|| format!("waiting until {what}"))?;
        if let Some(value) = found {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} until {what}");
        }
        sleep(pause).await;
        pause = (pause * 5 / 4).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_that_comes_late_is_found() {
        let mut asked = 0;
        let value = until("asked ten times", Duration::from_secs(9), async || {
            asked += 1;
            Ok((asked == 10).then_some(asked))
        })
        .await;
        assert_eq!(value.unwrap(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_never_comes_is_named_in_the_error() {
        let result = until("pigs fly", Duration::from_secs(2), async || Ok(None::<()>)).await;
        assert_eq!(result.unwrap_err().to_string(), "waited 2s until pigs fly");
    }
}
