//! An NVMe/TCP port for the simulator where no kernel serves its exports: it lets hosts in as
//! the simulator's items say at that moment, and knows no namespace.
//!
//! It speaks what a controller's trial of the device needs and is written from the
//! specifications, not from the code that it answers. How a real kernel behaves is for the
//! tests that have one; this stands for devices that no kernel at hand behaves like.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rds_sim::Sim;
use rds_sim::nvmet::{Access, Export};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What such a device does otherwise than the kernel's target.
#[derive(Debug, Default)]
pub struct Ways {
    /// A session goes on when its export ends.
    pub outlives_export: AtomicBool,
    /// A session ends when its export's access changes.
    pub ends_on_change: AtomicBool,
    /// Hosts that were let in so far.
    pub let_in: AtomicUsize,
}

/// Serves the simulator's exports on a listener, for ever.
pub async fn serve(sim: Arc<Sim>, listener: TcpListener, ways: Arc<Ways>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, address)) = listener.accept().await {
        let (sim, ways) = (Arc::clone(&sim), Arc::clone(&ways));
        sessions.spawn(async move { session(stream, address, &sim, &ways).await });
    }
}

async fn session(mut stream: TcpStream, _: SocketAddr, sim: &Sim, ways: &Ways) -> io::Result<()> {
    let request = pdu(&mut stream).await?;
    if request[0] != 0 || request.len() != 128 {
        return Ok(());
    }
    let mut opened = vec![1, 0, 128, 0, 128, 0, 0, 0];
    opened.resize(128, 0);
    stream.write_all(&opened).await?;
    let request = pdu(&mut stream).await?;
    if request.len() != 72 + 1024 || request[8] != 0x7f || request[12] != 1 {
        return Ok(());
    }
    let (nqn, host) = (name(&request[72 + 256..]), name(&request[72 + 512..]));
    let Some(export) = export(sim, &nqn) else {
        return done(&mut stream, &request, 0x4182).await;
    };
    if !admits(&export.access, &host) {
        return done(&mut stream, &request, 0x4184).await;
    }
    done(&mut stream, &request, 0).await?;
    ways.let_in.fetch_add(1, Ordering::Relaxed);
    loop {
        let request = pdu(&mut stream).await?;
        let now = self::export(sim, &nqn);
        let changed = now.as_ref().is_none_or(|now| now.access != export.access);
        if now.is_none() && !ways.outlives_export.load(Ordering::Relaxed)
            || now.is_some() && changed && ways.ends_on_change.load(Ordering::Relaxed)
        {
            return Ok(());
        }
        // Any status is an answer: this controller is not enabled.
        done(&mut stream, &request, 0x400c).await?;
    }
}

fn export(sim: &Sim, nqn: &str) -> Option<Export> {
    let exports = sim.with_model(|model| model.exports());
    exports.into_iter().find(|export| export.nqn == nqn)
}

fn admits(access: &Access, host: &str) -> bool {
    match access {
        Access::Anybody => true,
        Access::Hosts(hosts) => hosts.iter().any(|allowed| allowed == host),
    }
}

fn name(field: &[u8]) -> String {
    let bytes = field.iter().take(256).take_while(|byte| **byte != 0);
    String::from_utf8_lossy(&bytes.copied().collect::<Vec<u8>>()).into_owned()
}

async fn pdu(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8];
    stream.read_exact(&mut bytes).await?;
    let length = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=8192).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[8..]).await?;
    Ok(bytes)
}

async fn done(stream: &mut TcpStream, request: &[u8], status: u16) -> io::Result<()> {
    let mut response = vec![5, 0, 24, 0, 24, 0, 0, 0];
    response.resize(20, 0);
    response.extend(&request[10..12]);
    response.extend((status << 1).to_le_bytes());
    stream.write_all(&response).await
}
