//! The agent and its client over loopback, without a guest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use csi_proto::v1::ProbeRequest;
use csi_proto::v1::identity_client::IdentityClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::Server;

use super::{Agent, Command, Endpoint, Status, serve};

const LONG: Duration = Duration::from_secs(60);
const NO_ENTRY: i32 = 2;

/// An agent on loopback, which ends with the set of tasks.
async fn agent() -> (Agent, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener));
    (Agent::at(address), tasks)
}

fn bash(script: &str) -> Command {
    Command {
        argv: ["bash", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]),
    }
}

#[tokio::test]
async fn a_program_is_given_input_and_variables_and_its_outputs_are_kept_apart() {
    let (agent, _tasks) = agent().await;
    let command = bash("cat; echo $COLOUR; echo oops >&2; exit 7");
    let output = agent.run(command, b"in ", LONG).await.unwrap();
    assert_eq!(output.status, Status::Exited(7));
    assert_eq!(output.text(), "in green");
    assert_eq!(output.error_text(), "oops");
}

#[tokio::test]
async fn a_program_past_its_deadline_is_killed_and_what_it_said_is_kept() {
    let (agent, _tasks) = agent().await;
    let directory = tempfile::tempdir().unwrap();
    let alive = directory.path().join("alive");
    let script = format!(
        "echo before; sleep 3600 & echo $! >{}; wait",
        alive.display()
    );
    let short = Duration::from_secs(2);
    let output = agent.run(bash(&script), b"", short).await.unwrap();
    assert_eq!(output.status, Status::TimedOut);
    assert_eq!(output.text(), "before");
    let child = std::fs::read_to_string(alive).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    // A signal is sent at once, but a busy machine takes its time to act on it.
    crate::wait::until("the program's child is gone", LONG, async || {
        let alive = std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        Ok((!alive).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_with_its_number() {
    let (agent, _tasks) = agent().await;
    let command = Command {
        argv: vec!["/no/such/program".to_owned()],
        env: BTreeMap::new(),
    };
    let error = agent.run(command, b"", LONG).await.unwrap_err();
    assert_eq!(error.errno(), Some(NO_ENTRY));
    assert!(error.to_string().contains("run /no/such/program"));
}

#[tokio::test]
async fn a_started_program_is_polled_signalled_and_its_output_is_in_the_file() {
    let (agent, _tasks) = agent().await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let script = bash("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let (process, pid) = agent.spawn(script, log.clone()).await.unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    crate::wait::until("the program is ready", LONG, async || {
        Ok(std::fs::read_to_string(&log)?
            .contains("ready")
            .then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(agent.poll(process, Duration::ZERO).await.unwrap(), None);
    agent.signal(process, "TERM").await.unwrap();
    let status = agent.poll(process, LONG).await.unwrap();
    assert_eq!(status, Some(Status::Exited(3)));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.starts_with("ready\n") && said.ends_with("bye\n"));
    assert!(agent.signal(process, "TERM").await.is_err());
    assert!(agent.poll(process + 1, LONG).await.is_err());
}

#[tokio::test]
async fn files_are_written_and_read_and_a_missing_one_is_told_from_an_unreadable_one() {
    let (agent, _tasks) = agent().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    assert_eq!(agent.read(&path).await.unwrap_err().errno(), Some(NO_ENTRY));
    agent.write(&path, b"a longer text").await.unwrap();
    agent.write(&path, b"\0\xff\n").await.unwrap();
    assert_eq!(agent.read(&path).await.unwrap(), b"\0\xff\n");
    let error = agent.read(directory.path()).await.unwrap_err();
    assert_ne!(error.errno(), Some(NO_ENTRY));
    assert!(error.errno().is_some());
}

#[tokio::test]
async fn a_dialled_unix_socket_speaks_first_and_both_ways() {
    let (agent, mut tasks) = agent().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(b"hello ").await?;
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await?;
        Ok(())
    });
    let mut stream = agent.dial(Endpoint::Unix(path)).await.unwrap();
    stream.write_all(b"world").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello world");
    let nowhere = Endpoint::Unix(directory.path().join("none"));
    let error = agent.dial(nowhere).await.unwrap_err();
    assert_eq!(error.errno(), Some(NO_ENTRY));
}

#[tokio::test]
async fn a_grpc_channel_reaches_a_unix_socket_and_finds_its_restarted_server() {
    let (agent, _tasks) = agent().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let mut identity = IdentityClient::new(agent.channel(&socket));
    let absent = identity.probe(ProbeRequest {}).await.unwrap_err();
    assert_eq!(absent.code(), Code::Unavailable, "{absent}");
    for _ in 0..2 {
        let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        // A server without services answers every call by "unimplemented".
        server.spawn(
            Server::builder()
                .add_routes(Routes::default())
                .serve_with_incoming_shutdown(listener, async { stopped.await.unwrap() }),
        );
        crate::wait::until("the server answers", LONG, async || {
            let answer = identity.probe(ProbeRequest {}).await.unwrap_err();
            Ok((answer.code() == Code::Unimplemented).then_some(()))
        })
        .await
        .unwrap();
        stop.send(()).unwrap();
        server.join_next().await.unwrap().unwrap().unwrap();
        std::fs::remove_file(&socket).unwrap();
    }
}
