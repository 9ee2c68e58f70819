//! The two maps that travel from the controller to the nodes.
//!
//! The volume context is fixed when the volume is made and kept in the PersistentVolume
//! for ever; the publish context is made at each attachment. Both are string maps on
//! the wire and typed values everywhere else. The keys of the volume context are those
//! of the older Go driver for this hardware, so that its volumes can be taken over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::backing_file::VolumeDirectory;
use crate::bytes::Bytes;
use crate::kind::{Failure, Kind};
use crate::names::{parameter as key, publish};
use crate::nqn::Nqn;
use crate::nvme::Tuning;
use crate::parameters::{self, DEFAULT_NVME_PORT, ParameterError};

/// What a PersistentVolume says about its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeContext {
    /// Where nodes connect.
    pub nvme_address: IpAddr,
    /// The export's TCP port.
    pub nvme_port: u16,
    /// The subsystem.
    pub nqn: Nqn,
    /// Where the backing file lies.
    pub volume_directory: VolumeDirectory,
    /// How to keep the connection.
    pub tuning: Tuning,
    /// Seconds after which a migration is reported as slow.
    pub migration_timeout_seconds: Option<u32>,
}

/// Why a context is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A key without which nothing can be done.
    #[error("{map} has no {key}")]
    Missing {
        /// `volume_context` or `publish_context`.
        map: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A value that cannot be.
    #[error("{map}: {key}: {value:?} cannot be read")]
    Value {
        /// `volume_context` or `publish_context`.
        map: &'static str,
        /// The key.
        key: &'static str,
        /// What was there, shortened.
        value: String,
    },
    /// A value that the parameter parser refuses.
    #[error("volume_context: {0}")]
    Parameter(ParameterError),
}

impl Failure for ContextError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

const VOLUME: &str = "volume_context";
const PUBLISH: &str = "publish_context";

fn missing(map: &'static str, key: &'static str) -> ContextError {
    ContextError::Missing { map, key }
}

fn unreadable(map: &'static str, key: &'static str, value: &str) -> ContextError {
    ContextError::Value {
        map,
        key,
        value: value.chars().take(64).collect(),
    }
}

fn read<T: std::str::FromStr>(
    map: &'static str,
    key: &'static str,
    value: &str,
) -> Result<T, ContextError> {
    value.parse().map_err(|_| unreadable(map, key, value))
}

impl VolumeContext {
    /// Reads a volume context. Keys that the older driver or the sidecars put there
    /// and nobody reads are passed over; unreadable values of known keys are errors.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, ContextError> {
        let get = |key| {
            map.get(key)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        let address = get(key::NVME_ADDRESS).map(|value| (key::NVME_ADDRESS, value));
        let (address_key, address) = address
            .or_else(|| get(key::RDS_ADDRESS).map(|value| (key::RDS_ADDRESS, value)))
            .ok_or_else(|| missing(VOLUME, key::NVME_ADDRESS))?;
        let nqn = get(key::NQN).ok_or_else(|| missing(VOLUME, key::NQN))?;
        let directory = get(key::VOLUME_PATH).ok_or_else(|| missing(VOLUME, key::VOLUME_PATH))?;
        let nvme_port = match get(key::NVME_PORT) {
            Some(port) => match read(VOLUME, key::NVME_PORT, port)? {
                0 => return Err(unreadable(VOLUME, key::NVME_PORT, port)),
                port => port,
            },
            None => DEFAULT_NVME_PORT,
        };
        let mut tuning = Tuning::default();
        for name in TUNING_KEYS {
            match get(name) {
                // The older driver wrote 0 where it meant the kernel's default.
                None => {}
                Some("0") if name == key::KEEP_ALIVE_TMO => {}
                Some(value) => parameters::set_tuning(&mut tuning, name, value)
                    .map_err(ContextError::Parameter)?,
            }
        }
        Ok(Self {
            nvme_address: read(VOLUME, address_key, address)?,
            nvme_port,
            nqn: read(VOLUME, key::NQN, nqn)?,
            volume_directory: read(VOLUME, key::VOLUME_PATH, directory)?,
            tuning,
            migration_timeout_seconds: get(key::MIGRATION_TIMEOUT_SECONDS)
                .map(|value| read(VOLUME, key::MIGRATION_TIMEOUT_SECONDS, value))
                .transpose()?,
        })
    }

    /// The map for the wire.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let tuning = &self.tuning;
        let optional = |key: &str, value: Option<u32>| {
            value.map(|number| (key.to_owned(), number.to_string()))
        };
        let mut map: BTreeMap<String, String> = [
            (key::NVME_ADDRESS, self.nvme_address.to_string()),
            (key::NVME_PORT, self.nvme_port.to_string()),
            (key::NQN, self.nqn.to_string()),
            (key::VOLUME_PATH, self.volume_directory.to_string()),
            (
                key::CTRL_LOSS_TMO,
                tuning
                    .ctrl_loss_tmo
                    .map_or_else(|| "-1".to_owned(), |seconds| seconds.to_string()),
            ),
            (key::RECONNECT_DELAY, tuning.reconnect_delay.to_string()),
            (key::KEEP_ALIVE_TMO, tuning.keep_alive_tmo.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        map.extend(optional(key::FAST_IO_FAIL_TMO, tuning.fast_io_fail_tmo));
        map.extend(optional(key::NR_IO_QUEUES, tuning.nr_io_queues));
        map.extend(optional(
            key::MIGRATION_TIMEOUT_SECONDS,
            self.migration_timeout_seconds,
        ));
        map
    }
}

const TUNING_KEYS: [&str; 5] = [
    key::CTRL_LOSS_TMO,
    key::RECONNECT_DELAY,
    key::KEEP_ALIVE_TMO,
    key::FAST_IO_FAIL_TMO,
    key::NR_IO_QUEUES,
];

/// What ControllerPublish tells the node about one attachment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishContext {
    /// The size of the namespace when it was attached. Attachments that the older
    /// driver made do not carry it.
    pub size: Option<Bytes>,
    /// When the volume was first used as a filesystem, where a record says so: then it
    /// cannot be blank, and if it looks blank it is not formatted.
    pub first_used: Option<String>,
    /// A person's reason to format it all the same.
    pub format_override: Option<String>,
    /// The subsystem, where the volume was offered anew since it was made: see
    /// [`Epoch`](crate::nqn::Epoch).
    pub nqn: Option<Nqn>,
    /// Whether the node has the volume only to be read, beside another one that may write: then
    /// no pod there may write, whatever it asks for.
    pub reader: bool,
}

impl PublishContext {
    /// Reads a publish context; keys that nobody reads are passed over.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, ContextError> {
        let get = |key: &str| map.get(key).filter(|value| !value.is_empty());
        Ok(Self {
            size: get(publish::SIZE)
                .map(|value| read(PUBLISH, publish::SIZE, value).map(Bytes::new))
                .transpose()?,
            first_used: get(publish::FIRST_USED).cloned(),
            format_override: get(publish::FORMAT_OVERRIDE).cloned(),
            nqn: get(publish::NQN)
                .map(|nqn| read(PUBLISH, publish::NQN, nqn))
                .transpose()?,
            reader: get(publish::READER)
                .map(|reader| read(PUBLISH, publish::READER, reader))
                .transpose()?
                .unwrap_or_default(),
        })
    }

    /// The map for the wire.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let size = self
            .size
            .map(|size| (publish::SIZE.to_owned(), size.get().to_string()));
        let first_used = self
            .first_used
            .clone()
            .map(|when| (publish::FIRST_USED.to_owned(), when));
        let format_override = self
            .format_override
            .clone()
            .map(|why| (publish::FORMAT_OVERRIDE.to_owned(), why));
        let nqn = self
            .nqn
            .as_ref()
            .map(|nqn| (publish::NQN.to_owned(), nqn.to_string()));
        let reader = self
            .reader
            .then(|| (publish::READER.to_owned(), true.to_string()));
        [size, first_used, format_override, nqn, reader]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests;
