//! A role that runs in this process, and clients of it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use hyper_util::rt::TokioIo;
use rds_csi_driver::args::Cli;
use rds_csi_driver::config::{Config, Role};
use rds_csi_driver::serve::{Driver, ServeError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Fails instead of hanging.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it should have ended long ago")
}

/// Looks until it is so, or fails.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    soon(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What a command line says.
pub(crate) fn role(args: impl IntoIterator<Item = String>) -> Role {
    let args = std::iter::once("rds-csi-driver".to_owned()).chain(args);
    let config = Config::try_from(&Cli::try_parse_from(args).unwrap());
    config.unwrap().role
}

/// A role in a task of this process.
pub(crate) struct Running {
    pub(crate) socket: PathBuf,
    pub(crate) stop: CancellationToken,
    admin: SocketAddr,
    task: JoinSet<Result<(), ServeError>>,
}

impl Running {
    /// Starts what is bound to `socket` and to an admin port.
    pub(crate) fn start(driver: Driver, socket: &Path, stop: CancellationToken) -> Self {
        let admin = driver.admin_address().unwrap();
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Self {
            socket: socket.to_owned(),
            stop,
            admin,
            task,
        }
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> Result<(), ServeError> {
        self.task.join_next().await.unwrap().unwrap()
    }

    /// Asks it to end, and how it did.
    pub(crate) async fn end(mut self) -> Result<(), ServeError> {
        self.stop.cancel();
        soon(self.ended()).await
    }

    /// The answer of the admin port, with its head.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    }

    /// Waits until the metrics have a line.
    pub(crate) async fn metric(&self, line: &str) {
        until(async || {
            let page = self.get("/metrics").await;
            page.lines().any(|found| found == line)
        })
        .await;
    }

    /// Waits until the answer of a page begins and ends so.
    pub(crate) async fn page(&self, path: &str, code: u16, end: &str) {
        let begin = format!("HTTP/1.1 {code} ");
        until(async || {
            let page = self.get(path).await;
            page.starts_with(&begin) && page.ends_with(end)
        })
        .await;
    }
}

/// A client's connection to a socket.
pub(crate) async fn channel(socket: &Path) -> Channel {
    channel_to("csi", socket).await
}

/// The same of a client that has another name for the socket's host.
pub(crate) async fn channel_to(authority: &str, socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_shared(format!("http://{authority}"))
        .unwrap()
        .connect_with_connector(connect)
        .await
        .unwrap()
}
