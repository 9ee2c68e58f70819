//! The user's private key, read from its file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use russh::keys::{Algorithm, PrivateKey, decode_secret_key};

/// A private key file is a few kilobytes.
const LONGEST: u64 = 64 << 10;

/// Why a key file cannot be used. Never shows anything of its content.
#[derive(Debug, thiserror::Error)]
pub enum UserKeyError {
    /// The file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is no key.
    #[error("{path} is not an unencrypted private key in OpenSSH or PEM form")]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a type that RouterOS does not take.
    #[error("{path} holds a key of type {algorithm}; RouterOS takes Ed25519 and RSA")]
    Algorithm {
        /// The file.
        path: PathBuf,
        /// Its type.
        algorithm: String,
    },
}

/// Reads the key. Says by a warning where the file is open to more than its group.
pub(super) async fn read(path: &Path) -> Result<PrivateKey, UserKeyError> {
    let error = |source| UserKeyError::Read {
        path: path.to_owned(),
        source,
    };
    let form = || UserKeyError::Form {
        path: path.to_owned(),
    };
    let metadata = tokio::fs::metadata(path).await.map_err(error)?;
    if metadata.len() > LONGEST {
        return Err(form());
    }
    let mode = metadata.permissions().mode() & 0o777;
    // A Secret of Kubernetes is root's and readable to its pod's group: kubelet knows no
    // other way to hand it to a program that is not root.
    if mode & 0o037 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "the SSH key is open to others than its owner and their group");
    }
    let text = tokio::fs::read_to_string(path).await.map_err(error)?;
    let key = decode_secret_key(&text, None).map_err(|_| form())?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Rsa { .. } => Ok(key),
        other => Err(UserKeyError::Algorithm {
            path: path.to_owned(),
            algorithm: other.to_string(),
        }),
    }
}
