//! A whole node on a real socket, over a model of its machine that outlives it.

use std::time::Duration;

use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::{
    NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeUnpublishVolumeRequest,
};
use tonic::Code;
use tonic::transport::Channel;

use crate::machine::{ID, Machine, SIZE, TARGET, filesystem, raw, unstage};
use crate::running::{Running, channel, until};

/// A node plugin with a client.
async fn start(machine: &Machine) -> (Running, NodeClient<Channel>) {
    let running = machine.start(&[]).await;
    let client = NodeClient::new(channel(&running.socket).await);
    (running, client)
}

#[tokio::test]
async fn a_volume_lives_through_a_new_process_for_every_call() {
    for capability in [filesystem(), raw()] {
        let machine = Machine::new();
        let (running, mut client) = start(&machine).await;
        let request = machine.stage(capability.clone());
        client.node_stage_volume(request).await.unwrap();
        running.end().await.unwrap();

        let (running, mut client) = start(&machine).await;
        let request = machine.publish(capability);
        client.node_publish_volume(request).await.unwrap();
        running.end().await.unwrap();

        let (running, mut client) = start(&machine).await;
        let stats = NodeGetVolumeStatsRequest {
            volume_id: ID.to_owned(),
            volume_path: TARGET.to_owned(),
            ..NodeGetVolumeStatsRequest::default()
        };
        let stats = client.node_get_volume_stats(stats).await.unwrap();
        assert_eq!(stats.get_ref().usage[0].total, SIZE.to_i64());
        let unpublish = NodeUnpublishVolumeRequest {
            volume_id: ID.to_owned(),
            target_path: TARGET.to_owned(),
        };
        let answer = client.node_unpublish_volume(unpublish).await;
        answer.unwrap();
        running.end().await.unwrap();

        let (running, mut client) = start(&machine).await;
        client.node_unstage_volume(unstage()).await.unwrap();
        running.end().await.unwrap();
        assert!(machine.host.connected().is_empty());
        assert_eq!(machine.host.mount_table(), []);
    }
}

#[tokio::test]
async fn a_client_that_leaves_and_a_shutdown_cut_no_staging_off() {
    let machine = Machine::new();
    let delay = Duration::from_millis(700);
    machine.array.set_namespace_delay(&machine.nqn, delay);
    let (running, client) = start(&machine).await;
    let mut leaving = client.clone();
    let connected = until(async || !machine.host.connected().is_empty());
    tokio::select! {
        answer = leaving.node_stage_volume(machine.stage(filesystem())) => panic!("{answer:?}"),
        () = connected => {}
    }
    drop(leaving);
    let mut second = client.clone();
    let busy = second.node_stage_volume(machine.stage(filesystem())).await;
    assert_eq!(busy.unwrap_err().code(), Code::Aborted);
    let busy = second.node_unstage_volume(unstage()).await;
    assert_eq!(busy.unwrap_err().code(), Code::Aborted);
    drop(second);
    running.end().await.unwrap();
    assert_eq!(machine.host.mount_table().len(), 1, "staged to its end");

    let (running, mut client) = start(&machine).await;
    let again = client.node_stage_volume(machine.stage(filesystem())).await;
    again.unwrap();
    assert_eq!(machine.formats(), 1);
    running.end().await.unwrap();
}

#[tokio::test]
async fn the_node_is_named_as_its_cluster_names_it() {
    let machine = Machine::new();
    for (more, limit) in [(&[][..], 0), (&["--max-volumes=40"], 40)] {
        let running = machine.start(more).await;
        let mut client = NodeClient::new(channel(&running.socket).await);
        let info = client.node_get_info(NodeGetInfoRequest {}).await;
        let expected = NodeGetInfoResponse {
            node_id: "node-1".to_owned(),
            max_volumes_per_node: limit,
            accessible_topology: None,
        };
        assert_eq!(info.unwrap().into_inner(), expected);
        running.end().await.unwrap();
    }
}
