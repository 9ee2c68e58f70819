//! A running simulator: the model, its SSH server, its control socket and its faults.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::Fault;
use crate::model::Model;
use crate::store::Store;

mod control;
mod faults;
mod options;
mod shared;
mod ssh;

#[cfg(test)]
mod tests;

pub use control::{ControlError, ask};
pub use options::{Options, StartError};
pub use shared::{Counters, Executed};

use options::{OwnDirectory, listen, model};
use shared::Shared;

/// A running simulator; dropping it ends its servers.
#[derive(Debug)]
pub struct Sim {
    options: Options,
    shared: Arc<Shared>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    host_key: PublicKey,
    client_key: Option<String>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    _own: Vec<OwnDirectory>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Sim {
    /// Starts one. Exports of the kept configuration are served before the SSH server is.
    ///
    /// # Errors
    /// When a directory, an address or a key is unusable.
    pub async fn start(mut options: Options) -> Result<Self, StartError> {
        let mut own = Vec::new();
        for directory in [&mut options.state_dir, &mut options.pool_dir] {
            if directory.is_none() {
                let new = OwnDirectory::new()?;
                *directory = Some(new.0.clone());
                own.push(new);
            }
        }
        let mut client_key = None;
        if options.authorized_keys.is_empty() {
            let mut rng = russh::keys::key::safe_rng();
            let key = PrivateKey::random(&mut rng, Algorithm::Ed25519)?;
            options.authorized_keys = vec![key.public_key().to_openssh()?];
            client_key = Some(key.to_openssh(LineEnding::LF)?.to_string());
        }
        Self::start_with(options, client_key, own).await
    }

    async fn start_with(
        mut options: Options,
        client_key: Option<String>,
        own: Vec<OwnDirectory>,
    ) -> Result<Self, StartError> {
        let state_dir = options.state_dir.clone().unwrap_or_default();
        let store = Store::open(&state_dir)?;
        let host_key = store.host_key()?;
        let public = host_key.public_key().clone();
        let model = model(&options, store)?;
        let (listener, address) = listen(options.listen).await?;
        options.listen = address;
        let control = match options.control {
            Some(wanted) => Some(listen(wanted).await?),
            None => None,
        };
        options.control = control.as_ref().map(|(_, address)| *address);
        let keys: Result<Vec<PublicKey>, _> = options
            .authorized_keys
            .iter()
            .map(|line| PublicKey::from_openssh(line))
            .collect();
        let sim = Self {
            address,
            control: options.control,
            host_key: public,
            client_key,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shared: Arc::new(Shared::new(model, &options.user, keys?)),
            options,
            _own: own,
        };
        let server = ssh::serve(
            Arc::clone(&sim.shared),
            listener,
            host_key,
            sim.tasks.clone(),
            sim.cancel.clone(),
        );
        sim.tasks.spawn(server);
        let (shared, cancel) = (Arc::clone(&sim.shared), sim.cancel.clone());
        sim.tasks.spawn(async move {
            while !cancel.is_cancelled() {
                shared.model().tick();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if let Some((listener, _)) = control {
            let server = control::serve(Arc::clone(&sim.shared), listener, sim.tasks.clone());
            let cancel = sim.cancel.clone();
            sim.tasks.spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = server => {}
                }
            });
        }
        Ok(sim)
    }

    /// Where the SSH server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the control socket listens, if there is one.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The host's public key in OpenSSH form: `ssh-ed25519 AAAA…`.
    ///
    /// # Errors
    /// When it cannot be written so.
    pub fn host_key(&self) -> Result<String, StartError> {
        Ok(self.host_key.to_openssh()?)
    }

    /// The private key that may log in, in OpenSSH form, if no keys were given at start.
    #[must_use]
    pub fn client_key(&self) -> Option<&str> {
        self.client_key.as_deref()
    }

    /// The user who may log in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.options.user
    }

    /// Where backing files lie: `/storage-pool/x.img` is `<pool_dir>/storage-pool/x.img`.
    #[must_use]
    pub fn pool_dir(&self) -> &Path {
        self.options.pool_dir.as_deref().unwrap_or(Path::new(""))
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// When a foreign file or item cannot be made.
    pub fn inject(&self, fault: Fault) -> io::Result<()> {
        faults::inject(&self.shared, &self.tasks, fault)
    }

    /// Forgets faults that have not fired yet; lasting ones stay.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    /// Everything there is to know, as the control socket's `state` gives it.
    #[must_use]
    pub fn state(&self) -> Json {
        self.shared.state()
    }

    /// The latest scripts, oldest first.
    #[must_use]
    pub fn executed(&self) -> Vec<Executed> {
        self.shared.executed()
    }

    /// How much was connected and executed.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Works on the model directly.
    pub fn with_model<T>(&self, work: impl FnOnce(&mut Model) -> T) -> T {
        work(&mut self.shared.model())
    }

    /// Ends the servers; configuration is saved and exports are withdrawn.
    pub async fn stop(&self) {
        self.end(false).await;
    }

    /// Ends everything as a power cut does: configuration that is not saved yet is lost.
    pub async fn power_cut(&self) {
        self.end(true).await;
    }

    async fn end(&self, power_cut: bool) {
        self.cancel.cancel();
        self.shared.cut_connections();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks still run after the stop");
        }
        self.shared.model().switch_off(power_cut);
    }

    /// Ends it and starts it again with its state, at the same addresses. Histories,
    /// counters and faults start empty.
    ///
    /// # Errors
    /// As for [`Sim::start`].
    pub async fn restart(mut self) -> Result<Self, StartError> {
        self.stop().await;
        let own = std::mem::take(&mut self._own);
        Self::start_with(self.options.clone(), self.client_key.clone(), own).await
    }
}
