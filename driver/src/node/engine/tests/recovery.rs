//! One volume through one outage, of every sort.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_the_kernel_reconnects_is_told_and_not_touched() {
    for used in Use::ALL {
        let lab = published(used).await;
        let cluster = Told::new(Says::Attached);
        let before = lab.host.mount_table();
        let connects = lab.count("connect");
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
            seconds(600).await;
            lab.host.set_state(&lab.nqn, &ControllerState::Live);
            seconds(5).await;
        })
        .await;
        assert_eq!(lab.count("connect"), connects);
        assert_eq!(lab.host.mount_table(), before);
        assert!(lab.is_whole(used).await);
        let expected = [event::CONNECTION_FAILURE, event::CONNECTION_RECOVERY];
        assert_eq!(cluster.reasons(), expected);
        let told = cluster.message(event::CONNECTION_RECOVERY);
        let after: f64 = told
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .unwrap();
        // As exactly as calm and troubled looks see it.
        assert!((596.0..=601.0).contains(&after), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_gave_up_is_connected_and_handed_back() {
    for used in Use::ALL {
        let lab = published(used).await;
        let cluster = Told::new(Says::Attached);
        let formats = lab.formats();
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.host.lose(&lab.nqn);
            seconds(10).await;
        })
        .await;
        assert!(lab.is_whole(used).await, "{used:?}");
        assert_eq!(lab.formats(), formats);
        let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(record.recovery, None);
        let reasons = cluster.reasons();
        assert!(
            reasons.starts_with(&[event::CONNECTION_FAILURE, event::CONNECTION_RECOVERY]),
            "{reasons:?}"
        );
        assert!(reasons.contains(&event::DEVICE_REPLACED), "{reasons:?}");
        lab.unpublish().await.unwrap();
        lab.unstage().await.unwrap();
        lab.assert_gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_raw_target_whose_number_another_volume_took_is_made_anew() {
    let mut lab = published(Use::Block).await;
    lab.restart();
    let other: Nqn = "nqn.2000-02.com.mikrotik:pvc-other".parse().unwrap();
    lab.array.export(&other, Bytes::gib(1), Medium::Blank);
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.host.lose(&lab.nqn);
        lab.connect_as(crate::node::tests::identity("node-1"), &other)
            .await;
        assert!(!lab.is_whole(Use::Block).await);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(Use::Block).await);
}

/// Another raw volume of the same node, staged by kubelet.
pub(super) async fn stage_another(lab: &Lab) -> VolumeId {
    let id: VolumeId = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let nqn = rds_csi_core::nqn::NqnPrefix::default().nqn(&id);
    lab.array.export(&nqn, Bytes::gib(1), Medium::Blank);
    let mut request = lab.stage_request(Use::Block);
    request.id = id.clone();
    request.context.nqn = nqn;
    lab.node.stage(&request).await.unwrap();
    id
}

#[tokio::test(start_paused = true)]
async fn a_raw_target_never_leads_to_the_next_volume_that_is_staged() {
    let mut lab = published(Use::Block).await;
    let PathState::Block(before) = lab.path(TARGET).await else {
        panic!("a device node was published");
    };
    // A process that keeps no number.
    lab.restart();
    lab.array.set_exported(&lab.nqn, false);
    lab.host.lose(&lab.nqn);
    // Before any look of the engine.
    let other = stage_another(&lab).await;
    let nqn = lab.node.nqn(&other).await.unwrap();
    let device = live(lab.node.seen(&nqn).await.unwrap(), &nqn).unwrap();
    assert_eq!(device.namespace.number, before, "the test tries nothing");
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    lab.array.set_exported(&lab.nqn, true);
    beside(&lab, &Told::new(Says::Attached), seconds(60)).await;
    assert!(lab.is_whole(Use::Block).await);
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_number_of_a_published_device_is_given_to_no_other() {
    let lab = published(Use::Block).await;
    let PathState::Block(before) = lab.path(TARGET).await else {
        panic!("a device node was published");
    };
    let other: Nqn = "nqn.2000-02.com.mikrotik:pvc-other".parse().unwrap();
    lab.array.export(&other, Bytes::gib(1), Medium::Blank);
    lab.array.set_exported(&lab.nqn, false);
    lab.host.lose(&lab.nqn);
    // By whomever, at whatever moment.
    let host = crate::node::tests::identity("somebody");
    lab.connect_as(host, &other).await;
    let found = live(lab.node.seen(&other).await.unwrap(), &other).unwrap();
    assert_ne!(found.namespace.number, before);
    // Once the volume is gone from here, it is free.
    lab.unpublish().await.unwrap();
    lab.unstage().await.unwrap();
    lab.host.lose(&other);
    lab.connect_as(crate::node::tests::identity("somebody"), &other)
        .await;
    let found = live(lab.node.seen(&other).await.unwrap(), &other).unwrap();
    assert_eq!(found.namespace.number, before);
}

#[tokio::test(start_paused = true)]
async fn while_a_raw_volume_has_no_device_its_target_is_not_there() {
    let lab = published(Use::Block).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(5).await;
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
        // Whoever unpublishes it meanwhile does not get it back.
        lab.unpublish().await.unwrap();
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
    })
    .await;
    lab.unstage().await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_left_alone_unless_the_cluster_says_that_it_is_this_nodes() {
    for (says, word) in [
        (Says::Absent, "another node may have it"),
        (Says::Wished, "is not attached"),
        (Says::Leaving, "is being deleted"),
        (Says::Nothing, "not known"),
    ] {
        let lab = published(EXT4).await;
        let cluster = Told::new(Says::Attached);
        let connects = lab.count("connect");
        beside(&lab, &cluster, async {
            seconds(5).await;
            cluster.say(says);
            lab.host.lose(&lab.nqn);
            seconds(300).await;
            assert_eq!(lab.count("connect"), connects, "{says:?}");
            let told = cluster.message(event::RECOVERY_FAILED);
            assert!(told.contains(word), "{told}");
            let times = cluster
                .reasons()
                .iter()
                .filter(|reason| **reason == event::RECOVERY_FAILED)
                .count();
            assert_eq!(times, 1, "told once for one reason");
            cluster.say(Says::Attached);
            seconds(60).await;
        })
        .await;
        assert!(lab.is_whole(EXT4).await, "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_namespace_under_the_nqn_is_refused_and_nothing_of_it_is_used() {
    for used in Use::ALL {
        let lab = published(used).await;
        let cluster = Told::new(Says::Attached);
        let before = lab.host.mount_table();
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.array.replace(&lab.nqn);
            lab.host.lose(&lab.nqn);
            seconds(120).await;
        })
        .await;
        assert_eq!(lab.host.mount_table(), before, "{used:?}");
        assert_eq!(lab.count("unmount"), 0);
        let told = cluster.message(event::RECOVERY_FAILED);
        assert!(told.contains("was staged"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_smaller_namespace_is_refused() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        lab.array.resize(&lab.nqn, Bytes::mib(512));
        lab.host.lose(&lab.nqn);
        seconds(120).await;
    })
    .await;
    assert!(!lab.is_whole(EXT4).await);
    let told = cluster.message(event::RECOVERY_FAILED);
    assert!(told.contains("were staged"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn content_that_is_not_the_volumes_is_neither_mounted_nor_formatted() {
    let other: VolumeId = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let stranger = Medium::Filesystem {
        fs: FsType::Ext4,
        uuid: other.filesystem_uuid(),
        size: Bytes::gib(1),
    };
    for medium in [Medium::Blank, Medium::Foreign("LUKS".to_owned()), stranger] {
        let lab = published(EXT4).await;
        let (cluster, formats) = (Told::new(Says::Attached), lab.formats());
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.array.set_medium(&lab.nqn, medium.clone());
            lab.host.lose(&lab.nqn);
            seconds(120).await;
        })
        .await;
        assert_eq!(lab.formats(), formats, "{medium:?}");
        assert_eq!(lab.mounts(STAGING), 0, "{medium:?}");
        assert!(cluster.reasons().contains(&event::RECOVERY_FAILED));
        // Nothing is lost of what is to be done: the right content comes back.
        lab.array.set_medium(&lab.nqn, own(&lab, FsType::Ext4));
        beside(&lab, &cluster, seconds(60)).await;
        assert!(lab.is_whole(EXT4).await, "{medium:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_that_comes_back_much_later_is_found_with_growing_patience() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(600).await;
        let connects = lab.count("connect");
        seconds(600).await;
        let attempts = lab.count("connect") - connects;
        assert!((10..40).contains(&attempts), "{attempts} attempts");
        lab.array.set_exported(&lab.nqn, true);
        seconds(45).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_silent_for_an_hour_is_back_within_seconds() {
    let lab = published(EXT4).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array.set_reachable(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        let connects = lab.count("connect");
        seconds(3600).await;
        assert_eq!(
            lab.count("connect"),
            connects,
            "the kernel is not asked in vain"
        );
        lab.array.set_reachable(&lab.nqn, true);
        let back = Instant::now();
        while !lab.is_whole(EXT4).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(
                back.elapsed() < Duration::from_secs(3),
                "{:?}",
                back.elapsed()
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sub_path_and_a_read_only_target_are_treated_as_what_they_are() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let mut request = lab.publish_request(EXT4);
    request.read_only = true;
    lab.node.publish(&request).await.unwrap();
    let sub = Path::new("/kubelet/pods/1/volume-subpaths/0");
    lab.host
        .make_directory(&Path::new(STAGING).join("sub"))
        .await
        .unwrap();
    lab.host.make_directory(sub).await.unwrap();
    lab.host
        .bind(&Path::new(STAGING).join("sub"), sub, false)
        .await
        .unwrap();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.host.lose(&lab.nqn);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
    let table = lab.host.mount_table();
    assert!(table.iter().all(|mount| mount.target != sub), "{table:?}");
    let target = table.iter().find(|mount| mount.target == Path::new(TARGET));
    assert!(target.unwrap().is_read_only());
}

#[tokio::test(start_paused = true)]
async fn a_mount_of_a_living_device_at_the_staging_path_is_not_touched() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        lab.host.mount_host(Path::new(STAGING), &["rw"]);
        lab.host.lose(&lab.nqn);
        seconds(60).await;
    })
    .await;
    assert_eq!(lab.mounts(STAGING), 2);
    assert_eq!(lab.count("unmount"), 0);
    assert!(cluster.reasons().contains(&event::RECOVERY_FAILED));
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_never_met() {
    let lab = published(EXT4).await;
    let guard = lab.node.locks.try_lock(lab.id.as_str()).unwrap();
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        let connects = lab.count("connect");
        lab.host.lose(&lab.nqn);
        seconds(60).await;
        assert_eq!(lab.count("connect"), connects);
        drop(guard);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_another_boot_is_nobodys() {
    let lab = published(EXT4).await;
    let mut record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
    record.staging.as_mut().unwrap().boot = "boot-0".to_owned();
    lab.node.registry.record(&record).await.unwrap();
    lab.host.reboot();
    let before = lab.host.log().len();
    beside(&lab, &Told::new(Says::Attached), seconds(60)).await;
    let log = lab.host.log();
    // What is looked for is a session that nobody uses.
    assert!(log[before..].iter().all(|call| call == "others"), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_raw_target_from_before_a_restart_of_the_machine_is_not_brought_back() {
    let mut lab = published(Use::Block).await;
    lab.host.reboot();
    lab.start_again("boot-2");
    // Its number means nothing by now, and is about to mean another volume.
    let other = stage_another(&lab).await;
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    lab.stage(Use::Block).await.unwrap();
    beside(&lab, &Told::new(Says::Attached), seconds(60)).await;
    assert_eq!(lab.path(TARGET).await, PathState::Absent);
    lab.unstage().await.unwrap();
    lab.node.unstage(&other, Path::new("/other")).await.unwrap();
    lab.assert_gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_loses_nothing() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        for _ in 0..5 {
            seconds(4).await;
            lab.host.fault_at(1, rds_csi_host::fake::Fault::Before);
        }
        lab.host.clear_faults();
        seconds(10).await;
    })
    .await;
    assert_eq!(cluster.reasons(), Vec::<&str>::new());
    assert!(lab.is_whole(EXT4).await);
}
