//! Guards, callers that leave, and what answers look like.

use rds_csi_host::nvme::NvmeHost as _;

use super::*;

/// Lets other tasks go on until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("it should have come long ago");
}

#[tokio::test]
async fn the_whole_life_of_a_volume_by_its_calls() {
    let lab = Lab::new();
    for _ in 0..2 {
        lab.send_stage(lab.stage()).await.unwrap();
    }
    for _ in 0..2 {
        lab.send_publish(lab.publish()).await.unwrap();
    }
    let stats = lab.send_stats(ID, TARGET).await.unwrap();
    let units: Vec<_> = stats.usage.iter().map(|usage| usage.unit()).collect();
    assert_eq!(units, [Unit::Bytes, Unit::Inodes]);
    assert_eq!(stats.usage[0].total, SIZE.to_i64());
    assert!(!stats.volume_condition.unwrap().abnormal);
    lab.array.resize(&lab.nqn, Bytes::gib(2));
    let expand = NodeExpandVolumeRequest {
        volume_id: ID.to_owned(),
        volume_path: TARGET.to_owned(),
        capacity_range: Some(CapacityRange {
            required_bytes: Bytes::gib(2).to_i64(),
            limit_bytes: 0,
        }),
        ..NodeExpandVolumeRequest::default()
    };
    let size = lab.send_expand(expand).await.unwrap();
    assert_eq!(size, Bytes::gib(2).to_i64());
    for _ in 0..2 {
        lab.send_unpublish(ID, TARGET).await.unwrap();
    }
    for _ in 0..2 {
        lab.send_unstage(ID, STAGING).await.unwrap();
    }
    assert!(lab.host.connected().is_empty());
}

#[tokio::test]
async fn statistics_of_a_raw_device_are_its_bytes_and_of_a_dead_one_its_condition() {
    let lab = Lab::new();
    let raw = || Some(raw(Mode::MultiNodeMultiWriter));
    let mut stage = lab.stage();
    stage.volume_capability = raw();
    lab.send_stage(stage).await.unwrap();
    let mut publish = lab.publish();
    publish.volume_capability = raw();
    lab.send_publish(publish).await.unwrap();
    let stats = lab.send_stats(ID, TARGET).await.unwrap();
    assert_eq!(stats.usage.len(), 1);
    assert_eq!(
        (stats.usage[0].unit(), stats.usage[0].total),
        (Unit::Bytes, SIZE.to_i64())
    );
    lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
    let stats = lab.send_stats(ID, TARGET).await.unwrap();
    assert_eq!(stats.usage, []);
    let condition = stats.volume_condition.unwrap();
    assert!(condition.abnormal);
    assert!(condition.message.contains("connecting"), "{condition:?}");
}

#[tokio::test]
async fn a_second_call_is_aborted_while_one_is_under_way_and_reads_are_not() {
    let lab = Lab::new();
    lab.send_stage(lab.stage()).await.unwrap();
    lab.host.fault_at(1, Fault::Hang);
    let before = lab.host.calls();
    let handler = lab.handler.clone();
    let request = lab.publish();
    let mut hanging =
        Box::pin(async move { handler.node_publish_volume(Request::new(request)).await });
    tokio::select! {
        biased;
        answer = &mut hanging => panic!("{answer:?}"),
        () = until(|| lab.host.calls() > before) => {}
    }
    for answer in [
        lab.send_stage(lab.stage()).await,
        lab.send_publish(lab.publish()).await,
        lab.send_unpublish(ID, TARGET).await,
        lab.send_unstage(ID, STAGING).await,
    ] {
        assert_eq!(answer.unwrap_err().code(), Code::Aborted);
    }
    lab.send_stats(ID, STAGING).await.unwrap();
    let other = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    lab.send_unstage(other, "/elsewhere").await.unwrap();
    // The caller leaves: the operation goes on and keeps its volume.
    drop(hanging);
    let answer = lab.send_unstage(ID, STAGING).await;
    assert_eq!(answer.unwrap_err().code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn staging_goes_on_when_its_caller_has_left() {
    let lab = Lab::new();
    let delay = Duration::from_secs(10);
    lab.array.set_namespace_delay(&lab.nqn, delay);
    let patience = Duration::from_secs(1);
    let cut = tokio::time::timeout(patience, lab.send_stage(lab.stage())).await;
    assert!(cut.is_err());
    let busy = lab.send_stage(lab.stage()).await.unwrap_err();
    assert_eq!(busy.code(), Code::Aborted);
    tokio::time::sleep(delay).await;
    assert_eq!(lab.host.mount_table().len(), 1, "staged without a caller");
    lab.send_stage(lab.stage()).await.unwrap();
    let formats = lab.host.log().iter().filter(|c| *c == "format").count();
    assert_eq!(formats, 1);
}

#[tokio::test]
async fn the_node_says_who_it_is_and_what_it_offers() {
    let lab = Lab::new();
    let info = lab
        .handler
        .node_get_info(Request::new(NodeGetInfoRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.node_id.as_str(), info.max_volumes_per_node),
        ("node-1", 64)
    );
    assert_eq!(info.accessible_topology, None);
    let offered = lab
        .handler
        .node_get_capabilities(Request::new(NodeGetCapabilitiesRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(offered.capabilities.len(), 5);
}

/// The attachment says that the node has the volume only to be read, and pods ask to write.
#[tokio::test]
async fn nobody_writes_where_a_volume_is_only_to_be_read() {
    let lab = Lab::new();
    let block = Some(raw(Mode::MultiNodeMultiWriter));
    let context = |reader: &str| map(&[("size", &SIZE.get().to_string()), ("reader", reader)]);
    let stage = NodeStageVolumeRequest {
        publish_context: context("true"),
        volume_capability: block.clone(),
        ..lab.stage()
    };
    lab.send_stage(stage).await.unwrap();
    for target in [TARGET, "/kubelet/pods/2/mount", TARGET] {
        let publish = NodePublishVolumeRequest {
            publish_context: context("true"),
            target_path: target.to_owned(),
            volume_capability: block.clone(),
            ..lab.publish()
        };
        assert!(!publish.readonly);
        lab.send_publish(publish).await.unwrap();
        let subsystem = lab.host.subsystem(&lab.nqn).await.unwrap().unwrap();
        assert!(subsystem.namespaces[0].read_only);
    }
    let publish = NodePublishVolumeRequest {
        publish_context: context("perhaps"),
        volume_capability: block,
        ..lab.publish()
    };
    let refusal = lab.send_publish(publish).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
}
