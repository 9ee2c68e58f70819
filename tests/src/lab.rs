//! A lab: a network in which guests are booted.
//!
//! Two bridges: the data network (NVMe/TCP, SSH), which tests cut and restore guest
//! by guest, and the management network to the guests' agents, which is never cut.
//! A lab for a Kubernetes cluster has a third, over which its nodes reach the API, one
//! another and the appliance's SSH, as apart from storage as in a real installation.
//! The test process has an address on each. Several labs fit into one namespace.
//!
//! A lab works only under `hack/lab`, which gives a network namespace of our own and
//! bounds memory; it must never touch the network of the machine itself.

mod ip;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::guest::Guest;

/// Where guests' memory and disks lie: a tmpfs that `hack/lab` made and bounded.
pub(crate) const MEMORY: &str = "/dev/shm";
/// Set by `hack/lab` to the path of the guests' kernel.
const KERNEL: &str = "RDS_CSI_KERNEL";
/// The last byte of the first guest's addresses.
const FIRST_GUEST: u8 = 10;
/// How many labs may share a namespace.
const LABS: u8 = 64;

/// A network of guests. Dropping it, after its guests, removes all of it.
#[derive(Debug, Clone)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// What the lab and its guests hold together; the last of them cleans up.
#[derive(Debug)]
pub(crate) struct Shared {
    number: u8,
    networks: &'static [Network],
    directory: TempDir,
    next_guest: AtomicU8,
    pub(crate) kernel: PathBuf,
    pub(crate) init: PathBuf,
    pub(crate) agent: PathBuf,
}

/// Which of a guest's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Data,
    Management,
    Cluster,
}

impl Network {
    const PLAIN: &'static [Self] = &[Self::Data, Self::Management];
    const ALL: &'static [Self] = &[Self::Data, Self::Management, Self::Cluster];

    fn letter(self) -> char {
        match self {
            Self::Data => 'd',
            Self::Management => 'm',
            Self::Cluster => 'c',
        }
    }

    fn second_byte(self) -> u8 {
        match self {
            Self::Data => 77,
            Self::Management => 78,
            Self::Cluster => 79,
        }
    }
}

/// A guest's place in the networks of its lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    lab: u8,
    host: u8,
}

impl Port {
    pub(crate) fn address(self, network: Network) -> Ipv4Addr {
        Ipv4Addr::new(10, network.second_byte(), self.lab, self.host)
    }

    pub(crate) fn tap(self, network: Network) -> String {
        format!("lab{}{}{}", self.lab, network.letter(), self.host)
    }

    /// Locally administered, and the same after a reboot, as a real machine's is.
    pub(crate) fn mac(self, network: Network) -> String {
        let network = network.second_byte();
        format!("52:54:00:{network:02x}:{:02x}:{:02x}", self.lab, self.host)
    }
}

impl Lab {
    /// Makes the networks and a directory for disks.
    ///
    /// # Errors
    /// Not under `hack/lab`, or an `ip` command failed.
    pub fn new() -> anyhow::Result<Self> {
        Self::with_networks(Network::PLAIN)
    }

    /// [`Lab::new`] with the third network, on which every guest gets an address too.
    ///
    /// # Errors
    /// See [`Lab::new`].
    pub fn for_cluster() -> anyhow::Result<Self> {
        Self::with_networks(Network::ALL)
    }

    fn with_networks(networks: &'static [Network]) -> anyhow::Result<Self> {
        let kernel = std::env::var_os(KERNEL)
            .with_context(|| format!("{KERNEL} is not set: guests boot only under hack/lab"))?;
        refuse_a_network_in_use()?;
        let agent = program("guest-agent")?;
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/kernel/init");
        let init = init
            .canonicalize()
            .context("looking for hack/kernel/init")?;
        let directory = tempfile::Builder::new()
            .prefix("lab-")
            .tempdir_in(MEMORY)
            .with_context(|| format!("making a directory in {MEMORY}"))?;
        let number = claim_number()?;
        let shared = Shared {
            number,
            networks,
            directory,
            next_guest: AtomicU8::new(FIRST_GUEST),
            kernel: kernel.into(),
            init,
            agent,
        };
        shared.raise_bridges()?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The address of the test process on the data network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.shared.gateway(Network::Data)
    }

    /// A directory for this lab's files, in memory; it goes with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.shared.directory.path()
    }

    /// An empty disk for guests: a sparse file of `mebibytes`. It keeps its content
    /// over power cuts and reboots of the guest that uses it.
    ///
    /// # Errors
    /// The name is taken, or the file cannot be made.
    pub fn disk(&self, name: &str, mebibytes: u64) -> anyhow::Result<PathBuf> {
        let path = self.directory().join(format!("{name}.disk"));
        let file = File::create_new(&path)
            .with_context(|| format!("making the disk {}", path.display()))?;
        file.set_len(mebibytes << 20)
            .with_context(|| format!("sizing the disk {}", path.display()))?;
        Ok(path)
    }

    /// Takes a guest's data link away: packets in either direction vanish silently,
    /// as with a dead switch. The management link stays.
    ///
    /// # Errors
    /// The `ip` command failed.
    pub fn cut(&self, guest: &Guest) -> anyhow::Result<()> {
        self.cut_from(guest, Network::Data)
    }

    /// Gives a guest's data link back.
    ///
    /// # Errors
    /// The `ip` command failed.
    pub fn restore(&self, guest: &Guest) -> anyhow::Result<()> {
        self.restore_to(guest, Network::Data)
    }

    /// [`Lab::cut`] for any of the guest's links.
    pub(crate) fn cut_from(&self, guest: &Guest, network: Network) -> anyhow::Result<()> {
        // A tap that was set down never carries packets of a UML guest again.
        ip::run(&["link", "set", &guest.port().tap(network), "nomaster"])
    }

    pub(crate) fn restore_to(&self, guest: &Guest, network: Network) -> anyhow::Result<()> {
        let bridge = self.shared.bridge(network);
        let tap = guest.port().tap(network);
        ip::run(&["link", "set", &tap, "master", &bridge])
    }

    /// The address of the test process on the cluster's network, if the lab has one.
    pub(crate) fn cluster_address(&self) -> Option<Ipv4Addr> {
        let has = self.shared.networks.contains(&Network::Cluster);
        has.then(|| self.shared.gateway(Network::Cluster))
    }

    /// Leads packets for a network behind a guest to that guest.
    pub(crate) fn route(&self, subnet: &str, guest: &Guest) -> anyhow::Result<()> {
        let via = guest.port().address(Network::Cluster).to_string();
        ip::run(&["route", "replace", subnet, "via", &via])
    }

    /// Gives the test process one more address on the cluster's network.
    pub(crate) fn add_address(&self, address: &str) -> anyhow::Result<()> {
        let bridge = self.shared.bridge(Network::Cluster);
        ip::run(&["address", "add", address, "dev", &bridge])
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Shared {
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn networks(&self) -> &'static [Network] {
        self.networks
    }

    fn bridge(&self, network: Network) -> String {
        format!("lab{}{}", self.number, network.letter())
    }

    fn gateway(&self, network: Network) -> Ipv4Addr {
        Ipv4Addr::new(10, network.second_byte(), self.number, 1)
    }

    fn raise_bridges(&self) -> anyhow::Result<()> {
        for &network in self.networks {
            let address = format!("{}/24", self.gateway(network));
            let bridge = self.bridge(network);
            // The data bridge exists already: it is the claim to the lab's number.
            if network != Network::Data {
                ip::run(&["link", "add", &bridge, "type", "bridge"])?;
            }
            ip::run(&["address", "add", &address, "dev", &bridge])?;
            ip::run(&["link", "set", &bridge, "up"])?;
        }
        Ok(())
    }

    /// Taps for one more guest.
    pub(crate) fn plug_in(&self) -> anyhow::Result<Port> {
        let host = self.next_guest.fetch_add(1, Ordering::Relaxed);
        ensure!((FIRST_GUEST..255).contains(&host), "too many guests");
        let port = Port {
            lab: self.number,
            host,
        };
        for &network in self.networks {
            let (tap, bridge) = (port.tap(network), self.bridge(network));
            ip::run(&["tuntap", "add", "dev", &tap, "mode", "tap"])?;
            ip::run(&["link", "set", &tap, "master", &bridge, "up"])?;
        }
        Ok(port)
    }

    pub(crate) fn unplug(&self, port: Port) {
        for &network in self.networks {
            ip::run(&["link", "delete", &port.tap(network)]).ok();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for &network in self.networks {
            ip::run(&["link", "delete", &self.bridge(network)]).ok();
        }
    }
}

/// The path of a program of this workspace, built beside the running one.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("looking for the running program")?;
    running
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built: cargo build --workspace --bins"))
}

/// Takes a lab number by making its data bridge, which the kernel grants once.
fn claim_number() -> anyhow::Result<u8> {
    for number in 0..LABS {
        match ip::run(&["link", "add", &format!("lab{number}d"), "type", "bridge"]) {
            Ok(()) => return Ok(number),
            Err(error) if error.to_string().contains("File exists") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("{LABS} labs are in use")
}

/// Bridges and routes of a lab must not come between a machine and its network.
fn refuse_a_network_in_use() -> anyhow::Result<()> {
    let routes = fs::read_to_string("/proc/self/net/route").context("reading the routes")?;
    for route in routes.lines().skip(1) {
        ensure!(
            route.starts_with("lab"),
            "this network namespace is in use: labs are made only under hack/lab"
        );
    }
    Ok(())
}
