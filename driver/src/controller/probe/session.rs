//! A connection to the device's NVMe/TCP port, as a host that wants nothing but an answer.
//!
//! Each wait has a deadline and each read a bound. The session is an admin queue that is never
//! enabled (see [`rds_csi_core::fabrics`]), and it ends with this value.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rds_csi_core::fabrics::{self, Pdu, Status, WireError};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::{HostIdentity, Nqn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection, and each answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than anybody looks at a session: its end is then never for lack of a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Nobody is there.
    #[error("no connection to {address} for NVMe over TCP")]
    Unreachable {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Somebody is there who says nothing.
    #[error("{address} took a connection and said nothing for {PATIENCE:?}")]
    Silent { address: SocketAddr },
    /// Somebody is there who speaks something else.
    #[error("{address} does not answer as an NVMe/TCP target")]
    NotSpoken {
        address: SocketAddr,
        #[source]
        source: WireError,
    },
}

impl Failure for SessionError {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

/// What a host is told that wants a subsystem.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is in.
    In(Session),
    /// It is not, and why.
    Refused(Status),
    /// The target ended the connection.
    Ended,
}

/// Whether a session is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It answered.
    Alive,
    /// The target has ended it.
    Ended,
    /// Neither.
    Silent,
}

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    address: SocketAddr,
    next: u16,
}

/// What came, unless it took too long.
enum Heard {
    Pdu(Pdu),
    End,
}

/// Asks a subsystem at an address to let a host in.
pub(super) async fn connect(
    address: SocketAddr,
    host: &HostIdentity,
    subsystem: &Nqn,
) -> Result<Answer, SessionError> {
    let unreachable = |source| SessionError::Unreachable { address, source };
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
    let stream = stream
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(unreachable)?;
    let mut session = Session {
        stream,
        address,
        next: 1,
    };
    let silent = SessionError::Silent { address };
    match session.say(&fabrics::initialize()).await? {
        Some(Heard::Pdu(Pdu::Initialized)) => {}
        Some(_) => return Ok(Answer::Ended),
        None => return Err(silent),
    }
    match session
        .say(&fabrics::connect(0, host, subsystem, KEEP_ALIVE))
        .await?
    {
        Some(Heard::Pdu(Pdu::Done { id: 0, status })) if status.is_success() => {
            Ok(Answer::In(session))
        }
        Some(Heard::Pdu(Pdu::Done { id: 0, status })) => Ok(Answer::Refused(status)),
        Some(_) => Ok(Answer::Ended),
        None => Err(silent),
    }
}

impl Session {
    /// Asks for a sign of life.
    pub(super) async fn pulse(&mut self) -> Result<Pulse, SessionError> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        Ok(match self.say(&fabrics::property_get(id)).await? {
            Some(Heard::Pdu(Pdu::Done { id: answered, .. })) if answered == id => Pulse::Alive,
            Some(Heard::End | Heard::Pdu(Pdu::Terminated)) => Pulse::Ended,
            Some(Heard::Pdu(_)) | None => Pulse::Silent,
        })
    }

    /// Sends a PDU and hears one; `None` where none comes in time.
    async fn say(&mut self, pdu: &[u8]) -> Result<Option<Heard>, SessionError> {
        let (stream, address) = (&mut self.stream, self.address);
        let exchange = async {
            let mut bytes = vec![0; fabrics::HEADER];
            stream.write_all(pdu).await?;
            stream.read_exact(&mut bytes).await?;
            let Some(start) = bytes.first_chunk() else {
                return Ok(Ok(bytes));
            };
            let length = match fabrics::length(start) {
                Ok(length) => length,
                Err(error) => return Ok(Err(error)),
            };
            bytes.resize(length, 0);
            stream.read_exact(&mut bytes[fabrics::HEADER..]).await?;
            Ok::<_, io::Error>(Ok(bytes))
        };
        let heard = match timeout(PATIENCE, exchange).await {
            Err(_) => return Ok(None),
            // A connection that breaks, however it does, is one that ended.
            Ok(Err(_)) => return Ok(Some(Heard::End)),
            Ok(Ok(heard)) => heard,
        };
        let pdu = heard.and_then(|bytes| fabrics::read(&bytes));
        let pdu = pdu.map_err(|source| SessionError::NotSpoken { address, source })?;
        Ok(Some(Heard::Pdu(pdu)))
    }
}

#[cfg(test)]
mod tests;
