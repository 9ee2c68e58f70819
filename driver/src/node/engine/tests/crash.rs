//! A process that dies, or a call that fails, at any point of a recovery.

use rds_csi_host::fake::Fault;

use super::*;

/// The volume is connected again, and the recovery of its consumers is interrupted at the
/// k-th port call; a new process ends it. Whether there was a k-th call.
async fn interrupted(used: Use, k: usize, fault: Fault) -> bool {
    let mut lab = published(used).await;
    let formats = lab.formats();
    // A process that keeps no number.
    lab.restart();
    lab.host.lose(&lab.nqn);
    if used == Use::Block {
        // Nothing keeps a raw device's number: another one takes it, behind our back.
        let other: Nqn = "nqn.2000-02.com.mikrotik:pvc-other".parse().unwrap();
        lab.array.export(&other, Bytes::gib(1), Medium::Blank);
        lab.connect_as(crate::node::tests::identity("node-2"), &other)
            .await;
    }
    let cluster = Told::new(Says::Attached);
    let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    let staging = record.staging.clone().unwrap();
    let told: Option<&dyn NodeCluster> = Some(&*cluster);
    let connected = reconnect::reconnect(&lab.node, told, &record, &staging).await;
    assert_eq!(connected, Reconnection::Connected);
    let number = lab.host.calls() + k;
    lab.host.fault_at(k, fault);
    let cut = recover::recover(&lab.node, told, &lab.id);
    let cut = tokio::time::timeout(Duration::from_secs(1000), cut).await;
    let was_met = lab.host.calls() >= number;
    assert!(was_met || matches!(cut, Ok(Ok(Some(_)))), "{cut:?}");
    lab.host.clear_faults();
    lab.restart();
    beside(&lab, &cluster, seconds(60)).await;
    assert!(lab.is_whole(used).await, "{used:?} {k} {fault:?}");
    assert_eq!(lab.formats(), formats);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    assert!(!lab.host.connected().contains(lab.nqn.as_str()));
    assert_eq!(lab.host.mount_table(), []);
    was_met
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_is_interrupted_anywhere_is_ended_by_the_next_process() {
    for used in Use::ALL {
        for fault in [Fault::Before, Fault::After, Fault::Hang] {
            let mut k = 1;
            while interrupted(used, k, fault).await {
                k += 1;
            }
            let least = if used == Use::Block { 3 } else { 12 };
            assert!(k > least, "{used:?}: only {k} calls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_unpublished_in_the_middle_is_not_published_again() {
    let mut lab = published(EXT4).await;
    lab.host.lose(&lab.nqn);
    let cluster = Told::new(Says::Attached);
    let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    let staging = record.staging.clone().unwrap();
    reconnect::reconnect(&lab.node, None, &record, &staging).await;
    // The staging path is clear by then, the target is not.
    let unmounted = lab.count("unmount");
    for k in 1.. {
        lab.host.fault_at(k, Fault::Before);
        let outcome = recover::recover(&lab.node, None, &lab.id).await;
        lab.host.clear_faults();
        if outcome.is_ok() || lab.count("unmount") > unmounted {
            break;
        }
    }
    lab.unpublish().await.unwrap();
    lab.restart();
    beside(&lab, &cluster, seconds(60)).await;
    assert_eq!(lab.mounts(TARGET), 0);
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}
