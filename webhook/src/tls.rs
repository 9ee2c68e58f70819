//! The certificate that clients see: two PEM files, read again and again.
//!
//! Files are polled, not watched: a Secret volume swaps a symbolic link to a directory,
//! which a watch on a file's inode never sees. A pair that cannot be used never
//! replaces one that can.

mod reload;
mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use rds_csi_core::kind::{Failure, Kind};

/// More than any chain and key need.
const LARGEST_FILE: u64 = 1 << 20;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is too large to be a certificate or key.
    #[error("{} is larger than 1 MiB", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file without what should be in it.
    #[error("reading {what} from the PEM file {}", path.display())]
    Pem {
        /// `a certificate chain` or `a private key`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The leaf certificate's period of validity cannot be found.
    #[error("reading when the certificate in {} ends", path.display())]
    Validity {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: validity::ValidityError,
    },
    /// The key is of a kind that is not supported, or belongs to another certificate.
    #[error("using the key in {} with the certificate in {}", key.display(), certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No protocol version is left to speak.
    #[error("configuring TLS")]
    Tls(#[source] rustls::Error),
}

impl Failure for CertificateError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Unreachable,
            Self::TooLarge { .. }
            | Self::Pem { .. }
            | Self::Validity { .. }
            | Self::Pair { .. } => Kind::Invalid,
            Self::Tls(_) => Kind::Bug,
        }
    }
}

/// Where the pair lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the leaf first, then what leads to the root.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
}

/// A pair that fits, as it was read.
#[derive(Debug)]
struct Pair {
    pem: (Vec<u8>, Vec<u8>),
    certified: Arc<CertifiedKey>,
    not_after: Timestamp,
}

/// The pair in use; clones share it.
#[derive(Debug, Clone)]
pub struct Certificate {
    files: CertificateFiles,
    current: Arc<ArcSwap<Pair>>,
}

impl Certificate {
    /// Reads the pair for the first time.
    pub async fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let pair = files.parse(files.read().await?)?;
        Ok(Self {
            files,
            current: Arc::new(ArcSwap::from_pointee(pair)),
        })
    }

    /// When the pair in use ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.current.load().not_after
    }

    /// A server configuration that always presents the pair in use, for HTTP/2 and
    /// HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().certified))
    }
}

impl CertificateFiles {
    async fn read(&self) -> Result<(Vec<u8>, Vec<u8>), CertificateError> {
        Ok((read(&self.certificate).await?, read(&self.key).await?))
    }

    fn parse(&self, pem: (Vec<u8>, Vec<u8>)) -> Result<Pair, CertificateError> {
        let (certificate, key) = (&self.certificate, &self.key);
        let unreadable = |what, path: &Path, source| CertificateError::Pem {
            what,
            path: path.to_owned(),
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&pem.0)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| unreadable("a certificate chain", certificate, source))?;
        let leaf = chain.first().ok_or_else(|| {
            unreadable("a certificate chain", certificate, pem::Error::NoItemsFound)
        })?;
        let not_after = validity::not_after(leaf).map_err(|source| CertificateError::Validity {
            path: certificate.clone(),
            source,
        })?;
        let private = PrivateKeyDer::from_pem_slice(&pem.1)
            .map_err(|source| unreadable("a private key", key, source))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, private, &provider)
            .and_then(|certified| certified.keys_match().map(|()| certified))
            .map_err(|source| CertificateError::Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            })?;
        Ok(Pair {
            pem,
            certified: Arc::new(certified),
            not_after,
        })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if metadata.len() > LARGEST_FILE {
        return Err(CertificateError::TooLarge {
            path: path.to_owned(),
        });
    }
    tokio::fs::read(path).await.map_err(failed)
}

#[cfg(test)]
mod tests;
