//! StorageClass parameters: one parser for the webhook and for CreateVolume, so that
//! what admission lets in, provisioning accepts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::backing_file::VolumeDirectory;
use crate::filesystem::FsType;
use crate::kind::{Failure, Kind};
use crate::names::parameter as key;
use crate::nvme::Tuning;

/// What a StorageClass says about its volumes. `None` leaves the choice to the driver's
/// own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageClassParameters {
    /// The management address that the author had in mind: an IP address. Checked
    /// against the driver's, because one controller serves one device.
    pub rds_address: Option<IpAddr>,
    /// Where nodes connect.
    pub nvme_address: Option<IpAddr>,
    /// The export's TCP port.
    pub nvme_port: Option<u16>,
    /// The directory of backing files: the driver's own or one below it.
    pub volume_directory: Option<VolumeDirectory>,
    /// How nodes keep the connection.
    pub tuning: Tuning,
    /// Seconds after which a migration is reported as slow; never enforced.
    pub migration_timeout_seconds: Option<u32>,
    /// `csi.storage.k8s.io/fstype`, where external-provisioner left it in.
    pub fs_type: Option<FsType>,
}

/// The TCP port of an export where nothing else is set (IANA: NVMe over fabrics).
pub const DEFAULT_NVME_PORT: u16 = 4420;

/// Every parameter of the driver's own, with what it takes: for errors and for docs.
pub const ALLOWED: &[(&str, &str)] = &[
    (key::NVME_ADDRESS, "an IP address"),
    (key::NVME_PORT, "a port, 1 to 65535"),
    (key::RDS_ADDRESS, "an IP address"),
    (
        key::VOLUME_PATH,
        "a directory on the device, such as /storage-pool/rds-csi",
    ),
    (key::CTRL_LOSS_TMO, "seconds, -1 (never) or 0 to 31536000"),
    (key::RECONNECT_DELAY, "seconds, 1 to 3600"),
    (key::KEEP_ALIVE_TMO, "seconds, 1 to 3600"),
    (
        key::FAST_IO_FAIL_TMO,
        "seconds, 0 to 31536000, below ctrlLossTmo",
    ),
    (key::NR_IO_QUEUES, "a number, 1 to 128"),
    (key::MIGRATION_TIMEOUT_SECONDS, "seconds, 30 to 31536000"),
    (key::FS_TYPE, "ext4 or xfs"),
];

/// Why a map of parameters is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// A key that nobody reads: most likely a typing error that would silently lose a
    /// setting.
    #[error("parameter {key:?} is unknown{}; allowed: {}", Hint(.nearest), AllowedKeys)]
    Unknown {
        /// The key.
        key: String,
        /// The allowed key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value out of its range or of the wrong form.
    #[error("parameter {key}: {value:?} is not allowed: it takes {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given, shortened.
        value: String,
        /// What it takes.
        allowed: &'static str,
    },
}

impl Failure for ParameterError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl ParameterError {
    /// The key that the error is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Unknown { key, .. } => key,
            Self::Value { key, .. } => key,
        }
    }
}

struct AllowedKeys;

impl fmt::Display for AllowedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = ALLOWED.iter().map(|(key, _)| *key).collect();
        f.write_str(&keys.join(", "))
    }
}

struct Hint<'a>(&'a Option<&'static str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |key| write!(f, ", did you mean {key}?"))
    }
}

impl StorageClassParameters {
    /// Reads a map, or says what is wrong first.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, ParameterError> {
        Self::parse_all(map).map_err(|mut errors| errors.remove(0))
    }

    /// Reads a map, or says everything that is wrong with it; never an empty list.
    pub fn parse_all(map: &BTreeMap<String, String>) -> Result<Self, Vec<ParameterError>> {
        let mut errors = Vec::new();
        let mut parsed = Self::default();
        for (key, value) in map {
            if let Err(error) = parsed.set(key, value) {
                errors.push(error);
            }
        }
        if let Err(error) = check_tuning(&parsed.tuning, map) {
            errors.push(error);
        }
        if errors.is_empty() {
            Ok(parsed)
        } else {
            Err(errors)
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        match name {
            key::NVME_ADDRESS => {
                self.nvme_address = Some(read(key::NVME_ADDRESS, value)?);
            }
            key::RDS_ADDRESS => {
                self.rds_address = Some(read(key::RDS_ADDRESS, value)?);
            }
            key::NVME_PORT => {
                self.nvme_port = Some(read_in(key::NVME_PORT, value, &(1..=u16::MAX))?);
            }
            key::VOLUME_PATH => {
                self.volume_directory = Some(read(key::VOLUME_PATH, value)?);
            }
            key::MIGRATION_TIMEOUT_SECONDS => {
                self.migration_timeout_seconds = Some(read_in(
                    key::MIGRATION_TIMEOUT_SECONDS,
                    value,
                    &(30..=31_536_000),
                )?);
            }
            key::FS_TYPE => {
                self.fs_type = Some(read(key::FS_TYPE, value)?);
            }
            other if other.starts_with(key::KUBERNETES_PREFIX) => {}
            other => return set_tuning(&mut self.tuning, other, value),
        }
        Ok(())
    }
}

/// Sets one connection parameter; an unknown key is the error.
pub(crate) fn set_tuning(
    tuning: &mut Tuning,
    name: &str,
    value: &str,
) -> Result<(), ParameterError> {
    match name {
        key::CTRL_LOSS_TMO => {
            tuning.ctrl_loss_tmo = if value == "-1" {
                None
            } else {
                Some(read_in(key::CTRL_LOSS_TMO, value, &(0..=31_536_000))?)
            };
        }
        key::RECONNECT_DELAY => {
            tuning.reconnect_delay = read_in(key::RECONNECT_DELAY, value, &(1..=3_600))?;
        }
        key::KEEP_ALIVE_TMO => {
            tuning.keep_alive_tmo = read_in(key::KEEP_ALIVE_TMO, value, &(1..=3_600))?;
        }
        key::FAST_IO_FAIL_TMO => {
            tuning.fast_io_fail_tmo =
                Some(read_in(key::FAST_IO_FAIL_TMO, value, &(0..=31_536_000))?);
        }
        key::NR_IO_QUEUES => {
            tuning.nr_io_queues = Some(read_in(key::NR_IO_QUEUES, value, &(1..=128))?);
        }
        other => {
            return Err(ParameterError::Unknown {
                key: other.chars().take(64).collect(),
                nearest: nearest(other),
            });
        }
    }
    Ok(())
}

/// Failing I/O before the connection is given up makes no sense the other way round.
fn check_tuning(tuning: &Tuning, map: &BTreeMap<String, String>) -> Result<(), ParameterError> {
    match (tuning.fast_io_fail_tmo, tuning.ctrl_loss_tmo) {
        (Some(fast), Some(loss)) if fast >= loss => {
            let value = map
                .get(key::FAST_IO_FAIL_TMO)
                .map(String::as_str)
                .unwrap_or_default();
            Err(refuse(key::FAST_IO_FAIL_TMO, value))
        }
        _ => Ok(()),
    }
}

fn refuse(key: &'static str, value: &str) -> ParameterError {
    let allowed = ALLOWED
        .iter()
        .find(|(name, _)| *name == key)
        .map_or("another value", |(_, allowed)| *allowed);
    ParameterError::Value {
        key,
        value: value.chars().take(64).collect(),
        allowed,
    }
}

pub(crate) fn read<T: std::str::FromStr>(
    key: &'static str,
    value: &str,
) -> Result<T, ParameterError> {
    value.parse().map_err(|_| refuse(key, value))
}

pub(crate) fn read_in<T>(
    key: &'static str,
    value: &str,
    range: &RangeInclusive<T>,
) -> Result<T, ParameterError>
where
    T: std::str::FromStr + PartialOrd,
{
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits && range.contains(&number) => Ok(number),
        _ => Err(refuse(key, value)),
    }
}

/// The allowed key within two edits, ignoring case: what the author most likely meant.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 40 {
        return None;
    }
    let name = name.to_lowercase();
    let distance = |key: &str| edit_distance(&name, &key.to_lowercase());
    ALLOWED
        .iter()
        .map(|(key, _)| (distance(key), *key))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, key)| key)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
