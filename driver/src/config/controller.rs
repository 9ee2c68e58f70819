//! The flags of `controller`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rds_csi_core::attachment::{Fencing, Modes, Seat};
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_routeros::{DeviceAddress, HostKey, RdsConfig};

use super::reader::Reader;
use super::{ClusterMode, Common, ControllerConfig};
use crate::args::ControllerArgs;

/// `None` where a problem was noted.
pub(super) fn read(
    reader: &mut Reader,
    args: &ControllerArgs,
    common: Option<Common>,
) -> Option<ControllerConfig> {
    let none = "no cluster is asked, and attachments are known only until the process ends";
    let cluster = ClusterMode::read(reader, args.cluster.as_deref(), none);
    let modes = Modes::read(args.rule_mode.iter().map(String::as_str), Seat::Driver);
    let modes = modes.map_err(|error| {
        reader.refuse(
            "rule-mode",
            Some(&args.rule_mode.join(",")),
            error.to_string(),
        );
    });
    let fencing = reader.parsed("fencing", &args.fencing);
    let volume_directory = reader.parsed("volume-path", &args.volume_path);
    let device = Device::read(reader, args);
    let address = device.address.as_ref();
    let nvme_address = nvme_address(reader, args, address);
    let nvme_port = reader.checked("nvme-port", &args.nvme_port, "1 to 65535", |text| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|port| digits && *port != 0)
    });
    let overcommit_percent = reader.checked(
        "overcommit-ratio",
        &args.overcommit_ratio,
        "1.0 to 10.0, with at most two decimals",
        percent,
    );
    let common = common?;
    let volume_directory: VolumeDirectory = volume_directory?;
    // An unset key of a manifest is one empty name.
    let nodes = args.nodes.iter().filter(|name| !name.is_empty());
    Some(ControllerConfig {
        driver_name: common.driver_name,
        endpoint: common.endpoint,
        admin: common.admin,
        cluster_id: common.cluster_id,
        cluster: cluster?,
        nodes: nodes.cloned().collect(),
        modes: modes.ok()?,
        fencing: fencing?,
        leftovers: Default::default(),
        probe: fencing? != Fencing::Off,
        rds: device.config(args, volume_directory.clone())?,
        volume_directory,
        nqn_prefix: common.nqn_prefix,
        nvme_address: nvme_address?,
        nvme_port: nvme_port?,
        overcommit_percent: overcommit_percent?,
        shutdown_grace: common.shutdown_grace,
    })
}

/// What was read about the device.
struct Device {
    address: Option<DeviceAddress>,
    user: Option<String>,
    key_file: Option<PathBuf>,
    host_keys: Option<Vec<HostKey>>,
    connect_timeout: Option<Duration>,
    command_timeout: Option<Duration>,
}

impl Device {
    fn read(reader: &mut Reader, args: &ControllerArgs) -> Self {
        let address = reader
            .required(
                "rds-address",
                args.rds_address.as_deref(),
                "a host name or IP address with an optional port",
            )
            .and_then(|text| reader.parsed("rds-address", text));
        let user = reader.checked(
            "rds-user",
            &args.rds_user,
            "1 to 64 letters, digits, '.', '_', '-' and '@'",
            |text| is_user(text).then(|| text.to_owned()),
        );
        Self {
            address,
            user,
            key_file: key_file(reader, args),
            host_keys: host_keys(reader, args),
            connect_timeout: reader.duration(
                "rds-connect-timeout",
                &args.rds_connect_timeout,
                1..=300,
            ),
            command_timeout: reader.duration(
                "rds-command-timeout",
                &args.rds_command_timeout,
                1..=300,
            ),
        }
    }

    fn config(self, args: &ControllerArgs, volume_directory: VolumeDirectory) -> Option<RdsConfig> {
        let (address, user) = self.address.zip(self.user)?;
        let config = RdsConfig::new(address, user, self.key_file?, self.host_keys?);
        Some(RdsConfig {
            connect_timeout: self.connect_timeout?,
            command_timeout: self.command_timeout?,
            volume_directory,
            allow_old_version: args.rds_allow_old_version,
            ..config
        })
    }
}

/// A `+` in a RouterOS login starts console options, so it is no part of a name here.
fn is_user(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

fn key_file(reader: &mut Reader, args: &ControllerArgs) -> Option<PathBuf> {
    let flag = "rds-key-file";
    let text = reader.required(flag, args.rds_key_file.as_deref(), "a readable file")?;
    match fs::File::open(text) {
        Ok(_) => Some(PathBuf::from(text)),
        Err(error) => {
            reader.refuse(flag, Some(text), format!("it cannot be opened: {error}"));
            None
        }
    }
}

fn host_keys(reader: &mut Reader, args: &ControllerArgs) -> Option<Vec<HostKey>> {
    let flag = "rds-host-key";
    let mut keys = Vec::new();
    let mut whole = true;
    for text in args.rds_host_key.iter().filter(|text| !text.is_empty()) {
        match reader.parsed(flag, text) {
            Some(key) => keys.push(key),
            None => whole = false,
        }
    }
    if let Some(path) = args.rds_host_key_file.as_deref().filter(|p| !p.is_empty()) {
        match read_host_key_file(path) {
            Ok(found) => keys.extend(found),
            Err(remedy) => {
                reader.refuse("rds-host-key-file", Some(path), remedy);
                whole = false;
            }
        }
    }
    if whole && keys.is_empty() {
        let remedy = "it takes the device's public key, such as \"ssh-ed25519 AAAA…\", or give \
                      --rds-host-key-file; `ssh-keyscan <device>` shows the key to compare";
        reader.refuse(flag, None, remedy.to_owned());
    }
    (whole && !keys.is_empty()).then_some(keys)
}

fn read_host_key_file(path: &str) -> Result<Vec<HostKey>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let keys = HostKey::read_all(&text).map_err(|error| error.to_string())?;
    if keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    if keys.len() > MOST_HOST_KEYS || names_other_hosts(&text) {
        return Err(format!(
            "it holds {} keys, of more than one host as it seems: each of them could pass for \
             the device, so keep the device's own lines alone",
            keys.len()
        ));
    }
    Ok(keys)
}

/// A device has one key of each type, and each twice while they are exchanged. Hashed
/// names of known_hosts do not tell whether they are of one host.
const MOST_HOST_KEYS: usize = 8;

/// Whether lines of a known_hosts file name hosts that have no name in common.
fn names_other_hosts(text: &str) -> bool {
    let mut first = None;
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '|']))
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, rest)| rest.trim_start().parse::<HostKey>().is_ok())
        .any(|(column, _)| {
            let first = first.get_or_insert(column);
            !column
                .split(',')
                .any(|name| first.split(',').any(|known| known == name))
        })
}

fn nvme_address(
    reader: &mut Reader,
    args: &ControllerArgs,
    device: Option<&DeviceAddress>,
) -> Option<IpAddr> {
    let flag = "nvme-address";
    let takes = "an IP address";
    match args.nvme_address.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => reader.checked(flag, text, takes, |text| text.parse().ok()),
        None => {
            // Without a device address that problem is told, and this one may not be one.
            let device = device?;
            let address = ip_of(device);
            if address.is_none() {
                let remedy = format!("it takes {takes}, because --rds-address is a host name");
                reader.refuse(flag, None, remedy);
            }
            address
        }
    }
}

/// The device's address, where it is an IP address and not a name.
pub(super) fn ip_of(device: &DeviceAddress) -> Option<IpAddr> {
    let address: SocketAddr = device.to_string().parse().ok()?;
    Some(address.ip())
}

/// A decimal of at most two places as hundredths, 100 to 1000. No float is involved:
/// 1.1 is 110 and not 110.00000000000001.
fn percent(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(places, 2) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let hundredths: u32 = format!("{places:0<2}").parse().ok()?;
    let percent = whole * 100 + hundredths;
    (100..=1000).contains(&percent).then_some(percent)
}
