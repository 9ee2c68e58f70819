//! A controller that runs in this process, and clients of it.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use hyper_util::rt::TokioIo;
use rds_csi_driver::args::Cli;
use rds_csi_driver::config::{Config, ControllerConfig, Role};
use rds_csi_driver::serve::{Driver, ServeError};
use rds_csi_routeros::Rds;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHtWzgSZyS0fDb2CTGFmvZ0DDNRcbHuhvmMJ1k5Pc3Ah";

/// Fails instead of hanging.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it should have ended long ago")
}

/// A controller in a task of this process.
pub(crate) struct Running {
    _base: TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) stop: CancellationToken,
    admin: SocketAddr,
    task: JoinSet<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(rds: Arc<dyn Rds>, grace: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let config = config(base.path(), grace);
        let stop = CancellationToken::new();
        let driver = Driver::controller(&config, rds, stop.clone())
            .await
            .unwrap();
        let admin = driver.admin_address().unwrap();
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Self {
            _base: base,
            socket: config.endpoint,
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
        soon(async {
            while !self
                .get("/metrics")
                .await
                .lines()
                .any(|found| found == line)
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn config(base: &Path, grace: &str) -> ControllerConfig {
    let key = base.join("key");
    fs::write(&key, "").unwrap();
    let args = [
        "rds-csi-driver",
        "controller",
        "--cluster=none",
        "--cluster-id=c1",
        "--rds-address=127.0.0.1",
        "--admin-listen=127.0.0.1:0",
        "--shutdown-grace",
        grace,
        "--rds-host-key",
        HOST_KEY,
        "--rds-key-file",
        key.to_str().unwrap(),
        "--endpoint",
        base.join("csi.sock").to_str().unwrap(),
    ]
    .map(str::to_owned);
    let config = Config::try_from(&Cli::try_parse_from(args).unwrap()).unwrap();
    match config.role {
        Role::Controller(config) => config,
        Role::Node(_) => panic!("a controller was asked for"),
    }
}

/// A client's connection to a socket.
pub(crate) async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://csi")
        .connect_with_connector(connect)
        .await
        .unwrap()
}
