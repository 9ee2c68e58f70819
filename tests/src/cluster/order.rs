//! What the supervisor of a cluster can be told to do, and how it is told: one line of
//! JSON each way, over a unix socket.

use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::layout::State;

/// An order. It is carried out when its answer comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Cut a node's power.
    Kill {
        /// Which node.
        node: String,
    },
    /// Boot a node whose power was cut.
    Boot {
        /// Which node.
        node: String,
    },
    /// End a node's kubelet.
    KillKubelet {
        /// Which node.
        node: String,
    },
    /// Start a node's kubelet.
    StartKubelet {
        /// Which node.
        node: String,
    },
    /// Import an archive of images into every node.
    Import {
        /// The archive.
        archive: PathBuf,
    },
    /// Take a link away: packets in either direction vanish silently.
    Cut {
        /// Which link.
        link: Link,
    },
    /// Give a link back.
    Restore {
        /// Which link.
        link: Link,
    },
    /// Cut the appliance's power.
    PowerOff,
    /// Boot the appliance and start the simulator.
    PowerOn,
    /// Ask the simulator's control socket.
    Simulator {
        /// The request, as the simulator takes it.
        request: Value,
    },
    /// End a part of the control plane, by SIGKILL.
    KillPart {
        /// The program's name.
        part: String,
    },
    /// Start a part of the control plane.
    StartPart {
        /// The program's name.
        part: String,
    },
    /// Send a signal to a part of the control plane.
    SignalPart {
        /// The program's name.
        part: String,
        /// The signal, as in `STOP` and `CONT`.
        signal: String,
    },
    /// Undo every cut, boot and start whatever is down.
    Heal,
    /// Tell how every part is: a list of [`Part`].
    Status,
}

/// A link that can be cut alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Between a node and the cluster's network: the API, other pods, the device's SSH.
    NodeApi(String),
    /// Between a node and the appliance's NVMe/TCP.
    NodeStorage(String),
    /// Between the appliance's SSH and everybody.
    Ssh,
    /// Between the appliance's NVMe/TCP and everybody.
    Nvme,
}

/// How a part of the cluster is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// Its process, in the cluster's process namespace; none if it does not run.
    pub pid: Option<u32>,
    /// Where it writes, in the cluster's mount namespace.
    pub log: PathBuf,
}

/// Gives an order to the supervisor of a cluster and awaits its answer.
///
/// # Errors
/// No cluster is up, or the order was not carried out.
pub async fn give(state: &State, order: &Order) -> anyhow::Result<Value> {
    let socket = state.socket();
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "connecting to {}: is a cluster up? hack/cluster status",
            socket.display()
        )
    })?;
    let mut stream = BufReader::new(stream);
    send(&mut stream, order).await.context("giving an order")?;
    let answer: Answer = receive(&mut stream)
        .await
        .context("awaiting an order's end")?;
    answer
        .map_err(|reason| anyhow!(reason))
        .with_context(|| format!("ordering {order:?}"))
}

/// What the supervisor answers: a value, or why not.
pub(super) type Answer = Result<Value, String>;

pub(super) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

pub(super) async fn receive<T: for<'a> Deserialize<'a>>(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
) -> io::Result<T> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(Into::into)
}
