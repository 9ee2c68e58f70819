//! The program itself: its exit codes and what signals do to it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends it")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::{GetPluginInfoRequest, GetPluginInfoResponse, ProbeRequest};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHtWzgSZyS0fDb2CTGFmvZ0DDNRcbHuhvmMJ1k5Pc3Ah";

#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

fn driver() -> std::process::Command {
    let mut command = command(env!("CARGO_BIN_EXE_rds-csi-driver"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env_clear();
    command
}

/// A controller whose device does not exist. Killed when dropped.
struct Program {
    base: TempDir,
    child: Child,
}

impl Program {
    async fn start() -> Self {
        let base = tempfile::tempdir().unwrap();
        let key = base.path().join("key");
        fs::write(&key, "").unwrap();
        let child = driver()
            .args(["controller", "--cluster=none", "--cluster-id=c1"])
            .args(["--admin-listen=off", "--rds-host-key", HOST_KEY])
            .arg("--rds-key-file")
            .arg(&key)
            // Nobody listens on the discard port of this machine.
            .env("RDS_CSI_RDS_ADDRESS", "127.0.0.1:9")
            .env("RDS_CSI_ENDPOINT", base.path().join("csi.sock"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { base, child };
        let socket = program.socket();
        until(|| BlockingStream::connect(&socket).is_ok()).await;
        program
    }

    fn socket(&self) -> PathBuf {
        self.base.path().join("csi.sock")
    }

    fn signal(&self, name: &str) {
        let sent = command("/bin/kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    async fn status(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        until(|| {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has usually ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until it is so, for at most 20 seconds.
async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never was so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn refuses(socket: &Path) -> bool {
    BlockingStream::connect(socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn a_signal_ends_an_idle_driver_in_order() {
    for name in ["TERM", "INT"] {
        let mut program = Program::start().await;
        program.signal(name);
        assert_eq!(program.status().await.code(), Some(0), "{name}");
        assert!(!program.socket().exists());
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_a_call_under_way() {
    let mut program = Program::start().await;
    let socket = program.socket();
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://csi");
    let channel = endpoint.connect_with_connector(connect).await.unwrap();

    // A call whose request never ends cannot be answered.
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<GetPluginInfoRequest, GetPluginInfoResponse>::default();
    let path = PathAndQuery::from_static("/csi.v1.Identity/GetPluginInfo");
    let request = tonic::Request::new(tokio_stream::pending());
    let mut endless = Box::pin(grpc.client_streaming(request, path, codec));
    // The server has seen its beginning when a later call on the connection is answered.
    let mut client = IdentityClient::new(channel);
    tokio::select! {
        biased;
        answer = &mut endless => panic!("answered: {answer:?}"),
        probe = client.probe(ProbeRequest {}) => drop(probe.unwrap()),
    }

    program.signal("TERM");
    let socket = program.socket();
    until(|| refuses(&socket)).await;
    assert!(program.child.try_wait().unwrap().is_none(), "it waits");
    program.signal("INT");
    assert_eq!(program.status().await.code(), Some(130));
}

#[test]
fn every_bad_flag_is_told_and_nothing_is_bound() {
    let base = tempfile::tempdir().unwrap();
    let socket = base.path().join("csi.sock");
    let output = driver()
        .args(["node", "--node-name=A_B", "--shutdown-grace=never"])
        .arg("--endpoint")
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    for flag in ["--cluster-id", "--node-name", "--shutdown-grace"] {
        assert!(text.contains(&format!("\n  {flag} (RDS_CSI_")), "{text}");
    }
    assert!(!socket.exists());
    let unknown = driver().args(["node", "--no-such-flag"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(64));
}

#[test]
fn the_version_is_told() {
    let output = driver()
        .arg("--version")
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        format!("rds-csi-driver {}\n", env!("CARGO_PKG_VERSION"))
    );
}
