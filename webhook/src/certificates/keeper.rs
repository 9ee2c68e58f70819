//! The loop that keeps Secret and bundle as they should be and presents the leaf.
//!
//! It never ends and never gives up: what fails is counted, said once and tried again,
//! and the leaf in use stays in use.

use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use rds_csi_core::kind::Chain;
use tokio::time::Instant;

use super::Settings;
use super::authority::IssueError;
use super::cluster::{Cluster, ClusterError, SeenConfiguration, SeenSecret};
use super::plan::{self, Seen, Step};
use super::secret::State;
use super::trust::{Bundles, Sightings};
use crate::metrics::Metrics;
use crate::tls::{Certificate, Pair};

/// Between two looks while there is nothing to serve.
const HURRY: Duration = Duration::from_secs(1);
/// Taken without a pause; more in a row mean that somebody works against us.
const MOST_STEPS: u32 = 8;
/// Before another look after somebody else's write.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Why a look led nowhere.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// The cluster could not be read or changed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is nothing that could trust the webhook.
    #[error("waiting for the ValidatingWebhookConfiguration {0:?}")]
    NoConfiguration(String),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

impl KeepError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Cluster(ClusterError::Conflict { .. }))
    }
}

/// Keeps one Secret and one configuration.
pub struct Keeper {
    cluster: Cluster,
    settings: Settings,
    certificate: Certificate,
    metrics: Metrics,
    sightings: Sightings,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper that presents what it keeps as `certificate`.
    #[must_use]
    pub fn new(
        client: kube::Client,
        settings: Settings,
        certificate: Certificate,
        metrics: Metrics,
    ) -> Self {
        Self {
            cluster: Cluster::new(client, &settings),
            settings,
            certificate,
            metrics,
            sightings: Sightings::default(),
        }
    }

    /// Looks for ever, about once in every `interval`, and at once after a step.
    pub async fn keep(mut self, interval: Duration) -> Infallible {
        let mut last_failure = None;
        let mut steps = 0;
        loop {
            let result = self.look().await;
            self.metrics.presenting(&self.certificate);
            steps = if matches!(result, Ok(Step::Rest)) {
                0
            } else {
                steps + 1
            };
            let pause = match &result {
                Ok(Step::Rest) => interval,
                Ok(_) if steps < MOST_STEPS => Duration::ZERO,
                Err(error) if error.is_conflict() => AFTER_CONFLICT.min(interval),
                _ if self.certificate.current().is_none() => HURRY.min(interval),
                _ => interval,
            };
            let failure = result.err().filter(|error| !error.is_conflict());
            let failure = failure.map(|error| Chain(&error).to_string());
            if let Some(error) = &failure {
                self.metrics.certificate_failures.inc();
                if last_failure.as_ref() != Some(error) {
                    tracing::warn!(error, "the certificate is not looked after");
                }
            }
            self.certificate.explain(failure.clone());
            last_failure = failure;
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Looks once, presents what was found, and takes a step.
    async fn look(&mut self) -> Result<Step, KeepError> {
        let secret = self.cluster.secret().await?;
        let state = State::read(&secret.data, &self.settings.names);
        let configuration = self.cluster.configuration().await;
        let bundles = configuration.as_ref().ok().and_then(Option::as_ref);
        if let Some(bundles) = bundles.map(|found| &found.bundles) {
            self.sightings.note(bundles, Instant::now());
        }
        let now = Timestamp::now();
        self.present(&state, bundles.map(|found| &found.bundles), now);
        let configuration = configuration?
            .ok_or_else(|| KeepError::NoConfiguration(self.settings.configuration.clone()))?;
        let step = plan::plan(
            self.seen(&state, &configuration.bundles),
            &self.settings,
            now,
        );
        self.take(&step, &secret, state, &configuration, now)
            .await?;
        if step != Step::Rest {
            tracing::info!(step = step.name(), "looked after the certificate");
            self.metrics.certificate_step(&step);
        }
        Ok(step)
    }

    async fn take(
        &self,
        step: &Step,
        secret: &SeenSecret,
        state: State,
        configuration: &SeenConfiguration,
        now: Timestamp,
    ) -> Result<(), KeepError> {
        match step {
            Step::Rest => {}
            Step::Publish(bundle) => self.cluster.publish(configuration, bundle).await?,
            Step::Adopt(_)
            | Step::Forget
            | Step::AddAuthority
            | Step::RenewLeaf
            | Step::Promote => {
                let data = plan::take(step, state, &self.settings, now)?.write();
                self.cluster.write_secret(secret, &data).await?;
            }
        }
        Ok(())
    }

    /// Presents the leaf of the Secret if that is better than what is presented now.
    fn present(&self, state: &State, bundles: Option<&Bundles>, now: Timestamp) {
        let names = &self.settings.names;
        let (Some(leaf), Some(issuer)) = (&state.leaf, plan::issuer(state, names, now)) else {
            return;
        };
        let current = self.certificate.current();
        if current.as_deref() == Some(leaf) {
            return;
        }
        // What clients believe now is given up only for what they have had time to learn.
        let is_better = match bundles {
            Some(bundles) => {
                let believed = |pair: &Pair| bundles.verify(pair.chain(), names, now);
                !current.is_some_and(|pair| believed(&pair))
                    || plan::may_rely_on(issuer, self.seen(state, bundles), &self.settings, now)
            }
            None => current.is_none(),
        };
        if is_better {
            tracing::info!(not_after = %leaf.validity().not_after, "using a new certificate");
            self.certificate.present(leaf.clone());
        }
    }

    fn seen<'a>(&'a self, state: &'a State, bundles: &'a Bundles) -> Seen<'a> {
        Seen {
            state,
            bundles,
            sightings: &self.sightings,
            at: Instant::now(),
        }
    }
}

/// Up to a fifth longer, so that replicas which started together do not stay in step.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let part = u32::try_from(random % 1000).unwrap_or(0);
    pause + pause / 5000 * part
}
