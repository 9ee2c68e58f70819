//! Signals: the first asks for an orderly end, the second ends at once.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` on the first SIGTERM or SIGINT and returns on the second.
pub(crate) async fn second_signal(stop: CancellationToken) {
    let (mut term, mut interrupt) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
    );
    for _ in 0..2 {
        tokio::select! {
            () = arrival(&mut term) => tracing::info!("SIGTERM: stopping"),
            () = arrival(&mut interrupt) => tracing::info!("SIGINT: stopping"),
        }
        if stop.is_cancelled() {
            return;
        }
        stop.cancel();
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::warn!(%error, "this signal cannot be listened to"))
        .ok()
}

async fn arrival(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    pending::<()>().await;
}
