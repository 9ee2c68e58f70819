//! What a node's kernel shows of its NVMe connections.
//!
//! A volume is recognised by the NQN of its subsystem and the identity of its
//! namespace, never by a device name: names are handed out anew at every connection,
//! and the namespace of controller `nvme3` may well be `nvme1n2`.

use std::fmt;
use std::net::IpAddr;

use crate::bytes::Bytes;
use crate::nqn::{HostIdentity, Nqn};

/// A block device's number, as in `/sys/block/*/dev` and mountinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver's part.
    pub major: u32,
    /// The device's part.
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The state of one NVMe controller, `/sys/class/nvme/*/state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControllerState {
    /// Ready for I/O.
    Live,
    /// Lost its connection; the kernel tries again.
    Connecting,
    /// Between `live` and `connecting`.
    Resetting,
    /// Made, not yet connected for the first time.
    New,
    /// Going away.
    Deleting,
    /// Gave up.
    Dead,
    /// A word that this program does not know.
    Other(String),
}

impl From<&str> for ControllerState {
    fn from(text: &str) -> Self {
        match text.trim() {
            "live" => Self::Live,
            "connecting" => Self::Connecting,
            "resetting" => Self::Resetting,
            "new" => Self::New,
            "deleting" | "deleting (no IO)" => Self::Deleting,
            "dead" => Self::Dead,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ControllerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Connecting => "connecting",
            Self::Resetting => "resetting",
            Self::New => "new",
            Self::Deleting => "deleting",
            Self::Dead => "dead",
            Self::Other(word) => word,
        })
    }
}

/// One connection to a subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// The kernel's name: `nvme0`.
    pub name: String,
    /// Whether it can do I/O now.
    pub state: ControllerState,
    /// `traddr` and `trsvcid` of its address, where they are an IP address and a port.
    pub address: Option<(IpAddr, u16)>,
    /// `hostnqn`: under whose name it connected.
    pub host_nqn: Option<String>,
}

/// The block device of a namespace: with native multipath the head, else the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The kernel's name, valid at the moment of the reading: `nvme0n1`.
    pub name: String,
    /// The namespace id on the device.
    pub nsid: u32,
    /// The device number, valid at the moment of the reading.
    pub number: DeviceNumber,
    /// Its size.
    pub size: Bytes,
    /// `wwid`: `uuid.<uuid>`, `eui.…` or a name made from serial numbers.
    pub wwid: Option<String>,
    /// Whether the kernel refuses writes to it.
    pub read_only: bool,
}

/// A subsystem that this host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsystem {
    /// `subsysnqn`, as the kernel has it.
    pub nqn: String,
    /// Its connections. A subsystem without any may linger while its device is held.
    pub controllers: Vec<Controller>,
    /// Its block devices.
    pub namespaces: Vec<Namespace>,
}

impl Subsystem {
    /// Whether at least one connection can do I/O.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.controllers
            .iter()
            .any(|controller| controller.state == ControllerState::Live)
    }

    /// The host NQN of a connection that somebody else than `host` opened. Of a connection
    /// that does not say its name it is not known who did.
    #[must_use]
    pub fn stranger(&self, host: &Nqn) -> Option<&str> {
        let mut names = self.controllers.iter();
        names.find_map(|controller| {
            let name = controller.host_nqn.as_deref();
            name.filter(|name| *name != host.as_str())
        })
    }
}

/// What the kernel is told about a connection; `None` leaves the kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Seconds until a lost connection is given up; `None` is never (the kernel's -1).
    pub ctrl_loss_tmo: Option<u32>,
    /// Seconds between reconnect attempts.
    pub reconnect_delay: u32,
    /// Seconds between keep-alive commands.
    pub keep_alive_tmo: u32,
    /// Seconds until queued I/O fails while the connection is lost; `None` is never.
    pub fast_io_fail_tmo: Option<u32>,
    /// I/O queues; `None` is one for each processor.
    pub nr_io_queues: Option<u32>,
}

impl Default for Tuning {
    /// Wait for ever, try every 5 s: a virtual machine that pauses is better than one
    /// that saw its disk fail.
    fn default() -> Self {
        Self {
            ctrl_loss_tmo: None,
            reconnect_delay: 5,
            keep_alive_tmo: 5,
            fast_io_fail_tmo: None,
            nr_io_queues: None,
        }
    }
}

/// Where and as whom to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The subsystem.
    pub nqn: Nqn,
    /// The device's address on the storage network.
    pub address: IpAddr,
    /// The export's TCP port.
    pub port: u16,
    /// Who this node is.
    pub host: HostIdentity,
    /// How to keep the connection.
    pub tuning: Tuning,
}
