//! A session as it lies on the disk.
//!
//! Fields that a later version adds are optional, so that records of an earlier one are
//! read. One that an earlier version must not read, and so write without them, gets a
//! higher [`VERSION`]. Parsers are the ones that the requests went through: what is read here can be
//! staged again as it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use rds_csi_core::access::{Access, VolumeMode};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::VolumeContext;
use serde::{Deserialize, Serialize};

use super::{Session, Staging};

/// What this program writes, and the highest that it reads.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(default)]
    version: u32,
    volume: String,
    nqn: String,
    address: IpAddr,
    port: u16,
    staged_at: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    staging: Option<StoredStaging>,
    opened: u64,
    #[serde(default)]
    targets: BTreeMap<PathBuf, bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<BTreeMap<PathBuf, bool>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredStaging {
    boot: String,
    access_mode: String,
    /// `None` is a raw device.
    filesystem: Option<String>,
    #[serde(default)]
    mount_options: Vec<String>,
    volume_context: BTreeMap<String, String>,
    size: u64,
    wwid: Option<String>,
}

impl From<&Session> for Stored {
    fn from(session: &Session) -> Self {
        Self {
            version: VERSION,
            volume: session.volume.to_string(),
            nqn: session.nqn.to_string(),
            address: session.address,
            port: session.port,
            staged_at: session.staged_at.clone(),
            staging: session.staging.as_ref().map(StoredStaging::from),
            opened: session.opened,
            targets: session.targets.clone(),
            recovery: session.recovery.clone(),
        }
    }
}

impl TryFrom<Stored> for Session {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.version > VERSION {
            return Err(format!(
                "it is of version {}, and this program reads none above {VERSION}",
                stored.version
            ));
        }
        let words = |error: &dyn std::error::Error| error.to_string();
        Ok(Self {
            volume: stored.volume.parse().map_err(|error| words(&error))?,
            nqn: stored.nqn.parse().map_err(|error| words(&error))?,
            address: stored.address,
            port: stored.port,
            staged_at: stored.staged_at,
            staging: stored.staging.map(Staging::try_from).transpose()?,
            opened: stored.opened,
            targets: stored.targets,
            recovery: stored.recovery,
        })
    }
}

impl From<&Staging> for StoredStaging {
    fn from(staging: &Staging) -> Self {
        let (filesystem, mount_options) = match &staging.access.volume {
            VolumeMode::Block => (None, Vec::new()),
            VolumeMode::Filesystem { fs, options } => (Some(fs.to_string()), options.clone()),
        };
        Self {
            boot: staging.boot.clone(),
            access_mode: staging.access.mode.to_string(),
            filesystem,
            mount_options,
            volume_context: staging.context.to_map(),
            size: staging.size.get(),
            wwid: staging.wwid.clone(),
        }
    }
}

impl TryFrom<StoredStaging> for Staging {
    type Error = String;

    fn try_from(stored: StoredStaging) -> Result<Self, String> {
        let mode = stored.access_mode.parse();
        let mode = mode.map_err(|error| format!("access_mode: {error}"))?;
        let access = match &stored.filesystem {
            None => Access::block(mode),
            Some(fs) => Access::filesystem(mode, fs, &stored.mount_options),
        };
        let context = VolumeContext::parse(&stored.volume_context);
        Ok(Self {
            boot: stored.boot,
            access: access.map_err(|error| error.to_string())?,
            context: context.map_err(|error| error.to_string())?,
            size: Bytes::new(stored.size),
            wwid: stored.wwid,
        })
    }
}
