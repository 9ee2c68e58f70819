//! What is connected under the NQN of a staged volume and is not what was staged; and a
//! volume that is asked for while its device is away.

use rds_csi_core::kind::Chain;

use super::*;

#[tokio::test]
async fn another_namespace_is_neither_staged_nor_published_as_the_raw_volume() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    lab.array.replace(&lab.nqn);
    lab.host.lose(&lab.nqn);
    for _ in 0..2 {
        let error = lab.stage(Use::Block).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "it is staged: {error}");
        let words = Chain(&error).to_string();
        assert!(words.contains("is not the volume"), "{words}");
        let error = lab.publish(Use::Block).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
        let now = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(now.staging, record.staging);
    }
    // Who wants it nevertheless takes the pod away.
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
}

#[tokio::test]
async fn another_namespace_is_accepted_after_a_restart_of_the_machine() {
    let mut lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.host.reboot();
    lab.start_again("boot-2");
    lab.array.replace(&lab.nqn);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
}

#[tokio::test]
async fn a_staged_volume_without_its_device_is_asked_for_again() {
    for used in Use::ALL {
        let lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.host.lose(&lab.nqn);
        let error = lab.publish(used).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{used:?}: {error}");
    }
}

#[tokio::test]
async fn a_staged_filesystem_whose_mount_is_dead_is_asked_for_again() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.host.lose(&lab.nqn);
    lab.connect_as(identity("node-1"), &lab.nqn).await;
    for error in [lab.stage(EXT4).await, lab.publish(EXT4).await] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    }
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
}

#[tokio::test]
async fn a_refusal_after_a_step_is_not_final() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.host.make_directory(Path::new(TARGET)).await.unwrap();
    let mut readers = lab.publish_request(Use::Block);
    readers.read_only = true;
    let error = lab.node.publish(&readers).await.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    // Nothing is done but looking.
    let error = lab.node.publish(&readers).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
}

#[tokio::test]
async fn a_raw_target_is_not_forgotten_with_a_device_that_is_gone() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.host.lose(&lab.nqn);
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}
