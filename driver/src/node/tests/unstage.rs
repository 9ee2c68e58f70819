//! What is taken down, what is left alone, and what is needed to know it.

use rds_csi_core::nvme::ControllerState;

use rds_csi_host::mounter::Meant;

use super::*;
use crate::node::session::live;

#[tokio::test]
async fn a_volume_that_was_never_here_is_unstaged_and_unpublished() {
    let lab = Lab::new(Medium::Blank);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_lost_record_is_made_good_by_our_own_identity() {
    for used in Use::ALL {
        let mut lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.lose_record();
        lab.restart();
        lab.publish(used).await.unwrap();
        lab.unpublish().await.unwrap();
        lab.lose_record_if_any();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}

impl Lab {
    fn lose_record_if_any(&self) {
        let _ = std::fs::remove_dir_all(self.state.path().join("sessions"));
    }
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_not_an_absence() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let path = lab.state.path().join(format!("sessions/{ID}.json"));
    std::fs::write(&path, "{").unwrap();
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(lab.is_connected());
    std::fs::remove_file(&path).unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_record_that_names_another_nqn_ends_nobodys_session() {
    let lab = Lab::new(Medium::Blank);
    let root: Nqn = "nqn.2000-02.com.mikrotik:node-root".parse().unwrap();
    lab.array.export(&root, SIZE, Medium::Blank);
    lab.connect_as(identity("firmware"), &root).await;
    lab.stage(EXT4).await.unwrap();
    let mut session = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    session.nqn = root.clone();
    lab.node.registry.record(&session).await.unwrap();
    assert!(lab.unstage().await.is_err());
    assert!(lab.host.connected().contains(root.as_str()));
}

#[tokio::test]
async fn sessions_with_similar_names_are_not_touched() {
    let lab = Lab::new(Medium::Blank);
    let similar: Vec<Nqn> = [
        format!("nqn.2000-02.com.mikrotik:{ID}0"),
        format!("nqn.2000-02.com.mikrotik:{}", &ID[..ID.len() - 1]),
        format!("nqn.2000-02.com.mikrotik:x:{ID}"),
        "nqn.2000-02.com.mikrotik:node-root".to_owned(),
    ]
    .iter()
    .map(|nqn| nqn.parse().unwrap())
    .collect();
    for nqn in &similar {
        lab.array.export(nqn, SIZE, Medium::Blank);
        lab.connect_as(identity("node-1"), nqn).await;
    }
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    let connected = lab.host.connected();
    assert_eq!(connected.len(), similar.len());
    assert!(similar.iter().all(|nqn| connected.contains(nqn.as_str())));
}

#[tokio::test]
async fn a_strangers_session_is_neither_used_nor_ended() {
    let lab = Lab::new(Medium::Blank);
    let nqn = lab.nqn.clone();
    lab.connect_as(identity("somebody"), &nqn).await;
    for used in Use::ALL {
        for refused in [lab.stage(used).await, lab.unstage().await] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict, "{error}");
            let words = error.to_string();
            assert!(words.contains(identity("somebody").nqn.as_str()), "{words}");
            assert!(
                words.contains(&format!("nvme disconnect -n {nqn}")),
                "{words}"
            );
        }
        assert!(lab.is_connected());
        assert_eq!((lab.formats(), lab.host.mount_table()), (0, vec![]));
        assert_eq!(lab.node.registry.all().await.unwrap(), []);
    }
    // Its owner does what the refusal says.
    lab.host.disconnect(&nqn).await.unwrap();
    lab.stage(Use::Block).await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_session_beside_ours_is_not_ended_with_it() {
    let lab = Lab::new(Medium::Blank);
    let nqn = lab.nqn.clone();
    lab.stage(Use::Block).await.unwrap();
    lab.connect_as(identity("somebody"), &nqn).await;
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(!lab.host.log().iter().any(|call| call == "disconnect"));
    lab.host.disconnect(&nqn).await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_mount_of_the_older_driver_is_used_on_with_its_session() {
    let lab = Lab::with(OLDER, Medium::Blank);
    lab.array.set_medium(&lab.nqn, own(&lab, FsType::Ext4));
    let nqn = lab.nqn.clone();
    lab.connect_as(identity("its machine"), &nqn).await;
    let device = live(lab.node.seen(&nqn).await.unwrap(), &nqn).unwrap();
    lab.host.make_directory(Path::new(STAGING)).await.unwrap();
    let meant = Meant {
        fs: FsType::Ext4,
        uuid: None,
    };
    lab.host
        .mount(&device, Path::new(STAGING), meant, &[])
        .await
        .unwrap();
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    lab.unpublish().await.unwrap();
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!((lab.is_connected(), lab.host.mount_table()), (true, vec![]));
    // A raw target would be one that nobody withdraws.
    let error = lab.publish(Use::Block).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    lab.host.disconnect(&nqn).await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn whoever_holds_the_device_keeps_the_session() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.host.set_busy(Path::new(STAGING), true);
    assert_eq!(lab.unstage().await.unwrap_err().kind(), Kind::Busy);
    lab.host.set_busy(Path::new(STAGING), false);
    lab.publish(EXT4).await.unwrap();
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains(TARGET), "{error}");
    assert!(lab.is_connected());
    lab.unpublish().await.unwrap();
    lab.host.set_claimed(&lab.nqn, true);
    assert_eq!(lab.unstage().await.unwrap_err().kind(), Kind::Conflict);
    lab.host.set_claimed(&lab.nqn, false);
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_raw_target_that_is_there_keeps_the_session_and_one_that_is_gone_does_not() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.restart();
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains(TARGET), "{error}");
    assert!(lab.is_connected());
    // kubelet removed the pod's directory by itself.
    lab.host.remove_file(Path::new(TARGET)).await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_stack_of_mounts_is_taken_down_to_the_ground() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    for _ in 0..3 {
        let staging = Path::new(STAGING);
        lab.host.bind(staging, staging, false).await.unwrap();
    }
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test]
async fn a_raw_volume_is_flushed_before_its_session_ends() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.unpublish().await.unwrap();
    // Its device is away: what is cached of it cannot be written.
    lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
    let error = lab.unstage().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(lab.is_connected());
    lab.host.set_state(&lab.nqn, &ControllerState::Live);
    lab.unstage().await.unwrap();
    let log = lab.host.log();
    let last = |call: &str| log.iter().rposition(|name| name == call).unwrap();
    assert!(last("flush") < last("disconnect"), "{log:?}");
    lab.assert_gone().await;
}
