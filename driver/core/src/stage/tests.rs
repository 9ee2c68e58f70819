//! Plans are run against a small model of a node: what each step does to it.

use proptest::prelude::*;

use super::*;
use crate::kind::{Failure as _, Kind};
use crate::nvme::{Controller, ControllerState};

const UUID: Uuid = Uuid::from_u128(7);
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:1";

fn desired(fs: Option<FsType>) -> Desired {
    Desired {
        nqn: "nqn.2000-02.com.mikrotik:pvc-1".parse().unwrap(),
        host: HOST.parse().unwrap(),
        address: "10.0.0.1".parse().unwrap(),
        port: 4420,
        size: Some(Bytes::gib(1)),
        volume: fs.map_or(VolumeMode::Block, |fs| VolumeMode::Filesystem {
            fs,
            options: vec![],
        }),
        uuid: UUID,
        any_uuid: false,
        first_used: None,
        format_override: None,
    }
}

fn namespace(minor: u32) -> Namespace {
    let number = DeviceNumber { major: 259, minor };
    Namespace {
        name: format!("nvme0n{minor}"),
        nsid: 1,
        number,
        size: Bytes::gib(1),
        wwid: None,
        read_only: false,
    }
}

fn subsystem() -> Subsystem {
    let controller = Controller {
        name: "nvme0".into(),
        state: ControllerState::Live,
        address: Some(("10.0.0.1".parse().unwrap(), 4420)),
        host_nqn: Some(HOST.into()),
    };
    Subsystem {
        nqn: "nqn.2000-02.com.mikrotik:pvc-1".into(),
        controllers: vec![controller],
        namespaces: vec![namespace(1)],
    }
}

fn mount(minor: u32) -> Mount {
    Mount {
        id: 30,
        parent: 1,
        device: DeviceNumber { major: 259, minor },
        root: "/".into(),
        target: "/staging".into(),
        options: vec!["rw".into()],
        fs_type: "ext4".into(),
        source: "/dev/nvme0n1".into(),
        super_options: vec!["rw".into()],
    }
}

/// A node, its kernel, and what is on the device.
struct Node {
    observed: Observed,
    content: Content,
    formats: usize,
}

impl Node {
    fn blank() -> Self {
        Self {
            observed: Observed::default(),
            content: Content::Blank,
            formats: 0,
        }
    }

    fn superblock(&self) -> Option<(FsType, Uuid)> {
        match self.content {
            Content::Filesystem { fs, uuid } => Some((fs, uuid)),
            Content::Blank | Content::Foreign(_) => None,
        }
    }

    fn take(&mut self, step: &Step) {
        let device = DeviceNumber {
            major: 259,
            minor: 1,
        };
        match step {
            Step::Connect | Step::Await => self.observed.subsystem = Some(subsystem()),
            Step::Identify => {
                self.observed.knowledge = Knowledge::Head {
                    device,
                    superblock: self.superblock(),
                }
            }
            Step::Examine => {
                self.observed.knowledge = Knowledge::Examined {
                    device,
                    content: self.content.clone(),
                };
            }
            Step::Format { fs, uuid } => {
                assert_eq!(
                    self.content,
                    Content::Blank,
                    "only blank devices are formatted"
                );
                self.content = Content::Filesystem {
                    fs: *fs,
                    uuid: *uuid,
                };
                self.observed.knowledge = Knowledge::Unread;
                self.formats += 1;
            }
            Step::Mount { fs, uuid } => {
                assert!(self.observed.mounts.is_empty(), "mounts are never stacked");
                let superblock = self.superblock();
                let is_meant = |(found, other): (FsType, Uuid)| {
                    found == *fs && uuid.is_none_or(|uuid| uuid == other)
                };
                if superblock.is_some_and(is_meant) {
                    self.observed.knowledge = Knowledge::Unread;
                    self.observed.mounts.push(Mount {
                        fs_type: fs.to_string(),
                        ..mount(1)
                    });
                } else {
                    self.observed.knowledge = Knowledge::Head { device, superblock };
                }
            }
        }
    }

    /// A new process on the same node: what was read is forgotten, the rest stays.
    fn stage(&mut self, desired: &Desired, steps: usize) -> Result<bool, StageError> {
        self.observed.knowledge = Knowledge::Unread;
        for _ in 0..steps {
            match next(&self.observed, desired)? {
                None => return Ok(true),
                Some(step) => self.take(&step),
            }
        }
        Ok(false)
    }
}

#[test]
fn a_blank_volume_is_formatted_once_and_then_mounted_for_ever() {
    let mut node = Node::blank();
    assert_eq!(node.stage(&desired(Some(FsType::Xfs)), 9), Ok(true));
    node.observed = Observed::default();
    assert_eq!(node.stage(&desired(Some(FsType::Xfs)), 9), Ok(true));
    assert_eq!((node.formats, node.observed.mounts.len()), (1, 1));
}

#[test]
fn a_block_volume_is_connected_and_read_and_nothing_else() {
    let mut node = Node {
        content: Content::Foreign("GPT".into()),
        ..Node::blank()
    };
    assert_eq!(node.stage(&desired(None), 9), Ok(true));
    assert_eq!((node.formats, node.observed.mounts.len()), (0, 0));
    assert_eq!(
        node.observed.knowledge.device(),
        Some(namespace(1).number),
        "a live session that cannot read is not staged"
    );
}

#[test]
fn what_is_not_blank_is_never_formatted() {
    let mut others = vec![Content::Foreign("a GPT partition table".into())];
    others.push(Content::Filesystem {
        fs: FsType::Xfs,
        uuid: UUID,
    });
    others.push(Content::Filesystem {
        fs: FsType::Ext4,
        uuid: Uuid::from_u128(8),
    });
    for content in others {
        let mut node = Node {
            content: content.clone(),
            ..Node::blank()
        };
        let error = node.stage(&desired(Some(FsType::Ext4)), 9).unwrap_err();
        assert_eq!((error.kind(), node.formats), (Kind::Conflict, 0), "{error}");
        assert!(node.observed.mounts.is_empty());
    }
}

#[test]
fn a_volume_of_the_older_driver_may_have_any_uuid_but_no_other_type() {
    let desired = Desired {
        any_uuid: true,
        ..desired(Some(FsType::Ext4))
    };
    let mut node = Node {
        content: Content::Filesystem {
            fs: FsType::Ext4,
            uuid: Uuid::from_u128(8),
        },
        ..Node::blank()
    };
    assert_eq!(node.stage(&desired, 9), Ok(true));
    let mut node = Node {
        content: Content::Filesystem {
            fs: FsType::Xfs,
            uuid: UUID,
        },
        ..Node::blank()
    };
    assert!(node.stage(&desired, 9).is_err());
}

#[test]
fn a_used_volume_that_looks_blank_is_an_alarm() {
    let used = Desired {
        first_used: Some("2026-01-01".into()),
        ..desired(Some(FsType::Ext4))
    };
    let mut node = Node::blank();
    assert!(matches!(
        node.stage(&used, 9),
        Err(StageError::LostContent { .. })
    ));
    assert_eq!(node.formats, 0);
    let overridden = Desired {
        format_override: Some("restored from tape".into()),
        ..used
    };
    assert_eq!(node.stage(&overridden, 9), Ok(true));
}

#[test]
fn a_device_of_another_size_is_not_used_or_not_formatted() {
    for (size, formatted, ok) in [
        (512, false, false),
        (512, true, false),
        (2048, false, false),
        (2048, true, true),
    ] {
        let mut node = Node::blank();
        if formatted {
            node.content = Content::Filesystem {
                fs: FsType::Ext4,
                uuid: UUID,
            };
        }
        node.take(&Step::Connect);
        node.observed.subsystem.as_mut().unwrap().namespaces[0].size = Bytes::mib(size);
        let result = node.stage(&desired(Some(FsType::Ext4)), 9);
        assert_eq!(result.is_ok(), ok, "{size} {formatted} {result:?}");
        assert_eq!(node.formats, 0);
    }
}

#[test]
fn what_was_read_from_another_device_counts_for_nothing() {
    let mut observed = Observed {
        subsystem: Some(subsystem()),
        ..Observed::default()
    };
    let device = DeviceNumber {
        major: 259,
        minor: 9,
    };
    observed.knowledge = Knowledge::Examined {
        device,
        content: Content::Blank,
    };
    assert_eq!(
        next(&observed, &desired(Some(FsType::Ext4))),
        Ok(Some(Step::Mount {
            fs: FsType::Ext4,
            uuid: Some(UUID)
        })),
        "which reads again"
    );
}

#[test]
fn a_volume_that_is_staged_as_another_filesystem_is_refused() {
    let mut node = Node::blank();
    assert_eq!(node.stage(&desired(Some(FsType::Ext4)), 9), Ok(true));
    let error = node.stage(&desired(Some(FsType::Xfs)), 9).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    assert_eq!(node.observed.mounts.len(), 1);
}

#[test]
fn a_mount_of_another_device_is_left_alone() {
    let mut observed = Observed {
        subsystem: Some(subsystem()),
        mounts: vec![mount(9)],
        ..Observed::default()
    };
    assert!(matches!(
        next(&observed, &desired(Some(FsType::Ext4))),
        Err(StageError::OtherMount { .. })
    ));
    observed.subsystem = None;
    assert!(matches!(
        next(&observed, &desired(Some(FsType::Ext4))),
        Err(StageError::OtherMount { .. })
    ));
}

#[test]
fn a_session_that_is_not_live_is_awaited_and_one_elsewhere_refused() {
    let mut observed = Observed {
        subsystem: Some(subsystem()),
        ..Observed::default()
    };
    observed.subsystem.as_mut().unwrap().controllers[0].state = ControllerState::Connecting;
    assert_eq!(next(&observed, &desired(None)), Ok(Some(Step::Await)));
    observed.subsystem.as_mut().unwrap().controllers[0].address =
        Some(("10.0.0.2".parse().unwrap(), 4420));
    assert!(matches!(
        next(&observed, &desired(None)),
        Err(StageError::OtherAddress { .. })
    ));
    observed.subsystem.as_mut().unwrap().controllers.clear();
    assert_eq!(next(&observed, &desired(None)), Ok(Some(Step::Connect)));
}

fn unstage(staged: &Staged, holders_known: bool) -> Result<Option<UnstageStep>, UnstageError> {
    next_unstage(
        staged,
        &desired(None).nqn,
        &HOST.parse().unwrap(),
        holders_known,
    )
}

#[test]
fn unstaging_ends_the_session_only_when_nobody_holds_the_device() {
    let mut staged = Staged {
        mounts: 2,
        subsystem: Some(subsystem()),
        recorded: true,
        holders: vec![],
    };
    assert_eq!(unstage(&staged, false), Ok(Some(UnstageStep::Unmount)));
    staged.mounts = 0;
    assert_eq!(unstage(&staged, false), Ok(Some(UnstageStep::AskHolders)));
    assert_eq!(unstage(&staged, true), Ok(Some(UnstageStep::Disconnect)));
    staged.holders = vec!["/var/lib/kubelet/pods/1".into()];
    assert!(matches!(
        unstage(&staged, true),
        Err(UnstageError::Held { .. })
    ));
    staged.subsystem = None;
    assert_eq!(unstage(&staged, false), Ok(Some(UnstageStep::Forget)));
    staged.recorded = false;
    assert_eq!(unstage(&staged, false), Ok(None));
}

#[test]
fn a_session_of_somebody_else_is_never_ended() {
    let mut staged = Staged {
        subsystem: Some(subsystem()),
        ..Staged::default()
    };
    assert_eq!(
        unstage(&staged, true),
        Ok(Some(UnstageStep::Disconnect)),
        "our host identity is proof enough"
    );
    staged.subsystem.as_mut().unwrap().controllers[0].host_nqn =
        Some("nqn.2014-08.org.nvmexpress:uuid:2".into());
    assert!(matches!(
        unstage(&staged, true),
        Err(UnstageError::NotOurs { .. })
    ));
    // Our record says nothing of a session under another name, nor of one beside ours.
    staged.recorded = true;
    let stranger = staged.clone();
    let both = staged.subsystem.as_mut().unwrap();
    both.controllers.extend(subsystem().controllers);
    for staged in [stranger, staged] {
        let error = unstage(&staged, true).unwrap_err().to_string();
        for word in [
            "uuid:2",
            "nvme disconnect -n nqn.2000-02.com.mikrotik:pvc-1",
        ] {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn a_session_without_a_name_is_ended_only_if_it_was_recorded() {
    let mut staged = Staged {
        subsystem: Some(subsystem()),
        ..Staged::default()
    };
    staged.subsystem.as_mut().unwrap().controllers[0].host_nqn = None;
    assert!(matches!(
        unstage(&staged, true),
        Err(UnstageError::NotOurs { .. })
    ));
    staged.recorded = true;
    assert_eq!(unstage(&staged, true), Ok(Some(UnstageStep::Disconnect)));
}

#[test]
fn a_session_of_somebody_else_is_not_staged_on() {
    let mut observed = Observed {
        subsystem: Some(subsystem()),
        ..Observed::default()
    };
    let mut other = subsystem().controllers.remove(0);
    other.host_nqn = Some("nqn.2014-08.org.nvmexpress:uuid:2".into());
    for beside in [true, false] {
        let controllers = &mut observed.subsystem.as_mut().unwrap().controllers;
        controllers.truncate(usize::from(beside));
        controllers.push(other.clone());
        for fs in [None, Some(FsType::Ext4)] {
            let error = next(&observed, &desired(fs)).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            let words = error.to_string();
            for word in [
                "uuid:2",
                HOST,
                "nvme disconnect -n nqn.2000-02.com.mikrotik:pvc-1",
            ] {
                assert!(words.contains(word), "{words}");
            }
        }
    }
    // Whose a session without a name is, nobody knows.
    observed.subsystem.as_mut().unwrap().controllers[0].host_nqn = None;
    assert_eq!(next(&observed, &desired(None)), Ok(Some(Step::Identify)));
}

#[test]
fn a_mount_that_the_older_driver_left_is_taken_over_with_its_session() {
    let mut observed = Observed {
        subsystem: Some(subsystem()),
        mounts: vec![mount(1)],
        ..Observed::default()
    };
    observed.subsystem.as_mut().unwrap().controllers[0].host_nqn =
        Some("nqn.2014-08.org.nvmexpress:uuid:2".into());
    let mut older = desired(Some(FsType::Ext4));
    let refused = next(&observed, &older);
    assert!(matches!(refused, Err(StageError::OtherHost { .. })));
    older.any_uuid = true;
    assert_eq!(next(&observed, &older), Ok(None));
    observed.mounts.clear();
    let refused = next(&observed, &older);
    assert!(matches!(refused, Err(StageError::OtherHost { .. })));
}

proptest! {
    /// Wherever the plugin dies and starts again, staging converges, formats at most
    /// once, and a last call finds nothing to do.
    #[test]
    fn interrupted_staging_converges(cuts in proptest::collection::vec(0usize..7, 0..8), reboots in proptest::collection::vec(any::<bool>(), 8)) {
        let desired = desired(Some(FsType::Ext4));
        let mut node = Node::blank();
        for (steps, reboot) in cuts.into_iter().zip(reboots) {
            node.stage(&desired, steps).unwrap();
            if reboot {
                node.observed = Observed::default();
            }
        }
        prop_assert_eq!(node.stage(&desired, 9), Ok(true));
        prop_assert_eq!(node.formats, 1);
        prop_assert_eq!(next(&node.observed, &desired), Ok(None));
    }
}
