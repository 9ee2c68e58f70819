//! Targets: what is made, accepted, replaced and left alone.

use rds_csi_core::nvme::{ControllerState, DeviceNumber};
use rds_csi_host::mounter::Unmount;

use super::*;

const SECOND: &str = "/kubelet/pods/2/mount";

#[tokio::test]
async fn nothing_is_published_that_is_not_staged() {
    for used in Use::ALL {
        let lab = Lab::new(Medium::Blank);
        let error = lab.publish(used).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
    }
}

#[tokio::test]
async fn a_volume_whose_session_reconnects_is_published_later() {
    for used in Use::ALL {
        let lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        let error = lab.publish(used).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        lab.host.set_state(&lab.nqn, &ControllerState::Live);
        lab.publish(used).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_filesystem_is_so_for_its_target_alone() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let mut readers = lab.publish_request(EXT4);
    readers.read_only = true;
    lab.node.publish(&readers).await.unwrap();
    lab.node.publish(&readers).await.unwrap();
    let error = lab.publish(EXT4).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    let mut writers = lab.publish_request(EXT4);
    writers.target = SECOND.into();
    lab.node.publish(&writers).await.unwrap();
    let read_only: Vec<_> = lab
        .host
        .mount_table()
        .iter()
        .map(rds_csi_core::mount::Mount::is_read_only)
        .collect();
    assert_eq!(read_only, [false, true, false]);
}

#[tokio::test]
async fn a_bind_that_a_crash_left_writable_becomes_read_only() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let mut readers = lab.publish_request(EXT4);
    readers.read_only = true;
    lab.node.publish(&readers).await.unwrap();
    // As it is between the bind and the call that makes it read-only.
    let (staging, target) = (Path::new(STAGING), Path::new(TARGET));
    lab.host.unmount(target, Unmount::Plain).await.unwrap();
    lab.host.bind(staging, target, false).await.unwrap();
    lab.restart();
    lab.node.publish(&readers).await.unwrap();
    let table = lab.host.mount_table();
    let read_only: Vec<_> = table.iter().map(|mount| mount.is_read_only()).collect();
    assert_eq!(read_only, [false, true]);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_raw_device_is_read_only_for_all_its_targets_or_for_none() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.restart();
    let mut readers = lab.publish_request(Use::Block);
    readers.read_only = true;
    let error = lab.node.publish(&readers).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    readers.target = SECOND.into();
    let error = lab.node.publish(&readers).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains(TARGET), "{error}");
    assert!(!lab.device().await.read_only, "the writer still writes");
    lab.unpublish().await.unwrap();
    let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    assert!(record.targets.is_empty(), "{record:?}");
    lab.node.publish(&readers).await.unwrap();
    assert!(lab.device().await.read_only);
    let error = lab.publish(Use::Block).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(lab.device().await.read_only);
}

impl Lab {
    async fn device(&self) -> rds_csi_core::nvme::Namespace {
        let subsystem = self.host.subsystem(&self.nqn).await.unwrap().unwrap();
        subsystem.namespaces[0].clone()
    }
}

#[tokio::test]
async fn where_nodes_cannot_be_opened_one_from_elsewhere_is_bound() {
    let lab = Lab::new(Medium::Blank);
    lab.host
        .mount_host(Path::new("/kubelet"), &["rw", "nodev", "nosuid"]);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    let number = lab.device().await.number;
    assert_eq!(lab.path(TARGET).await, PathState::Block(number));
    assert_eq!(lab.mounts(TARGET), 1, "one mount is added, once");
    let node = format!("/dev/rds-csi/{ID}");
    assert_eq!(lab.path(&node).await, PathState::Absent);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    assert_eq!(lab.host.mount_table().len(), 1);
}

#[tokio::test]
async fn a_node_whose_number_means_another_device_is_replaced() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    let number = lab.device().await.number;
    let stale = DeviceNumber {
        minor: number.minor + 5,
        ..number
    };
    let target = Path::new(TARGET);
    lab.host.make_block_node(target, stale).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    assert_eq!(lab.path(TARGET).await, PathState::Block(number));
}

#[tokio::test]
async fn what_this_driver_did_not_make_is_neither_used_nor_removed() {
    let lab = Lab::new(Medium::Blank);
    let content = Path::new(TARGET).join("somebodys-file");
    lab.host.make_file(&content).await.unwrap();
    for used in Use::ALL {
        lab.stage(used).await.unwrap();
        let error = lab.publish(used).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        let error = lab.unpublish().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        assert_eq!(
            lab.path(&content.display().to_string()).await,
            PathState::File { empty: true }
        );
        lab.unstage().await.unwrap();
        lab.array.set_medium(&lab.nqn, Medium::Blank);
    }
}

#[tokio::test]
async fn a_dead_target_is_unpublished_and_never_looked_at() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    lab.host.lose(&lab.nqn);
    let looks = |lab: &Lab| lab.host.log().iter().filter(|call| *call == "path").count();
    let before = looks(&lab);
    let error = lab.publish(EXT4).await.unwrap_err();
    assert!(error.to_string().contains("brought back"), "{error}");
    assert_eq!(looks(&lab), before);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_context_of_another_volume_is_refused() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let mut request = lab.publish_request(EXT4);
    request.nqn = Some("nqn.2000-02.com.mikrotik:other".parse().unwrap());
    let error = lab.node.publish(&request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    request.nqn = None;
    lab.node.publish(&request).await.unwrap();
}

#[tokio::test]
async fn a_target_below_a_symlink_gets_no_second_mount_and_keeps_none() {
    for (used, nodev) in [(EXT4, false), (Use::Block, true)] {
        let lab = Lab::new(Medium::Blank);
        if nodev {
            lab.host.mount_host(Path::new("/kubelet"), &["rw", "nodev"]);
        }
        lab.stage(used).await.unwrap();
        let before = lab.host.mount_table().len();
        lab.host
            .symlink(Path::new("/kubelet/pods"), Path::new("/data/pods"));
        for _ in 0..2 {
            let error = lab.publish(used).await.unwrap_err();
            assert!(error.to_string().contains("symlink"), "{error}");
            assert_eq!(lab.host.mount_table().len(), before);
        }
    }
}
