//! What a client must be told about its device.
//!
//! Everything here is validated when it is made; nothing is read from the environment.
//! The user's key is named by its file and never held.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::kind::{Failure, Kind};

use crate::ssh::HostKey;

/// The SSH port where none is named.
const SSH_PORT: u16 = 22;

/// `host`, `host:port` or `[ipv6]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceAddress {
    host: String,
    port: u16,
}

/// A string that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device address {0:?} is not a host name or IP address with an optional port")]
pub struct DeviceAddressError(String);

impl Failure for DeviceAddressError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for DeviceAddress {
    type Err = DeviceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DeviceAddressError(text.chars().take(64).collect());
        let (host, port) = if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
            (address.to_string(), None)
        } else if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(error)?;
            let host: std::net::Ipv6Addr = host.parse().map_err(|_| error())?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or_else(error)?),
            };
            (host.to_string(), port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.to_owned(), None),
            }
        };
        let plain = (1..=253).contains(&host.len())
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(error)?,
            None => SSH_PORT,
        };
        if plain {
            Ok(Self { host, port })
        } else {
            Err(error())
        }
    }
}

impl From<std::net::SocketAddr> for DeviceAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl DeviceAddress {
    /// Host and port, to be resolved at each connect.
    pub(crate) fn parts(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// A device and how to talk to it.
#[derive(Debug, Clone)]
pub struct RdsConfig {
    /// Where its SSH service listens.
    pub address: DeviceAddress,
    /// The RouterOS user; its group needs the policies ssh, read, write and test.
    pub user: String,
    /// The user's private key, unencrypted: Ed25519 or RSA, in OpenSSH or PEM form. Read
    /// again at each connect, so that it can be exchanged under a running process.
    pub key_file: PathBuf,
    /// The keys by which the device may prove itself; more than one while keys are
    /// being exchanged. Any other key is refused.
    pub host_keys: Vec<HostKey>,
    /// How long a connect may take, up to the first answered command.
    pub connect_timeout: Duration,
    /// How long one command may take; after it the connection is closed.
    pub command_timeout: Duration,
    /// How long after the end of a session another is opened that nobody asked for: a controller
    /// that stands by asks for nothing, and must still know whether the device is there.
    /// Commands do not wait for it.
    pub idle_reconnect: Duration,
    /// How many bytes one command may print; after them the connection is closed.
    pub output_limit: usize,
    /// The directory whose files an inventory lists.
    pub volume_directory: VolumeDirectory,
    /// Talk to RouterOS before 7.21 too, which cannot be told a volume's NQN.
    pub allow_old_version: bool,
}

impl RdsConfig {
    /// A configuration with the default limits: 10 s to connect, 30 s and 8 MiB per
    /// command, the default volume directory.
    #[must_use]
    pub fn new(
        address: DeviceAddress,
        user: String,
        key_file: PathBuf,
        host_keys: Vec<HostKey>,
    ) -> Self {
        Self {
            address,
            user,
            key_file,
            host_keys,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(30),
            idle_reconnect: Duration::from_secs(15),
            output_limit: 8 << 20,
            volume_directory: VolumeDirectory::default(),
            allow_old_version: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rds.example", "rds.example:22")]
    #[case("10.0.0.1:2222", "10.0.0.1:2222")]
    #[case("fd00::1", "[fd00::1]:22")]
    #[case("[fd00::1]", "[fd00::1]:22")]
    #[case("[fd00::1]:2222", "[fd00::1]:2222")]
    fn an_address_is_a_host_and_a_port(#[case] text: &str, #[case] shown: &str) {
        let address: DeviceAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), shown);
        assert_eq!(shown.parse(), Ok(address));
    }

    #[test]
    fn odd_addresses_are_refused() {
        for text in [
            "", ":22", "a:", "a:0", "a:65536", "a:b:c", "[a]:22", "[::1", "[::1]22", "a b", "a/b",
        ] {
            assert!(text.parse::<DeviceAddress>().is_err(), "{text:?}");
        }
    }
}
