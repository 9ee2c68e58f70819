//! Unix sockets and the gRPC servers on them.
//!
//! Whoever can open the CSI socket can attach and delete volumes, so it is never open to
//! anybody but its owner, not even between its birth and its first `chmod`. Only a
//! socket that nobody answers on is ever replaced; anything else at the path is an
//! error, because it was put there by mistake or by somebody.

pub(crate) mod liveness;
pub(crate) mod rpc;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rds_csi_core::kind::{Failure, Kind};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::metrics::Metrics;
use rpc::RpcLayer;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something that is no socket lies there.
    #[error("{path:?} exists and is not a socket; remove it, or choose another place")]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// Another process serves there.
    #[error("another process answers on {path:?}")]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{what} {path:?}")]
    System {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Failure for SocketError {
    fn kind(&self) -> Kind {
        match self {
            Self::Foreign { .. } | Self::Taken { .. } => Kind::Exists,
            Self::System { .. } => Kind::Unreachable,
        }
    }
}

/// A bound socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

impl Socket {
    /// Binds `path`, making its directory and replacing a socket that nobody answers on.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| SocketError::System { what, path, source }
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(system("making", directory))?;
        refuse_foreign(path)?;

        // The socket is born in a directory that only its owner may enter, and moved to
        // its place, over what is there, with its final mode. Others bind theirs beside
        // it, and kubelet, where it watches, passes over names that begin with a dot.
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        let nursery = directory.join(name);
        let newborn = nursery.join(".s");
        clear(&nursery, &newborn).map_err(system("removing", &nursery))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&nursery)
            .map_err(system("making", &nursery))?;
        let listener = UnixListener::bind(&newborn).map_err(system("binding", &newborn))?;
        fs::set_permissions(&newborn, Permissions::from_mode(0o600))
            .map_err(system("restricting", &newborn))?;
        fs::rename(&newborn, path).map_err(system("placing", path))?;
        fs::remove_dir(&nursery).map_err(system("removing", &nursery))?;
        let found = fs::symlink_metadata(path).map_err(system("reading", path))?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        };
        Ok(Self { listener, file })
    }

    /// Serves until `stop`, then until every call under way is answered. Messages stay
    /// within gRPC's own default limit of 4 MiB.
    pub(crate) async fn serve(
        self,
        routes: Routes,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let Self { listener, file } = self;
        let served = Server::builder()
            .layer(RpcLayer::new(metrics))
            .add_routes(routes)
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
            .await;
        drop(file);
        served
    }
}

/// Removes what an earlier process left when it died while binding.
fn clear(nursery: &Path, newborn: &Path) -> io::Result<()> {
    let unless_absent = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    unless_absent(fs::remove_file(newborn))?;
    unless_absent(fs::remove_dir(nursery))
}

/// An error where something lies at the path that must not be replaced.
fn refuse_foreign(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::System {
                what: "reading",
                path: path.to_owned(),
                source,
            });
        }
    };
    let path = path.to_owned();
    if !found.file_type().is_socket() {
        return Err(SocketError::Foreign { path });
    }
    match std::os::unix::net::UnixStream::connect(&path) {
        Ok(_) => Err(SocketError::Taken { path }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(?path, "replacing the socket of an ended process");
            Ok(())
        }
        Err(source) => Err(SocketError::System {
            what: "asking who answers on",
            path,
            source,
        }),
    }
}

/// The name of a bound socket in the filesystem.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    /// Only if it is still the same socket: a successor may have replaced it.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = ?self.path, %error, "removing the socket");
        }
    }
}

#[cfg(test)]
mod tests;
