//! One SSH session: opened by a pinned key and a user key, then one command at a time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Preferred};
use tokio::net::TcpStream;

use super::link::Link;
use super::{ConnectError, HostKey, host_key, user_key};
use crate::config::RdsConfig;

/// After this long without a word from the device it is asked for one…
const KEEPALIVE: Duration = Duration::from_secs(10);
/// …and after so many unanswered ones the connection is dead.
const KEEPALIVES: usize = 3;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(250);

/// An open session.
pub(super) struct Session {
    handle: Handle<Peer>,
}

/// The other side, as the SSH library asks about it.
struct Peer {
    pinned: Vec<HostKey>,
    link: Link,
    number: u64,
}

/// Why a handshake ended.
#[derive(Debug)]
enum PeerError {
    WrongHostKey { offered: String },
    Protocol(russh::Error),
}

impl From<russh::Error> for PeerError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl client::Handler for Peer {
    type Error = PeerError;

    async fn check_server_key(
        &mut self,
        offered: &PublicKeyOrCertificate,
    ) -> Result<bool, PeerError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = offered else {
            return Ok(false);
        };
        if self.pinned.iter().any(|pinned| pinned.is(key)) {
            return Ok(true);
        }
        Err(PeerError::WrongHostKey {
            offered: host_key::fingerprint(key),
        })
    }
}

impl Drop for Peer {
    /// The library drops it with the session, however that ends.
    fn drop(&mut self) {
        self.link.ended(self.number);
    }
}

/// How a command ended.
pub(super) enum Ran {
    /// With this output.
    Whole(Vec<u8>),
    /// The connection broke.
    Lost(String),
    /// It printed too much.
    TooMuch,
}

impl Session {
    /// Opens a session. `number` is the one that [`Link::ended`] is told when it is over.
    pub(super) async fn open(
        config: &RdsConfig,
        link: Link,
        number: u64,
    ) -> Result<Self, ConnectError> {
        let key =
            user_key::read(&config.key_file)
                .await
                .map_err(|source| ConnectError::UserKey {
                    user: config.user.clone(),
                    source,
                })?;
        let stream = TcpStream::connect(config.address.parts())
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| ConnectError::Dial { source })?;
        let peer = Peer {
            pinned: config.host_keys.clone(),
            link,
            number,
        };
        let handle = client::connect_stream(Arc::new(options(&config.host_keys)), stream, peer)
            .await
            .map_err(|error| handshake_error(error, &config.host_keys))?;
        let mut session = Self { handle };
        session.authenticate(&config.user, key).await?;
        Ok(session)
    }

    async fn authenticate(&mut self, user: &str, key: PrivateKey) -> Result<(), ConnectError> {
        let rejected = ConnectError::Rejected {
            user: user.to_owned(),
            fingerprint: host_key::fingerprint(key.public_key()),
        };
        let key = Arc::new(key);
        for hash in self.signatures(&key).await? {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
            let answer = self.handle.authenticate_publickey(user, key).await;
            if answer?.success() {
                return Ok(());
            }
        }
        Err(rejected)
    }

    /// The hashes to sign with: for RSA those of SHA-2, never SHA-1.
    async fn signatures(&self, key: &PrivateKey) -> Result<Vec<Option<HashAlg>>, russh::Error> {
        if !key.algorithm().is_rsa() {
            return Ok(vec![None]);
        }
        Ok(match self.handle.best_supported_rsa_hash().await? {
            Some(Some(hash)) => vec![Some(hash)],
            Some(None) | None => vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)],
        })
    }

    /// Whether the session is known to be over.
    pub(super) fn is_over(&self) -> bool {
        self.handle.is_closed()
    }

    /// A channel for one command. Nothing is sent to the console yet.
    pub(super) async fn channel(&self) -> Result<Channel<client::Msg>, String> {
        self.handle
            .channel_open_session()
            .await
            .map_err(|error| error.to_string())
    }

    /// Says goodbye and closes the connection.
    pub(super) async fn close(self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "en");
        // A device that does not listen any more is left without one.
        drop(tokio::time::timeout(GOODBYE, goodbye).await);
    }
}

/// Runs one command on its channel and collects what it prints, up to `limit` bytes.
pub(super) async fn run(mut channel: Channel<client::Msg>, text: &str, limit: usize) -> Ran {
    if let Err(error) = channel.exec(true, text).await {
        return Ran::Lost(error.to_string());
    }
    let mut output = Vec::new();
    let (mut end_of_output, mut exited) = (false, false);
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                if output.len() + data.len() > limit {
                    return Ran::TooMuch;
                }
                output.extend_from_slice(&data);
            }
            Some(ChannelMsg::Failure) => return Ran::Lost("the device refused to run it".into()),
            Some(ChannelMsg::Eof) => end_of_output = true,
            Some(ChannelMsg::ExitStatus { .. } | ChannelMsg::ExitSignal { .. }) => exited = true,
            Some(ChannelMsg::Close) => return Ran::Whole(output),
            Some(_) => {}
            None if end_of_output => return Ran::Whole(output),
            None => return Ran::Lost("the session ended".into()),
        }
        if end_of_output && exited {
            // The device's own close may come later; nothing depends on it.
            drop(channel.close().await);
            return Ran::Whole(output);
        }
    }
}

impl From<russh::Error> for ConnectError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol {
            reason: error.to_string(),
        }
    }
}

fn handshake_error(error: PeerError, pinned: &[HostKey]) -> ConnectError {
    match error {
        PeerError::WrongHostKey { offered } => ConnectError::WrongHostKey {
            offered,
            pinned: pinned
                .iter()
                .map(HostKey::fingerprint)
                .collect::<Vec<_>>()
                .join(", "),
        },
        PeerError::Protocol(error) => error.into(),
    }
}

/// The library's settings: keys of the pinned types are asked for first, so that a
/// device with several keys shows the one that is pinned; signatures with SHA-1 never.
fn options(pinned: &[HostKey]) -> client::Config {
    let is_pinned = |algorithm: &Algorithm| {
        pinned.iter().any(|key| match (key.algorithm(), algorithm) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (key, algorithm) => key == *algorithm,
        })
    };
    let (mut first, rest): (Vec<Algorithm>, Vec<Algorithm>) = Preferred::DEFAULT
        .key
        .iter()
        .filter(|algorithm| !matches!(algorithm, Algorithm::Rsa { hash: None }))
        .cloned()
        .partition(is_pinned);
    first.extend(rest);
    client::Config {
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(first),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}
