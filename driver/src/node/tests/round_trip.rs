//! A volume's whole life on a node, each call twice and each in a process of its own.

use super::*;

#[tokio::test]
async fn a_volume_comes_and_goes_whatever_is_repeated_or_restarted() {
    for used in Use::ALL {
        let mut lab = Lab::new(Medium::Blank);
        for round in 0..2 {
            for _ in 0..2 {
                lab.stage(used).await.unwrap();
                lab.restart();
            }
            for _ in 0..2 {
                lab.publish(used).await.unwrap();
                lab.restart();
            }
            assert!(lab.is_connected(), "{used:?}");
            match used {
                Use::Block => {
                    assert!(matches!(lab.path(TARGET).await, PathState::Block(_)));
                    assert_eq!(lab.host.mount_table(), []);
                    assert_eq!(lab.path(STAGING).await, PathState::Absent);
                    assert_eq!(lab.medium(), Medium::Blank, "a raw device is its user's");
                }
                Use::Filesystem(fs) => {
                    assert_eq!((lab.mounts(STAGING), lab.mounts(TARGET)), (1, 1));
                    assert_eq!(lab.host.mount_table()[0].options, ["noatime"]);
                    assert_eq!(lab.medium(), own(&lab, fs));
                    assert_eq!(lab.formats(), 1, "in round {round}");
                }
            }
            for _ in 0..2 {
                lab.unpublish().await.unwrap();
                lab.restart();
            }
            for _ in 0..2 {
                lab.unstage().await.unwrap();
                lab.restart();
            }
            lab.assert_gone().await;
        }
    }
}

#[tokio::test]
async fn a_reboot_between_any_two_calls_leaves_nothing_to_stumble_over() {
    for used in Use::ALL {
        for reboot_after in 0..4 {
            let mut lab = Lab::new(Medium::Blank);
            for call in 0..4 {
                match call {
                    0 => lab.stage(used).await.unwrap(),
                    1 => lab.publish(used).await.unwrap(),
                    2 => lab.unpublish().await.unwrap(),
                    _ => lab.unstage().await.unwrap(),
                }
                if call == reboot_after {
                    lab.host.reboot();
                    lab.restart();
                    break;
                }
            }
            // kubelet either takes the volume down or brings it up again.
            lab.stage(used).await.unwrap();
            lab.publish(used).await.unwrap();
            lab.unpublish().await.unwrap();
            lab.unstage().await.unwrap();
            lab.assert_gone().await;
            assert!(lab.formats() <= 1);
        }
    }
}

#[tokio::test]
async fn a_reboot_may_be_followed_by_the_calls_that_take_down() {
    for used in Use::ALL {
        let mut lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.publish(used).await.unwrap();
        lab.host.reboot();
        lab.restart();
        lab.unpublish().await.unwrap();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}
