//! Waiting for a state, with a deadline, instead of sleeping and hoping.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

/// The longest pause after a probe that took long.
const LONGEST: Duration = Duration::from_secs(1);

/// Polls `probe` until it gives a value, first every 5 ms, later every 100 ms, or with pauses of
/// twice what it takes.
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
        let asked = Instant::now();
        let found = probe()
            .await
            .with_context(|| format!("waiting until {what}"))?;
        if let Some(value) = found {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} until {what}");
        }
        // What is awaited may need the processor that asking takes.
        sleep(pause.max(asked.elapsed() * 2).min(LONGEST)).await;
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
    async fn a_probe_that_takes_long_is_made_seldom() {
        let mut asked = 0;
        let slow = async || {
            asked += 1;
            sleep(Duration::from_millis(200)).await;
            Ok(None::<()>)
        };
        until("never", Duration::from_secs(6), slow)
            .await
            .unwrap_err();
        assert_eq!(asked, 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_never_comes_is_named_in_the_error() {
        let result = until("pigs fly", Duration::from_secs(2), async || Ok(None::<()>)).await;
        assert_eq!(result.unwrap_err().to_string(), "waited 2s until pigs fly");
    }
}
