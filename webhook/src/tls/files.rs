//! A pair from two PEM files, read again and again.
//!
//! Files are polled, not watched: a Secret volume swaps a symbolic link to a directory,
//! which a watch on a file's inode never sees.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rds_csi_core::kind::{Chain, Failure, Kind};

use super::{Certificate, Pair, PairError};
use crate::metrics::Metrics;

/// More than any chain and key need.
const LARGEST_FILE: u64 = 1 << 20;

/// Why the files give no pair.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
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
    /// What is in the files is no pair.
    #[error("using {} with {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: PairError,
    },
}

impl Failure for FileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Unreachable,
            Self::TooLarge { .. } => Kind::Invalid,
            Self::Pair { source, .. } => source.kind(),
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

impl CertificateFiles {
    /// Reads the files and presents what is in them. `Ok(true)` if another pair is in
    /// use from now on; on an error the old one stays.
    pub async fn load(&self, into: &Certificate) -> Result<bool, FileError> {
        let (chain, key) = (read(&self.certificate).await?, read(&self.key).await?);
        let same = into
            .current()
            .is_some_and(|pair| pair.chain_pem() == chain && pair.key_pem() == key);
        if same {
            return Ok(false);
        }
        let pair = Pair::parse(chain, key).map_err(|source| FileError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        into.present(pair);
        Ok(true)
    }

    /// Loads for ever, once in every `interval`. A failure is counted each time and
    /// logged when it is a new one.
    pub async fn follow(
        &self,
        into: &Certificate,
        interval: Duration,
        metrics: &Metrics,
    ) -> Infallible {
        let mut last_failure = None;
        loop {
            metrics.presenting(into);
            tokio::time::sleep(interval).await;
            match self.load(into).await {
                Ok(changed) => {
                    last_failure = None;
                    if let (true, Some(not_after)) = (changed, into.not_after()) {
                        tracing::info!(%not_after, "using a new certificate");
                    }
                }
                Err(error) => {
                    metrics.certificate_failures.inc();
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

async fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if metadata.len() > LARGEST_FILE {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    tokio::fs::read(path).await.map_err(failed)
}

#[cfg(test)]
mod tests;
