//! ListVolumes page by page, ValidateVolumeCapabilities and what is offered at all.

use std::collections::HashMap;

use csi_proto::v1::controller_service_capability::Type;
use csi_proto::v1::controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetVolumeRequest, ControllerModifyVolumeRequest,
    CreateSnapshotRequest, DeleteSnapshotRequest, ListSnapshotsRequest,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse,
};
use rds_csi_tests::volume::{Claim, Volume};
use rds_sim::Fault;
use tonic::{Code, Status};

use crate::harness::{MIB, NAME, World, code};

fn ids(page: &csi_proto::v1::ListVolumesResponse) -> Vec<String> {
    let entries = page.entries.iter();
    entries
        .map(|entry| entry.volume.as_ref().unwrap().volume_id.clone())
        .collect()
}

async fn with_volumes(count: usize) -> (World, Vec<String>) {
    let world = World::new().await;
    let mut made = Vec::new();
    for number in 0..count {
        let claim = Claim::block(&format!("volume-{number}"), 64);
        made.push(world.create(&claim).await.unwrap().id().to_owned());
    }
    made.sort();
    (world, made)
}

#[tokio::test]
async fn pages_of_every_size_show_every_volume_once() {
    let (world, made) = with_volumes(6).await;
    for most in 0..8 {
        let (mut seen, mut token) = (Vec::new(), String::new());
        for _ in 0..8 {
            let page = world.list(most, &token).await.unwrap();
            assert!(most == 0 || page.entries.len() <= usize::try_from(most).unwrap());
            seen.extend(ids(&page));
            token = page.next_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((seen, token.as_str()), (made.clone(), ""), "{most}");
    }
}

#[tokio::test]
async fn a_token_outlives_its_volume_and_the_controller() {
    let (mut world, made) = with_volumes(4).await;
    let page = world.list(2, "").await.unwrap();
    assert_eq!(ids(&page), made[..2]);
    world.delete(&made[1]).await.unwrap();
    world.restart().await;
    let rest = world.list(0, &page.next_token).await.unwrap();
    assert_eq!(ids(&rest), made[2..]);
    let past = world.list(1, &made[3]).await.unwrap();
    assert!(past.entries.is_empty() && past.next_token.is_empty());
}

#[tokio::test]
async fn a_token_that_is_none_is_aborted_and_a_negative_page_is_invalid() {
    let (world, _) = with_volumes(1).await;
    let long = "x".repeat(1 << 20);
    for token in ["1", "\"; /system reset", "\n", &long] {
        assert_eq!(code(world.list(1, token).await), Code::Aborted);
    }
    for most in [-1, i32::MIN] {
        assert_eq!(code(world.list(most, "").await), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_not_listed() {
    let (world, made) = with_volumes(1).await;
    let foreign = [
        ("mail", ""),
        ("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa", "rds-csi/other/volume-0"),
        ("pvc-aaaaaaaaaaaaaaaaaaaaaaaaam", ""),
        // Somebody copied an item with its comment: it answers to no volume of ours.
        ("pvc-aaaaaaaaaaaaaaaaaaaaaaaaae", "rds-csi/lab/volume-0"),
    ];
    for (slot, comment) in foreign {
        world.inject(Fault::ForeignItem {
            slot: slot.to_owned(),
            file_path: format!("/storage-pool/rds-csi/{slot}.img"),
            nqn: None,
            comment: comment.to_owned(),
            size: 1 << 20,
        });
    }
    assert_eq!(ids(&world.list(0, "").await.unwrap()), made);
}

#[tokio::test]
async fn what_is_offered_is_told_and_the_rest_is_unimplemented() {
    let world = World::new().await;
    let mut client = world.plugin.controller();
    let request = ControllerGetCapabilitiesRequest {};
    let answer = client.controller_get_capabilities(request).await.unwrap();
    let offered = answer.into_inner().capabilities;
    let rpc = |capability: &csi_proto::v1::ControllerServiceCapability| match capability.r#type {
        Some(Type::Rpc(rpc)) => rpc.r#type(),
        None => Rpc::Unknown,
    };
    let expected = [
        Rpc::CreateDeleteVolume,
        Rpc::PublishUnpublishVolume,
        Rpc::ListVolumes,
        Rpc::GetCapacity,
        Rpc::ExpandVolume,
        Rpc::SingleNodeMultiWriter,
    ];
    assert_eq!(offered.iter().map(rpc).collect::<Vec<_>>(), expected);

    let refusals = [
        code(
            client
                .create_snapshot(CreateSnapshotRequest::default())
                .await,
        ),
        code(
            client
                .delete_snapshot(DeleteSnapshotRequest::default())
                .await,
        ),
        code(client.list_snapshots(ListSnapshotsRequest::default()).await),
        code(
            client
                .controller_get_volume(ControllerGetVolumeRequest::default())
                .await,
        ),
        code(
            client
                .controller_modify_volume(ControllerModifyVolumeRequest::default())
                .await,
        ),
    ];
    assert_eq!(refusals, [Code::Unimplemented; 5]);
}

async fn validate(
    world: &World,
    volume: &Volume,
    change: impl FnOnce(&mut ValidateVolumeCapabilitiesRequest),
) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
    let mut request = ValidateVolumeCapabilitiesRequest {
        volume_id: volume.id().to_owned(),
        volume_context: volume.volume.volume_context.clone(),
        volume_capabilities: vec![volume.claim.capability()],
        ..ValidateVolumeCapabilitiesRequest::default()
    };
    change(&mut request);
    let mut client = world.plugin.controller();
    Ok(client
        .validate_volume_capabilities(request)
        .await?
        .into_inner())
}

#[tokio::test]
async fn capabilities_are_confirmed_only_where_all_that_was_sent_is_right() {
    let world = World::new().await;
    let claim = Claim::block(NAME, 64);
    let volume = world.create(&claim).await.unwrap();
    let parameters = HashMap::from([("nrIoQueues".to_owned(), "4".to_owned())]);
    let answer = validate(&world, &volume, |request| {
        let shared = claim.clone().mode(Mode::MultiNodeMultiWriter);
        request.volume_capabilities.push(shared.capability());
        request.parameters = parameters.clone();
    });
    let confirmed = answer.await.unwrap().confirmed.unwrap();
    assert_eq!(confirmed.volume_capabilities.len(), 2);
    assert_eq!(confirmed.parameters, parameters);
    assert_eq!(confirmed.volume_context, volume.volume.volume_context);

    type Change = fn(&mut ValidateVolumeCapabilitiesRequest);
    let changes: [Change; 6] = [
        |request| {
            let shared = Claim::filesystem("", 0, "ext4").mode(Mode::MultiNodeMultiWriter);
            request.volume_capabilities = vec![shared.capability()];
        },
        |request| request.volume_capabilities[0].access_type = None,
        |request| {
            let btrfs = Claim::filesystem("", 0, "btrfs");
            request.volume_capabilities = vec![btrfs.capability()];
        },
        |request| drop(request.parameters.insert("colour".into(), "blue".into())),
        |request| {
            let parameters = &mut request.mutable_parameters;
            parameters.insert("colour".into(), "blue".into());
        },
        |request| drop(request.volume_context.insert("nvmePort".into(), "x".into())),
    ];
    for change in changes {
        let answer = validate(&world, &volume, change).await.unwrap();
        assert!(answer.confirmed.is_none() && !answer.message.is_empty());
    }
    let none = validate(&world, &volume, |request| {
        request.volume_capabilities.clear();
    });
    assert_eq!(code(none.await), Code::InvalidArgument);
    for (id, expected) in [
        ("", Code::InvalidArgument),
        ("volume", Code::NotFound),
        ("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa", Code::NotFound),
    ] {
        let other = validate(&world, &volume, |request| request.volume_id = id.to_owned());
        assert_eq!(code(other.await), expected);
    }
    world.assert_whole(&volume, 64 * MIB);
}
