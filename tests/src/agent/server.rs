//! The agent's side of the protocol: it runs in the guest.
//!
//! Every request is answered, a failed one with the reason and the error number;
//! nothing a request does may end the agent.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs;
use tokio::io::{AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::task::TaskTracker;

use super::process::{self, Processes};
use super::{BODY_LIMIT, Endpoint, Reply, Request, receive, send};

/// Serves requests until accepting connections fails.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let processes = Arc::new(Processes::new());
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let processes = Arc::clone(&processes);
        connections.spawn(async move {
            // A client that went away has no use for the reason.
            answer(stream, &processes).await.ok();
        });
    }
}

async fn answer(stream: TcpStream, processes: &Processes) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (request, body) = receive(&mut stream).await?;
    if let Request::Dial { to } = request {
        return forward(stream, to).await;
    }
    let (reply, body) = perform(request, &body, processes)
        .await
        .unwrap_or_else(|error| (failed(&error), Vec::new()));
    send(&mut stream, reply, &body).await
}

fn failed(error: &io::Error) -> Reply {
    Reply::Failed {
        what: error.to_string(),
        errno: error.raw_os_error(),
    }
}

async fn perform(
    request: Request,
    body: &[u8],
    processes: &Processes,
) -> io::Result<(Reply, Vec<u8>)> {
    let reply = match request {
        Request::Run {
            command,
            deadline_ms,
        } => {
            let deadline = Duration::from_millis(deadline_ms);
            let finished = process::run(&command, body, deadline).await?;
            let reply = Reply::Finished {
                status: finished.status,
                stdout: finished.stdout.len(),
            };
            return Ok((reply, [finished.stdout, finished.stderr].concat()));
        }
        Request::Spawn { command, output } => {
            let (process, pid) = processes.start(&command, &output)?;
            Reply::Started { process, pid }
        }
        Request::Poll { process, wait_ms } => {
            let wait = Duration::from_millis(wait_ms);
            let status = processes.poll(process, wait).await?;
            Reply::State { status }
        }
        Request::Signal { process, signal } => {
            processes.signal(process, &signal).await?;
            Reply::Done
        }
        Request::Read { path } => {
            let content = fs::read(path).await?;
            if content.len() > BODY_LIMIT {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            return Ok((Reply::Content, content));
        }
        Request::Write { path } => {
            write(&path, body).await?;
            Reply::Done
        }
        Request::Dial { .. } => Reply::Done,
    };
    Ok((reply, Vec::new()))
}

/// Replaces a file's content in one `write`: an attribute of sysfs or configfs takes
/// each `write` for a value of its own.
async fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .await?;
    file.write_all(body).await?;
    // Errors of a tokio file come out here.
    file.flush().await
}

async fn forward(mut stream: BufReader<TcpStream>, to: Endpoint) -> io::Result<()> {
    match to {
        Endpoint::Unix(path) => splice(&mut stream, UnixStream::connect(path).await).await,
        Endpoint::Tcp(address) => splice(&mut stream, TcpStream::connect(address).await).await,
    }
}

async fn splice<S>(stream: &mut BufReader<TcpStream>, socket: io::Result<S>) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match socket {
        Ok(mut socket) => {
            send(stream, Reply::Done, &[]).await?;
            copy_bidirectional(stream, &mut socket).await.map(|_| ())
        }
        Err(error) => send(stream, failed(&error), &[]).await,
    }
}
