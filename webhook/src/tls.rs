//! The certificate that clients see: one pair of chain and key, replaced while it is in
//! use.
//!
//! Where a pair comes from is somebody else's business ([`files`], or the Secret of
//! [`crate::certificates`]). A pair that cannot be used never becomes a [`Pair`], so it
//! never replaces one that can. A key is never shown.

pub mod files;
mod validity;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use rds_csi_core::kind::{Failure, Kind};

pub use validity::{Validity, ValidityError};

/// Why a chain and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A text without what should be in it.
    #[error("reading {what} from PEM")]
    Pem {
        /// `a certificate chain` or `a private key`.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The leaf certificate's period of validity cannot be found.
    #[error("reading when the certificate ends")]
    Validity(#[from] ValidityError),
    /// The key is of a kind that is not supported, or belongs to another certificate.
    #[error("using the key with the certificate")]
    Mismatch(#[source] rustls::Error),
}

impl Failure for PairError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// A chain and a key that fit, as they were read.
#[derive(Clone)]
pub struct Pair {
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.chain_pem == other.chain_pem && self.key_pem == other.key_pem
    }
}

impl Pair {
    /// Reads a chain, leaf first, and its key: PKCS#8, PKCS#1 or SEC 1.
    pub fn parse(chain_pem: Vec<u8>, key_pem: Vec<u8>) -> Result<Self, PairError> {
        let unreadable = |what| move |source| PairError::Pem { what, source };
        let no_chain = unreadable("a certificate chain");
        let chain = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(no_chain)?;
        let leaf = chain
            .first()
            .ok_or_else(|| no_chain(pem::Error::NoItemsFound))?;
        let validity = Validity::of(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(unreadable("a private key"))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .and_then(|certified| certified.keys_match().map(|()| certified))
            .map_err(PairError::Mismatch)?;
        Ok(Self {
            certified: Arc::new(certified),
            chain_pem,
            key_pem,
            validity,
        })
    }

    /// From when until when the leaf is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The chain as it was read.
    #[must_use]
    pub fn chain_pem(&self) -> &[u8] {
        &self.chain_pem
    }

    /// The key as it was read. Never to be logged.
    #[must_use]
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// The leaf and what leads from it to a root.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

/// The pair in use, or why there is none; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Certificate {
    current: Arc<ArcSwapOption<Pair>>,
    trouble: Arc<ArcSwapOption<String>>,
}

impl Certificate {
    /// Presents `pair` on every connection from now on.
    pub fn present(&self, pair: Pair) {
        self.current.store(Some(Arc::new(pair)));
    }

    /// The pair in use.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Pair>> {
        self.current.load_full()
    }

    /// When the pair in use ends.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        Some(self.current.load().as_ref()?.validity.not_after)
    }

    /// Keeps what stands between here and a first or newer pair, for people.
    pub fn explain(&self, trouble: Option<String>) {
        self.trouble.store(trouble.map(Arc::new));
    }

    /// Why no client can be served, or `None` if one can.
    #[must_use]
    pub fn obstacle(&self, now: Timestamp) -> Option<String> {
        let what = match self.not_after() {
            None => "there is no certificate yet",
            Some(end) if end <= now => "the certificate has expired",
            Some(_) => return None,
        };
        Some(match &*self.trouble.load() {
            Some(trouble) => format!("{what}: {trouble}"),
            None => what.to_owned(),
        })
    }

    /// A server configuration that always presents the pair in use, for HTTP/2 and
    /// HTTP/1.1. Without a pair every handshake fails.
    ///
    /// # Errors
    /// No protocol version is left to speak, which is a defect.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().as_ref()?.certified))
    }
}
