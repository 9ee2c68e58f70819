//! NVMe over TCP as bytes, as far as it takes to ask a target whether it lets a host in, and
//! whether a session is still alive.
//!
//! A session here is an admin queue that never enables its controller: no command of these
//! reaches a namespace, so nothing that is made of them can read or write a volume. It must
//! stay so.
//!
//! Sources: *NVM Express TCP Transport Specification 1.0*, 3.6.2 (the PDUs: Initialize
//! Connection Request and Response, Command Capsule, Response Capsule, Controller to Host
//! Terminate Connection Request) and 3.3.2.2 (8,192 bytes of data fit into a capsule of the
//! admin queue); *NVM Express Base Specification 2.0*, 6.3 (Connect), 6.4 (Property Get),
//! 3.3.3.2.1 (completions) and 3.1.3 (properties). Where they leave a choice it is made as
//! Linux makes it (`include/linux/nvme-tcp.h`, `include/linux/nvme.h`,
//! `drivers/nvme/host/tcp.c`), which is what the device's kernel is used to.

use std::fmt;
use std::time::Duration;

use crate::kind::{Failure, Kind};
use crate::nqn::{HostIdentity, Nqn};

/// What every PDU starts with: its type, flags, the length of its header, the offset of its
/// data and, in the last four bytes, its whole length.
pub const HEADER: usize = 8;

const INITIALIZE_REQUEST: u8 = 0x00;
const INITIALIZE_RESPONSE: u8 = 0x01;
const TERMINATE: u8 = 0x03;
const COMMAND: u8 = 0x04;
const RESPONSE: u8 = 0x05;

const INITIALIZE_LENGTH: usize = 128;
const COMMAND_LENGTH: usize = HEADER + 64;
const RESPONSE_LENGTH: usize = HEADER + 16;
/// Its header, and at most 128 bytes of the PDU that it complains about.
const TERMINATE_LENGTHS: std::ops::RangeInclusive<usize> = 24..=152;
const CONNECT_DATA: usize = 1024;

/// Commands of the fabric itself, which need no enabled controller.
const FABRICS: u8 = 0x7f;
const CONNECT: u8 = 0x01;
const PROPERTY_GET: u8 = 0x04;
/// Bits 7:6 of a command's flags: its data is described by an SGL. Fabrics know no other way.
const BY_SGL: u8 = 0x40;
/// An SGL that means data within the capsule, by its offset there.
const IN_CAPSULE: u8 = 0x01;
/// An SGL that means data the transport carries: what Linux sends where there is none.
const BY_TRANSPORT: u8 = 0x5a;
/// Any controller of the subsystem: those of nvmet are made for the session.
const ANY_CONTROLLER: u16 = 0xffff;
/// Entries of the admin queue, less one: what Linux asks for.
const ADMIN_QUEUE: u16 = 31;
/// The property Controller Status, of four bytes.
const CONTROLLER_STATUS: u32 = 0x1c;

/// A PDU that does not say what it should. A target that sends one is not understood, which
/// is neither a yes nor a no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an NVMe/TCP PDU of {what} {found:#x}, which nothing here expects")]
pub struct WireError {
    what: &'static str,
    found: u32,
}

impl Failure for WireError {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

/// The first PDU of a connection: no digests, no alignment, one transfer at a time.
#[must_use]
pub fn initialize() -> [u8; INITIALIZE_LENGTH] {
    let mut pdu = [0; INITIALIZE_LENGTH];
    pdu[..HEADER].copy_from_slice(&header(INITIALIZE_REQUEST, INITIALIZE_LENGTH, 0, 0));
    pdu
}

/// Asks a subsystem to let a host in, on an admin queue. The target ends a session of which
/// it hears nothing for `keep_alive`.
#[must_use]
pub fn connect(id: u16, host: &HostIdentity, subsystem: &Nqn, keep_alive: Duration) -> Vec<u8> {
    let mut command = command(id, CONNECT);
    command[32..36].copy_from_slice(&size(CONNECT_DATA).to_le_bytes());
    command[39] = IN_CAPSULE;
    // Record format 0 and queue 0 stay as they are.
    command[44..46].copy_from_slice(&ADMIN_QUEUE.to_le_bytes());
    let keep_alive = u32::try_from(keep_alive.as_millis()).unwrap_or(u32::MAX);
    command[48..52].copy_from_slice(&keep_alive.to_le_bytes());
    let mut data = [0; CONNECT_DATA];
    data[..16].copy_from_slice(host.id.as_bytes());
    data[16..18].copy_from_slice(&ANY_CONTROLLER.to_le_bytes());
    for (place, name) in [(256, subsystem), (512, &host.nqn)] {
        // A name has at most 223 bytes, and its field 256.
        let name = name.as_str().as_bytes();
        data[place..place + name.len()].copy_from_slice(name);
    }
    capsule(&command, &data)
}

/// Asks for the controller's status: whatever comes back, the session is alive.
#[must_use]
pub fn property_get(id: u16) -> Vec<u8> {
    let mut command = command(id, PROPERTY_GET);
    command[39] = BY_TRANSPORT;
    command[44..48].copy_from_slice(&CONTROLLER_STATUS.to_le_bytes());
    capsule(&command, &[])
}

fn command(id: u16, kind: u8) -> [u8; 64] {
    let mut command = [0; 64];
    (command[0], command[1], command[4]) = (FABRICS, BY_SGL, kind);
    command[2..4].copy_from_slice(&id.to_le_bytes());
    command
}

fn capsule(command: &[u8; 64], data: &[u8]) -> Vec<u8> {
    let offset = if data.is_empty() { 0 } else { COMMAND_LENGTH };
    let mut pdu = Vec::with_capacity(COMMAND_LENGTH + data.len());
    pdu.extend(header(COMMAND, COMMAND_LENGTH, offset, data.len()));
    pdu.extend(command);
    pdu.extend(data);
    pdu
}

fn header(kind: u8, length: usize, offset: usize, data: usize) -> [u8; HEADER] {
    let byte = |length: usize| u8::try_from(length).unwrap_or(u8::MAX);
    let [a, b, c, d] = size(length + data).to_le_bytes();
    [kind, 0, byte(length), byte(offset), a, b, c, d]
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// How long the PDU is that starts with these bytes: never more than 152, whatever the other
/// side says.
///
/// # Errors
/// When no target sends a PDU that starts so.
pub fn length(header: &[u8; HEADER]) -> Result<usize, WireError> {
    let [kind, flags, _, _, a, b, c, d] = *header;
    let said = u32::from_le_bytes([a, b, c, d]);
    let length = usize::try_from(said).unwrap_or(usize::MAX);
    let fits = match kind {
        INITIALIZE_RESPONSE => length == INITIALIZE_LENGTH,
        RESPONSE => length == RESPONSE_LENGTH,
        TERMINATE => TERMINATE_LENGTHS.contains(&length),
        _ => return Err(unexpected("type", u32::from(kind))),
    };
    match (fits, flags) {
        (true, 0) => Ok(length),
        (true, _) => Err(unexpected("flags", u32::from(flags))),
        (false, _) => Err(unexpected("length", said)),
    }
}

fn unexpected(what: &'static str, found: u32) -> WireError {
    WireError { what, found }
}

/// What a target says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// The connection is open for commands.
    Initialized,
    /// A command is done.
    Done {
        /// Which one.
        id: u16,
        /// How.
        status: Status,
    },
    /// The target ends the connection because of an error.
    Terminated,
}

/// Reads a whole PDU, of the length that [`length`] said.
///
/// # Errors
/// When it asks for what is not spoken here, as digests.
pub fn read(pdu: &[u8]) -> Result<Pdu, WireError> {
    let Some(start) = pdu.first_chunk::<HEADER>() else {
        return Err(unexpected("length", size(pdu.len())));
    };
    if length(start)? != pdu.len() {
        return Err(unexpected("length", size(pdu.len())));
    }
    let word = |place: usize| u16::from_le_bytes([pdu[place], pdu[place + 1]]);
    match start[0] {
        INITIALIZE_RESPONSE => {
            // Version, alignment of data to the controller, digests: as Linux, none of them.
            let chosen = [
                ("version", word(8)),
                ("alignment", u16::from(pdu[10])),
                ("digests", u16::from(pdu[11])),
            ];
            match chosen.into_iter().find(|(_, value)| *value != 0) {
                Some((what, value)) => Err(unexpected(what, u32::from(value))),
                None => Ok(Pdu::Initialized),
            }
        }
        RESPONSE => Ok(Pdu::Done {
            id: word(20),
            // The lowest bit is the phase, which fabrics do not use.
            status: Status(word(22) >> 1),
        }),
        _ => Ok(Pdu::Terminated),
    }
}

/// How a command ended: status code type and code, and whether it is of use to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(u16);

impl Status {
    /// Whether it succeeded.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.code() == 0
    }

    /// Connect Invalid Host: the subsystem is there and does not let this host in.
    #[must_use]
    pub const fn is_host_refused(self) -> bool {
        self.code() == 0x184
    }

    /// Type and code.
    const fn code(self) -> u16 {
        self.0 & 0x7ff
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code() {
            0x000 => "success",
            0x180 => "incompatible format",
            0x181 => "controller busy",
            0x182 => "invalid parameters",
            0x183 => "restart discovery",
            0x184 => "invalid host",
            0x191 => "authentication required",
            _ => "NVMe status",
        };
        write!(f, "{name} ({:#05x})", self.code())
    }
}

#[cfg(test)]
mod tests;
