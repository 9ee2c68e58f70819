//! What is staged, what is refused, and what a refusal leaves behind.

use rds_csi_core::nvme::ControllerState;
use rstest::rstest;

use super::*;

fn foreign(text: &str) -> Medium {
    Medium::Foreign(text.to_owned())
}

/// A filesystem of somebody else.
fn filesystem(fs: FsType) -> Medium {
    let other: VolumeId = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    Medium::Filesystem {
        fs,
        uuid: other.filesystem_uuid(),
        size: SIZE,
    }
}

#[rstest]
#[case::a_partition_table(foreign("a GPT partition table"))]
#[case::unknown_bytes(foreign("bytes at offset 4096"))]
#[case::another_type(filesystem(FsType::Xfs))]
#[case::another_uuid(filesystem(FsType::Ext4))]
#[tokio::test]
async fn foreign_content_is_refused_kept_and_not_left_connected(#[case] medium: Medium) {
    let lab = Lab::new(medium.clone());
    for _ in 0..2 {
        let error = lab.stage(EXT4).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        assert_eq!((lab.formats(), lab.medium()), (0, medium.clone()));
        lab.assert_gone().await;
    }
    // A raw volume's content is its user's.
    lab.stage(Use::Block).await.unwrap();
    assert_eq!(lab.medium(), medium);
}

#[tokio::test]
async fn a_device_that_cannot_be_read_is_asked_again_and_stays_connected() {
    let lab = Lab::new(Medium::Unreadable);
    for used in Use::ALL {
        let error = lab.stage(used).await.unwrap_err();
        assert!(error.kind().is_retryable(), "{used:?}: {error}");
        assert_eq!(lab.formats(), 0);
        assert!(lab.is_connected(), "the next attempt goes on from here");
    }
    lab.array.set_medium(&lab.nqn, own(&lab, FsType::Ext4));
    lab.stage(EXT4).await.unwrap();
    assert_eq!(lab.formats(), 0);
}

#[tokio::test]
async fn a_used_volume_that_looks_blank_is_not_formatted_without_a_persons_word() {
    let lab = Lab::new(Medium::Blank);
    let mut request = lab.stage_request(EXT4);
    request.publish.first_used = Some("2026-01-01T00:00:00Z".to_owned());
    let error = lab.node.stage(&request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!((lab.formats(), lab.medium()), (0, Medium::Blank));
    request.publish.format_override = Some("restored from tape".to_owned());
    lab.node.stage(&request).await.unwrap();
    assert_eq!(lab.formats(), 1);
}

#[tokio::test]
async fn a_volume_of_the_older_driver_keeps_its_filesystem_and_may_lack_its_size() {
    let lab = Lab::with(OLDER, filesystem(FsType::Ext4));
    let mut request = lab.stage_request(EXT4);
    request.publish.size = None;
    lab.node.stage(&request).await.unwrap();
    assert_eq!(lab.formats(), 0);
    lab.publish(EXT4).await.unwrap();
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_context_of_another_volume_or_without_a_size_is_refused_before_anything() {
    let lab = Lab::new(Medium::Blank);
    let other = |id: &str| format!("nqn.2000-02.com.mikrotik:{id}").parse().unwrap();
    let mut request = lab.stage_request(EXT4);
    for nqn in [
        other("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        other(&format!("{ID}0")),
        format!("nqn.2000-02.com.other:{ID}").parse().unwrap(),
    ] {
        request.context.nqn = nqn;
        let error = lab.node.stage(&request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    let mut request = lab.stage_request(EXT4);
    request.publish.size = None;
    let error = lab.node.stage(&request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn an_older_volume_may_have_another_prefix_but_no_other_name() {
    let lab = Lab::with(OLDER, filesystem(FsType::Ext4));
    for (nqn, good) in [
        (format!("nqn.2019-01.org.example:csi:{OLDER}"), true),
        (format!("nqn.2019-01.org.example:x{OLDER}"), false),
        (format!("nqn.2019-01.org.example:{OLDER}x"), false),
    ] {
        let nqn = nqn.parse().unwrap();
        assert_eq!(lab.node.verify_nqn(&lab.id, &nqn).is_ok(), good, "{nqn}");
    }
}

#[rstest]
#[case::smaller_blank(Bytes::mib(512), false, false)]
#[case::smaller_formatted(Bytes::mib(512), true, false)]
#[case::larger_blank(Bytes::gib(2), false, false)]
#[case::larger_formatted(Bytes::gib(2), true, true)]
#[tokio::test]
async fn another_size_is_waited_for_unless_a_filesystem_was_grown(
    #[case] size: Bytes,
    #[case] formatted: bool,
    #[case] good: bool,
) {
    let lab = Lab::new(Medium::Blank);
    if formatted {
        lab.array.set_medium(&lab.nqn, own(&lab, FsType::Ext4));
    }
    lab.array.resize(&lab.nqn, size);
    match lab.stage(EXT4).await {
        Ok(()) => assert!(good),
        Err(error) => assert!(!good && error.kind().is_retryable(), "{error}"),
    }
    assert_eq!(lab.formats(), 0);
    assert!(lab.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_may_come_late_and_too_late() {
    let lab = Lab::new(Medium::Blank);
    lab.array
        .set_namespace_delay(&lab.nqn, Duration::from_secs(40));
    let error = lab.stage(EXT4).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(lab.is_connected());
    lab.stage(EXT4).await.unwrap();
    let connects = lab.host.log().iter().filter(|c| *c == "connect").count();
    assert_eq!(connects, 1, "the session that is there is waited for");
}

#[tokio::test]
async fn an_array_that_refuses_or_is_silent_is_asked_again() {
    let lab = Lab::new(Medium::Blank);
    lab.array.set_exported(&lab.nqn, false);
    assert!(lab.stage(EXT4).await.unwrap_err().kind().is_retryable());
    lab.array.set_exported(&lab.nqn, true);
    lab.array.set_reachable(&lab.nqn, false);
    assert!(lab.stage(EXT4).await.unwrap_err().kind().is_retryable());
    // Given up at this point, nothing is left.
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
    lab.array.set_reachable(&lab.nqn, true);
    lab.stage(EXT4).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_ever_staged_survives_every_refusal() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    let mut elsewhere = lab.stage_request(Use::Block);
    elsewhere.context.nvme_address = "192.0.2.8".parse().unwrap();
    let error = lab.node.stage(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(lab.is_connected(), "a virtual machine may be running on it");
    lab.array.set_medium(&lab.nqn, foreign("a GPT"));
    assert!(lab.stage(EXT4).await.is_err());
    assert!(lab.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_reconnects_is_waited_for_and_never_replaced() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
    let error = lab.stage(EXT4).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    lab.host.set_state(&lab.nqn, &ControllerState::Live);
    lab.stage(EXT4).await.unwrap();
    assert_eq!((lab.mounts(STAGING), lab.formats()), (1, 1));
}

#[tokio::test]
async fn a_mount_of_a_lost_device_is_not_hidden_by_a_new_one() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.host.lose(&lab.nqn);
    let error = lab.stage(EXT4).await.unwrap_err();
    // It is staged: a final answer would have kubelet forget that.
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!((lab.mounts(STAGING), lab.is_connected()), (1, false));
    lab.unstage().await.unwrap();
    lab.stage(EXT4).await.unwrap();
    assert_eq!((lab.mounts(STAGING), lab.formats()), (1, 1));
}

#[tokio::test]
async fn a_reader_gets_a_read_only_mount() {
    let lab = Lab::new(Medium::Blank);
    let mut request = lab.stage_request(EXT4);
    request.access = EXT4.access(AccessMode::SingleNodeReaderOnly);
    lab.node.stage(&request).await.unwrap();
    assert_eq!(lab.host.mount_table()[0].options, ["noatime", "ro"]);
}

#[tokio::test]
async fn a_staging_path_below_a_symlink_gets_no_second_mount_and_keeps_none() {
    let lab = Lab::new(Medium::Blank);
    lab.host
        .symlink(Path::new("/kubelet/staging"), Path::new("/data/staging"));
    for _ in 0..2 {
        let error = lab.stage(EXT4).await.unwrap_err();
        assert!(error.to_string().contains("symlink"), "{error}");
        assert!(error.kind().is_retryable());
        assert_eq!(lab.host.mount_table(), []);
    }
}
