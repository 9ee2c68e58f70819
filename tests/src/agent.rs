//! Working inside a guest: the requests, and how they travel.
//!
//! The agent is a small server in the guest; a test is its client. One TCP
//! connection carries one request. A message is one line of JSON,
//! `{"head":…,"body":N}`, followed by N bytes. After a granted [`Request::Dial`] the
//! connection carries the bytes of the dialled socket.
//!
//! The agent obeys whoever reaches it: it must never listen outside of a lab.

mod client;
mod process;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use client::{Agent, AgentError, Connection, Output};
pub use server::serve;

/// The longest head line and the longest body of a message, in bytes.
const HEAD_LIMIT: u64 = 1 << 20;
const BODY_LIMIT: usize = 16 << 20;

/// A program to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; the program is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Variables on top of the agent's own environment.
    pub env: BTreeMap<String, String>,
}

/// Where [`Request::Dial`] leads, seen from inside the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Endpoint {
    /// A unix stream socket.
    Unix(PathBuf),
    /// A TCP address, `host:port`.
    Tcp(String),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// The deadline passed; it was killed, or hangs in the kernel.
    TimedOut,
}

/// What a test may ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Request {
    /// Run to the end; the body is its standard input.
    Run { command: Command, deadline_ms: u64 },
    /// Start in a process group of its own, both outputs appended to a file.
    Spawn { command: Command, output: PathBuf },
    /// The status of a spawned program, awaited for at most this long.
    Poll { process: u64, wait_ms: u64 },
    /// Send a signal, named as `kill` names them, to a spawned program's group.
    Signal { process: u64, signal: String },
    /// The whole content of a small file.
    Read { path: PathBuf },
    /// Write the body by a single `write`, as sysfs wants it.
    Write { path: PathBuf },
    /// Turn this connection into one to a socket of the guest.
    Dial { to: Endpoint },
}

/// What the agent answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Reply {
    /// Done; nothing to tell.
    Done,
    /// The program ended; the body is its output, then its error output.
    Finished { status: Status, stdout: usize },
    /// The program runs under this handle.
    Started { process: u64, pid: u32 },
    /// The status of a spawned program; none while it runs.
    State { status: Option<Status> },
    /// The body is what was asked for.
    Content,
    /// Not done.
    Failed { what: String, errno: Option<i32> },
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    head: T,
    body: usize,
}

async fn send<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    head: T,
    body: &[u8],
) -> io::Result<()> {
    let envelope = Envelope {
        head,
        body: body.len(),
    };
    let mut message = serde_json::to_vec(&envelope)?;
    message.push(b'\n');
    message.extend_from_slice(body);
    stream.write_all(&message).await?;
    stream.flush().await
}

async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<(T, Vec<u8>)> {
    let mut line = Vec::new();
    (&mut *stream)
        .take(HEAD_LIMIT)
        .read_until(b'\n', &mut line)
        .await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let envelope: Envelope<T> = serde_json::from_slice(&line)?;
    if envelope.body > BODY_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut body = vec![0; envelope.body];
    stream.read_exact(&mut body).await?;
    Ok((envelope.head, body))
}
