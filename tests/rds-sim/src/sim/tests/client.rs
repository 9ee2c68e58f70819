//! An SSH client that notes what came and how it ended.

use std::sync::Arc;

use russh::ChannelMsg;
use russh::client;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};

use super::DEADLINE;
use crate::sim::Sim;

pub(super) struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A session with a simulator.
pub(super) struct Ssh(pub(super) client::Handle<AnyHost>);

impl Ssh {
    /// A session, or nothing when the user is not let in.
    pub(super) async fn try_login(sim: &Sim, user: &str) -> Result<Option<Self>, russh::Error> {
        let key = PrivateKey::from_openssh(sim.client_key().unwrap()).unwrap();
        let config = Arc::new(client::Config::default());
        let mut session = client::connect(config, sim.address(), AnyHost).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let login = session.authenticate_publickey(user, key).await?;
        Ok(login.success().then_some(Self(session)))
    }

    /// A session that must come about.
    pub(super) async fn login(sim: &Sim) -> Self {
        let login = tokio::time::timeout(DEADLINE, Self::try_login(sim, sim.user())).await;
        login.unwrap().unwrap().unwrap()
    }

    /// What came before the channel ended, and the exit status if there was one.
    pub(super) async fn exec(&self, script: &str) -> (String, Option<u32>) {
        let exec = async {
            let mut output = Vec::new();
            let mut status = None;
            let Ok(mut channel) = self.0.channel_open_session().await else {
                return (output, status);
            };
            if channel.exec(true, script).await.is_err() {
                return (output, status);
            }
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => output.extend_from_slice(&data),
                    ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                    _ => {}
                }
                if output.len() > 1 << 20 {
                    break;
                }
            }
            (output, status)
        };
        let (output, status) = tokio::time::timeout(DEADLINE, exec).await.unwrap();
        (String::from_utf8_lossy(&output).into_owned(), status)
    }
}
