//! The control socket: JSON lines over TCP, one answer for each request.
//!
//! For tests and people on the same machine; it authenticates nobody, so it must never
//! listen beyond loopback or a network of the tests' own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::faults;
use super::shared::Shared;
use crate::fault::Fault;

/// What can be asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Request {
    /// Lets something go wrong.
    Inject(Fault),
    /// Forgets faults that have not fired.
    ClearFaults,
    /// Everything there is to know.
    State,
    /// Connections and executions since the start.
    Counters,
    /// The latest scripts.
    Executed,
    /// Runs a script as an administrator beside the SSH user.
    Exec { script: String },
    /// Says that a host is connected to an item.
    Connected { slot: String, connected: bool },
    /// Sets a switch.
    Variant { name: String, value: String },
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed.
    #[error("could not talk to the control socket {0}")]
    Socket(SocketAddr, #[source] io::Error),
    /// Nothing came in time.
    #[error("the control socket {0} does not answer")]
    Silent(SocketAddr),
}

/// Serves the control socket for ever.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, tasks: TaskTracker) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (shared, tasks) = (Arc::clone(&shared), tasks.clone());
                    clients.spawn(async move {
                        if let Err(error) = client(&shared, &tasks, stream).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
        }
    }
}

async fn client(shared: &Arc<Shared>, tasks: &TaskTracker, stream: TcpStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = answer(shared, tasks, &line).to_string();
        answer.push('\n');
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn answer(shared: &Arc<Shared>, tasks: &TaskTracker, line: &str) -> Json {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return json!({"ok": false, "error": error.to_string()}),
    };
    match request {
        Request::Inject(fault) => match faults::inject(shared, tasks, fault) {
            Ok(()) => json!({"ok": true}),
            Err(error) => json!({"ok": false, "error": error.to_string()}),
        },
        Request::ClearFaults => {
            shared.clear_faults();
            json!({"ok": true})
        }
        Request::State => json!({"ok": true, "state": shared.state()}),
        Request::Counters => json!({"ok": true, "counters": shared.counters()}),
        Request::Executed => json!({"ok": true, "executed": shared.executed()}),
        Request::Exec { script } => {
            let output = shared.model().exec(&script);
            json!({"ok": true, "stdout": output.text(), "status": output.status})
        }
        Request::Connected { slot, connected } => {
            shared.model().set_connected(&slot, connected);
            json!({"ok": true})
        }
        Request::Variant { name, value } => {
            match shared.model().variants_mut().set(&name, &value) {
                Ok(()) => json!({"ok": true}),
                Err(error) => json!({"ok": false, "error": error.to_string()}),
            }
        }
    }
}

/// Sends one request line to the control socket of a running simulator; gives its answer line.
///
/// # Errors
/// When the socket cannot be reached or does not answer within 10 s.
pub async fn ask(address: SocketAddr, line: &str) -> Result<String, ControlError> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("{}\n", line.trim()).as_bytes())
            .await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    };
    match tokio::time::timeout(Duration::from_secs(10), talk).await {
        Ok(Ok(answer)) if !answer.is_empty() => Ok(answer),
        Ok(Err(error)) => Err(ControlError::Socket(address, error)),
        Ok(Ok(_)) | Err(_) => Err(ControlError::Silent(address)),
    }
}
