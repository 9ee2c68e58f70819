//! The test's side of the protocol.
//!
//! Each call opens a connection of its own, so calls may overlap freely and none
//! outlives its deadline by more than [`ANSWER_GRACE`].

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{Command, Endpoint, Reply, Request, Status, receive, send};

/// How long the agent may take beyond what the request itself may take.
const ANSWER_GRACE: Duration = Duration::from_secs(20);

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The guest is off, unreachable, or went away in the middle.
    #[error("asking the agent at {address} to {request}")]
    Unreachable {
        /// Where the agent should be.
        address: SocketAddr,
        /// What was asked.
        request: String,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// The agent tried, and the guest's kernel refused.
    #[error("the guest could not {request}: {what}")]
    Refused {
        /// What was asked.
        request: String,
        /// What the kernel said.
        what: String,
        /// The error number, where there is one.
        errno: Option<i32>,
    },
}

impl AgentError {
    /// The guest's own error number, if it was the guest's kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Unreachable { .. } => None,
        }
    }
}

/// What a program did.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its error output.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it exited with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }

    /// Standard output as text, without white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Error output as text, without white space around it.
    #[must_use]
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// A stream to a socket inside the guest.
pub type Connection = BufReader<TcpStream>;

/// The agent of one guest.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    address: SocketAddr,
}

impl Agent {
    /// The agent at this address; it need not answer yet.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    async fn exchange(
        &self,
        request: &Request,
        body: &[u8],
        within: Duration,
    ) -> Result<(Connection, Reply, Vec<u8>), AgentError> {
        let talk = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let mut stream = BufReader::new(stream);
            send(&mut stream, request, body).await?;
            let (reply, body) = receive(&mut stream).await?;
            io::Result::Ok((stream, reply, body))
        };
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let (stream, reply, body) =
            timeout(within, talk)
                .await
                .unwrap_or_else(late)
                .map_err(|source| AgentError::Unreachable {
                    address: self.address,
                    request: describe(request),
                    source,
                })?;
        match reply {
            Reply::Failed { what, errno } => Err(AgentError::Refused {
                request: describe(request),
                what,
                errno,
            }),
            reply => Ok((stream, reply, body)),
        }
    }

    fn unexpected(&self, request: &Request) -> AgentError {
        AgentError::Unreachable {
            address: self.address,
            request: describe(request),
            source: io::Error::new(io::ErrorKind::InvalidData, "an answer to another request"),
        }
    }

    /// Runs a program in the guest to its end, for at most `deadline`.
    ///
    /// A program that fails is no error of this call: see [`Output::status`].
    ///
    /// # Errors
    /// The guest does not answer, or has no such program.
    pub async fn run(
        &self,
        command: Command,
        input: &[u8],
        deadline: Duration,
    ) -> Result<Output, AgentError> {
        let request = Request::Run {
            command,
            deadline_ms: millis(deadline),
        };
        let within = deadline + ANSWER_GRACE;
        let (_, reply, mut stdout) = self.exchange(&request, input, within).await?;
        match reply {
            Reply::Finished { status, stdout: at } if at <= stdout.len() => Ok(Output {
                status,
                stderr: stdout.split_off(at),
                stdout,
            }),
            _ => Err(self.unexpected(&request)),
        }
    }

    /// Starts a program in the guest: its handle and its process id there.
    ///
    /// # Errors
    /// The guest does not answer, has no such program, or cannot write `output`.
    pub async fn spawn(&self, command: Command, output: PathBuf) -> Result<(u64, u32), AgentError> {
        let request = Request::Spawn { command, output };
        match self.exchange(&request, &[], ANSWER_GRACE).await?.1 {
            Reply::Started { process, pid } => Ok((process, pid)),
            _ => Err(self.unexpected(&request)),
        }
    }

    /// How a spawned program ended; `None` if it still runs after `wait`.
    ///
    /// # Errors
    /// The guest does not answer, or was rebooted and knows no such program.
    pub async fn poll(&self, process: u64, wait: Duration) -> Result<Option<Status>, AgentError> {
        let request = Request::Poll {
            process,
            wait_ms: millis(wait),
        };
        match self.exchange(&request, &[], wait + ANSWER_GRACE).await?.1 {
            Reply::State { status } => Ok(status),
            _ => Err(self.unexpected(&request)),
        }
    }

    /// Signals a spawned program and its children; `signal` as in `TERM`, `KILL`.
    ///
    /// # Errors
    /// The guest does not answer, or the program has ended.
    pub async fn signal(&self, process: u64, signal: &str) -> Result<(), AgentError> {
        let signal = signal.to_owned();
        let request = Request::Signal { process, signal };
        self.exchange(&request, &[], ANSWER_GRACE).await.map(drop)
    }

    /// The content of a file of the guest, at most 16 MiB.
    ///
    /// # Errors
    /// The guest does not answer, or its kernel refused: [`AgentError::errno`].
    pub async fn read(&self, path: &Path) -> Result<Vec<u8>, AgentError> {
        let path = path.to_owned();
        let request = Request::Read { path };
        let (_, _, content) = self.exchange(&request, &[], ANSWER_GRACE).await?;
        Ok(content)
    }

    /// Replaces the content of a file of the guest, or writes to a file of sysfs.
    ///
    /// # Errors
    /// The guest does not answer, or its kernel refused: [`AgentError::errno`].
    pub async fn write(&self, path: &Path, content: &[u8]) -> Result<(), AgentError> {
        let path = path.to_owned();
        let request = Request::Write { path };
        self.exchange(&request, content, ANSWER_GRACE)
            .await
            .map(drop)
    }

    /// A stream to a socket inside the guest.
    ///
    /// # Errors
    /// The guest does not answer, or nothing listens there.
    pub async fn dial(&self, to: Endpoint) -> Result<Connection, AgentError> {
        let request = Request::Dial { to };
        let (stream, _, _) = self.exchange(&request, &[], ANSWER_GRACE).await?;
        Ok(stream)
    }

    /// A gRPC channel to a unix socket inside the guest. It connects on first use,
    /// and again after its server was restarted or the guest rebooted.
    #[must_use]
    pub fn channel(&self, socket: &Path) -> Channel {
        let agent = *self;
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let to = Endpoint::Unix(socket.clone());
            async move { agent.dial(to).await.map(TokioIo::new) }
        });
        tonic::transport::Endpoint::from_static("http://guest")
            .connect_with_connector_lazy(connector)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request in the words of an error message.
fn describe(request: &Request) -> String {
    match request {
        Request::Run { command, .. } => format!("run {}", command.argv.join(" ")),
        Request::Spawn { command, .. } => format!("start {}", command.argv.join(" ")),
        Request::Poll { process, .. } => format!("tell how process {process} is"),
        Request::Signal { process, signal } => format!("send {signal} to process {process}"),
        Request::Read { path } => format!("read {}", path.display()),
        Request::Write { path } => format!("write {}", path.display()),
        Request::Dial { to } => format!("connect to {to:?}"),
    }
}
