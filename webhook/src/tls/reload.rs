//! Reads the certificate files again and swaps the pair in use.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::kind::Chain;

use super::{Certificate, CertificateError};
use crate::metrics::Metrics;

impl Certificate {
    /// Reads the files once more. `Ok(true)` if another pair is in use from now on; on
    /// an error the old one stays.
    pub async fn reload(&self) -> Result<bool, CertificateError> {
        let pem = self.files.read().await?;
        if pem == self.current.load().pem {
            return Ok(false);
        }
        self.current.store(Arc::new(self.files.parse(pem)?));
        Ok(true)
    }

    /// Reloads for ever, once in every `interval`. A failure is counted each time and
    /// logged when it is a new one.
    pub async fn follow(&self, interval: Duration, metrics: &Metrics) -> Infallible {
        let mut last_failure = None;
        loop {
            metrics
                .certificate_not_after
                .set(self.not_after().as_second());
            tokio::time::sleep(interval).await;
            match self.reload().await {
                Ok(changed) => {
                    last_failure = None;
                    if changed {
                        tracing::info!(not_after = %self.not_after(), "using a new certificate");
                    }
                }
                Err(error) => {
                    metrics.reload_failures.inc();
                    let failure = Chain(&error).to_string();
                    if last_failure.as_ref() != Some(&failure) {
                        tracing::warn!(error = %failure, "the old certificate stays in use");
                        last_failure = Some(failure);
                    }
                }
            }
        }
    }
}
