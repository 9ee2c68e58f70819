//! Who may use a volume, and how: access mode × volume mode.
//!
//! One reading for all: the webhook asks with the words of a claim, the driver with
//! those of CSI, and both get the same answer. The rule that matters: a filesystem is
//! mounted on one node only, because two kernels that mount one ext4 or XFS destroy it.

use std::fmt;
use std::str::FromStr;

use crate::filesystem::{FsType, FsTypeError};
use crate::kind::{Failure, Kind};
use crate::mount_options::{self, MountOptionError};

/// CSI's access modes (`VolumeCapability.AccessMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// Read and write on one node.
    SingleNodeWriter,
    /// Read on one node.
    SingleNodeReaderOnly,
    /// Read on many nodes.
    MultiNodeReaderOnly,
    /// Write on one node, read on many.
    MultiNodeSingleWriter,
    /// Write on many nodes.
    MultiNodeMultiWriter,
    /// Read and write by one workload on one node.
    SingleNodeSingleWriter,
    /// Read and write by several workloads on one node.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// Every mode.
    pub const ALL: [Self; 7] = [
        Self::SingleNodeWriter,
        Self::SingleNodeReaderOnly,
        Self::MultiNodeReaderOnly,
        Self::MultiNodeSingleWriter,
        Self::MultiNodeMultiWriter,
        Self::SingleNodeSingleWriter,
        Self::SingleNodeMultiWriter,
    ];

    /// Whether more than one node is meant.
    #[must_use]
    pub const fn is_multi_node(self) -> bool {
        matches!(
            self,
            Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter
        )
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SingleNodeWriter => "SINGLE_NODE_WRITER",
            Self::SingleNodeReaderOnly => "SINGLE_NODE_READER_ONLY",
            Self::MultiNodeReaderOnly => "MULTI_NODE_READER_ONLY",
            Self::MultiNodeSingleWriter => "MULTI_NODE_SINGLE_WRITER",
            Self::MultiNodeMultiWriter => "MULTI_NODE_MULTI_WRITER",
            Self::SingleNodeSingleWriter => "SINGLE_NODE_SINGLE_WRITER",
            Self::SingleNodeMultiWriter => "SINGLE_NODE_MULTI_WRITER",
        })
    }
}

impl FromStr for AccessMode {
    type Err = AccessError;

    /// CSI's own name of a mode, as [`AccessMode`] displays it.
    fn from_str(text: &str) -> Result<Self, AccessError> {
        let mut modes = Self::ALL.into_iter();
        let mode = modes.find(|mode| mode.to_string() == text);
        mode.ok_or_else(|| AccessError::UnknownMode(text.chars().take(32).collect()))
    }
}

/// What a volume looks like to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeMode {
    /// A raw device.
    Block,
    /// A mounted filesystem.
    Filesystem {
        /// Which one a blank volume gets.
        fs: FsType,
        /// Checked mount options, in order.
        options: Vec<String>,
    },
}

/// An access that the driver offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub mode: AccessMode,
    /// How.
    pub volume: VolumeMode,
}

/// Why an access is not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The dangerous one.
    #[error(
        "{mode} needs a raw block volume: two nodes that mount one ext4 or xfs destroy it. Use volumeMode: Block for a VM disk, or accessModes: [ReadWriteOnce] for a filesystem"
    )]
    SharedFilesystem {
        /// As the asker spells it.
        mode: String,
    },
    /// A mode that no volume of this driver has.
    #[error(
        "{mode} is not offered; offered are ReadWriteOnce and ReadWriteOncePod, and with volumeMode: Block also ReadWriteMany"
    )]
    NotOffered {
        /// As the asker spells it.
        mode: String,
    },
    /// A mode word that nobody knows.
    #[error(
        "access mode {0:?} is unknown: ReadWriteOnce, ReadWriteOncePod, ReadWriteMany or ReadOnlyMany"
    )]
    UnknownMode(String),
    /// A volume mode word that nobody knows.
    #[error("volume mode {0:?} is unknown: Filesystem or Block")]
    UnknownVolumeMode(String),
    /// No mode at all.
    #[error(
        "no access mode is given: ReadWriteOnce, ReadWriteOncePod or, with volumeMode: Block, ReadWriteMany"
    )]
    NoMode,
    /// A filesystem that is not offered.
    #[error(transparent)]
    Filesystem(#[from] FsTypeError),
    /// A mount option that is not allowed.
    #[error(transparent)]
    MountOption(#[from] MountOptionError),
}

impl Failure for AccessError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Whether this mode is offered on a block volume or on a filesystem. `spelled` is the
/// asker's own word for the mode, for the error.
fn offer(mode: AccessMode, is_block: bool, spelled: &str) -> Result<(), AccessError> {
    match mode {
        AccessMode::SingleNodeWriter
        | AccessMode::SingleNodeReaderOnly
        | AccessMode::SingleNodeSingleWriter
        | AccessMode::SingleNodeMultiWriter => Ok(()),
        AccessMode::MultiNodeMultiWriter if is_block => Ok(()),
        AccessMode::MultiNodeMultiWriter => Err(AccessError::SharedFilesystem {
            mode: spelled.to_owned(),
        }),
        AccessMode::MultiNodeReaderOnly | AccessMode::MultiNodeSingleWriter => {
            Err(AccessError::NotOffered {
                mode: spelled.to_owned(),
            })
        }
    }
}

impl Access {
    /// A raw block volume under this mode, if offered.
    pub fn block(mode: AccessMode) -> Result<Self, AccessError> {
        offer(mode, true, &mode.to_string())?;
        Ok(Self {
            mode,
            volume: VolumeMode::Block,
        })
    }

    /// A filesystem under this mode, if offered, with its type and options as CSI sends
    /// them.
    pub fn filesystem(
        mode: AccessMode,
        fs_type: &str,
        options: &[String],
    ) -> Result<Self, AccessError> {
        offer(mode, false, &mode.to_string())?;
        let fs = fs_type.parse()?;
        Ok(Self {
            mode,
            volume: VolumeMode::Filesystem {
                fs,
                options: mount_options::parse(fs, options)?,
            },
        })
    }

    /// Whether it is a raw block volume.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.volume == VolumeMode::Block
    }

    /// The smallest volume that can serve it.
    #[must_use]
    pub fn smallest_volume(&self) -> crate::bytes::Bytes {
        match &self.volume {
            VolumeMode::Block => crate::bytes::Bytes::ALIGNMENT,
            VolumeMode::Filesystem { fs, .. } => fs.smallest_volume(),
        }
    }
}

/// The refusal of one entry of a claim's `accessModes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRefusal {
    /// `spec.accessModes[1]`, `spec.accessModes` or `spec.volumeMode`.
    pub field: String,
    /// Why.
    pub error: AccessError,
}

/// Judges every entry of a claim's or PersistentVolume's `accessModes` with its
/// `volumeMode` (absent means Filesystem). Every entry, because external-provisioner
/// asks for each of them and external-attacher later picks the widest.
#[must_use]
pub fn judge_claim<S: AsRef<str>>(
    access_modes: &[S],
    volume_mode: Option<&str>,
) -> Vec<ClaimRefusal> {
    let is_block = match volume_mode {
        None | Some("" | "Filesystem") => false,
        Some("Block") => true,
        Some(other) => {
            let error = AccessError::UnknownVolumeMode(other.chars().take(32).collect());
            return vec![ClaimRefusal {
                field: "spec.volumeMode".to_owned(),
                error,
            }];
        }
    };
    if access_modes.is_empty() {
        return vec![ClaimRefusal {
            field: "spec.accessModes".to_owned(),
            error: AccessError::NoMode,
        }];
    }
    let judge = |(index, word): (usize, &S)| {
        let word = word.as_ref();
        let mode = match word {
            "ReadWriteOnce" => AccessMode::SingleNodeWriter,
            "ReadWriteOncePod" => AccessMode::SingleNodeSingleWriter,
            "ReadWriteMany" => AccessMode::MultiNodeMultiWriter,
            "ReadOnlyMany" => AccessMode::MultiNodeReaderOnly,
            other => {
                return Some((
                    index,
                    AccessError::UnknownMode(other.chars().take(32).collect()),
                ));
            }
        };
        offer(mode, is_block, word)
            .err()
            .map(|error| (index, error))
    };
    let refusal = |(index, error)| ClaimRefusal {
        field: format!("spec.accessModes[{index}]"),
        error,
    };
    access_modes
        .iter()
        .enumerate()
        .filter_map(judge)
        .map(refusal)
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(AccessMode::SingleNodeWriter, true, true)]
    #[case(AccessMode::SingleNodeReaderOnly, true, true)]
    #[case(AccessMode::SingleNodeSingleWriter, true, true)]
    #[case(AccessMode::SingleNodeMultiWriter, true, true)]
    #[case(AccessMode::MultiNodeMultiWriter, true, false)]
    #[case(AccessMode::MultiNodeReaderOnly, false, false)]
    #[case(AccessMode::MultiNodeSingleWriter, false, false)]
    fn modes_are_offered(#[case] mode: AccessMode, #[case] block: bool, #[case] filesystem: bool) {
        assert_eq!(Access::block(mode).is_ok(), block);
        assert_eq!(Access::filesystem(mode, "", &[]).is_ok(), filesystem);
    }

    #[test]
    fn each_entry_of_a_claim_is_judged() {
        let fields = |modes: &[&str], volume_mode| -> Vec<String> {
            judge_claim(modes, volume_mode)
                .into_iter()
                .map(|refusal| refusal.field)
                .collect()
        };
        assert_eq!(
            fields(&["ReadWriteOnce", "ReadWriteMany"], None),
            ["spec.accessModes[1]"]
        );
        assert_eq!(
            fields(&["ReadWriteMany", "ReadOnlyMany"], Some("Filesystem")),
            ["spec.accessModes[0]", "spec.accessModes[1]"]
        );
        assert_eq!(fields(&["ReadWriteMany"], Some("Block")), [""; 0]);
        assert_eq!(
            fields(&["ReadOnlyMany"], Some("Block")),
            ["spec.accessModes[0]"]
        );
        assert_eq!(fields(&[], Some("Block")), ["spec.accessModes"]);
        assert_eq!(
            fields(&["ReadWriteOnce"], Some("Blok")),
            ["spec.volumeMode"]
        );
        assert_eq!(fields(&["RWO"], None), ["spec.accessModes[0]"]);
    }

    #[test]
    fn a_shared_filesystem_is_refused_with_the_way_out() {
        let error = judge_claim(&["ReadWriteMany"], None)
            .remove(0)
            .error
            .to_string();
        assert!(
            error.contains("volumeMode: Block") && error.contains("ReadWriteOnce"),
            "{error}"
        );
    }

    #[test]
    fn filesystems_and_options_are_checked() {
        assert!(Access::filesystem(AccessMode::SingleNodeWriter, "btrfs", &[]).is_err());
        assert!(
            Access::filesystem(
                AccessMode::SingleNodeWriter,
                "xfs",
                &["norecovery".to_owned()]
            )
            .is_err()
        );
        let xfs = Access::filesystem(
            AccessMode::SingleNodeWriter,
            "xfs",
            &["nouuid,noatime".to_owned()],
        )
        .unwrap();
        assert_eq!(
            xfs.volume,
            VolumeMode::Filesystem {
                fs: FsType::Xfs,
                options: vec!["nouuid".into(), "noatime".into()]
            }
        );
    }
}
