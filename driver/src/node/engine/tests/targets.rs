//! Targets that are gone, or cannot have the device.

use rds_csi_host::mounter::Unmount;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_raw_target_that_is_gone_with_its_pod_is_not_brought_back() {
    let lab = published(Use::Block).await;
    let pod = Path::new(TARGET).parent().unwrap();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(5).await;
        // kubelet cleans up after a pod that it does not know any more.
        lab.host.remove_directory(pod).await.unwrap();
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
        assert_eq!(lab.host.path(pod).await.unwrap(), PathState::Absent);
    })
    .await;
    let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    assert_eq!(record.recovery, None);
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_have_the_device_keeps_no_other_from_it() {
    for used in Use::ALL {
        // It comes first in the order of paths.
        let bad = Path::new("/kubelet/pods/0/mount");
        let lab = published(used).await;
        let mut request = lab.publish_request(used);
        request.target = bad.to_owned();
        lab.node.publish(&request).await.unwrap();
        let cluster = Told::new(Says::Attached);
        let stranger = bad.join("stranger");
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.array.set_exported(&lab.nqn, false);
            lab.host.lose(&lab.nqn);
            seconds(5).await;
            if used == Use::Block {
                lab.host.make_directory(&stranger).await.unwrap();
            } else {
                lab.host.mount_host(bad, &["rw"]);
            }
            lab.array.set_exported(&lab.nqn, true);
            seconds(60).await;
            assert!(lab.is_whole(used).await, "{used:?}");
            let told = cluster.message(event::RECOVERY_FAILED);
            assert!(told.contains(bad.to_str().unwrap()), "{told}");
            let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
            let left = record.recovery.unwrap();
            assert_eq!(left.keys().collect::<Vec<_>>(), [bad], "{used:?}");
            // Once it is out of the way, the other has it as well.
            if used == Use::Block {
                lab.host.remove_directory(&stranger).await.unwrap();
                lab.host.remove_directory(bad).await.unwrap();
            } else {
                lab.host.unmount(bad, Unmount::Lazy).await.unwrap();
            }
            seconds(60).await;
        })
        .await;
        let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(record.recovery, None, "{used:?}");
        assert!(cluster.reasons().contains(&event::DEVICE_REPLACED));
        lab.node.unpublish(&lab.id, bad).await.unwrap();
        lab.unpublish().await.unwrap();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}
