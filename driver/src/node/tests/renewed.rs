//! A volume that another node had since this one staged it, and that comes back under
//! another name: what this node had of it is of no use any more.

use rds_csi_core::nqn::Epoch;
use rds_csi_core::nvme::ControllerState;

use super::*;

/// The volume was offered anew: sessions under the name of before are rejected.
fn renew(lab: &mut Lab, used: Use) -> Nqn {
    let medium = lab.medium();
    let before = lab.nqn.clone();
    lab.array.set_exported(&before, false);
    let now = before.in_epoch(&lab.id, &Epoch::of("uid-2")).unwrap();
    lab.array.export(&now, SIZE, medium);
    lab.nqn = now;
    assert!(used.access(AccessMode::SingleNodeWriter).is_block() || lab.formats() == 1);
    before
}

#[tokio::test]
async fn what_is_left_of_the_volume_of_before_is_taken_away_first() {
    for used in Use::ALL {
        let mut lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        let before = renew(&mut lab, used);
        lab.host.lose(&before);
        lab.stage(used).await.unwrap();
        assert!(lab.is_connected());
        assert!(!lab.host.connected().contains(before.as_str()));
        let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(record.nqn, lab.nqn);
        assert!(lab.formats() <= 1, "never again");
        lab.publish(used).await.unwrap();
        lab.unpublish().await.unwrap();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}

#[tokio::test]
async fn a_session_of_before_is_not_waited_for() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let before = renew(&mut lab, EXT4);
    lab.host.set_state(&before, &ControllerState::Connecting);
    let error = lab.stage(EXT4).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(
        !lab.host.connected().contains(before.as_str()),
        "the kernel gave it up"
    );
    assert_eq!(
        lab.mounts(STAGING),
        1,
        "to unmount it would have waited for its device"
    );
    lab.stage(EXT4).await.unwrap();
    assert_eq!(lab.mounts(STAGING), 1);
}

#[tokio::test]
async fn a_session_of_before_that_lives_is_not_touched() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let before = renew(&mut lab, EXT4);
    let error = lab.stage(EXT4).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("Restart this node"), "{error}");
    assert!(lab.host.connected().contains(before.as_str()));
    assert!(!lab.is_connected());
    assert_eq!(lab.mounts(STAGING), 1);
}

#[tokio::test]
async fn a_pod_that_the_cluster_has_forgotten_is_waited_for() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    let before = renew(&mut lab, EXT4);
    // Its device is held, so the subsystem stays without a controller.
    lab.host.shut_down(&before);
    let error = lab.stage(EXT4).await.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    assert!(!lab.is_connected());
    assert_eq!(lab.mounts(TARGET), 1);
    lab.unpublish().await.unwrap();
    lab.host.lose(&before);
    lab.stage(EXT4).await.unwrap();
}

#[tokio::test]
async fn its_name_of_now_is_found_without_a_record() {
    for used in Use::ALL {
        let mut lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.unstage().await.unwrap();
        renew(&mut lab, used);
        lab.stage(used).await.unwrap();
        lab.lose_record();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}

#[tokio::test]
async fn a_volume_of_another_boot_is_staged_under_its_name_of_now() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    renew(&mut lab, Use::Block);
    lab.host.reboot();
    lab.start_again("boot-2");
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
}
