//! Fields that are missing, of the wrong kind or not offered: nothing is sent for them.

use std::collections::HashMap;

use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_content_source::{SnapshotSource, Type};
use csi_proto::v1::{
    ControllerExpandVolumeRequest, ControllerPublishVolumeRequest, CreateVolumeRequest,
    GetCapacityRequest, ValidateVolumeCapabilitiesRequest, VolumeContentSource,
};
use rds_csi_tests::volume::Claim;
use tonic::{Code, Status};

use crate::harness::{MIB, NAME, World, code};

/// Refused, in words that fit a message.
pub(crate) fn assert_refused(status: &Status, expected: Code, what: &str) {
    assert_eq!(status.code(), expected, "{what}: {status}");
    assert!((1..=4096).contains(&status.message().len()), "{what}");
}

type Create = (&'static str, Code, fn(&mut CreateVolumeRequest));

const CREATES: [Create; 15] = [
    ("no name", Code::InvalidArgument, |r| r.name.clear()),
    ("long name", Code::InvalidArgument, |r| {
        r.name = "x".repeat(129);
    }),
    ("no capability", Code::InvalidArgument, |r| {
        r.volume_capabilities.clear();
    }),
    ("no access mode", Code::InvalidArgument, |r| {
        r.volume_capabilities[0].access_mode = None;
    }),
    ("no access type", Code::InvalidArgument, |r| {
        r.volume_capabilities[0].access_type = None;
    }),
    ("unknown mode", Code::InvalidArgument, |r| set_mode(r, 99)),
    ("mode 0", Code::InvalidArgument, |r| set_mode(r, 0)),
    ("negative mode", Code::InvalidArgument, |r| {
        set_mode(r, i32::MIN);
    }),
    ("read by many", Code::InvalidArgument, |r| {
        set_mode(r, Mode::MultiNodeReaderOnly.into());
    }),
    ("one writer of many", Code::InvalidArgument, |r| {
        set_mode(r, Mode::MultiNodeSingleWriter.into());
    }),
    ("shared filesystem", Code::InvalidArgument, |r| {
        set_mode(r, Mode::MultiNodeMultiWriter.into());
    }),
    ("block and filesystem", Code::InvalidArgument, |r| {
        r.volume_capabilities.push(Claim::block("", 0).capability());
    }),
    ("a source", Code::InvalidArgument, |r| {
        let snapshot = SnapshotSource {
            snapshot_id: "s".into(),
        };
        r.volume_content_source = Some(VolumeContentSource {
            r#type: Some(Type::Snapshot(snapshot)),
        });
    }),
    ("mutable parameters", Code::InvalidArgument, |r| {
        r.mutable_parameters.insert("a".into(), "b".into());
    }),
    ("a mount option", Code::InvalidArgument, |r| {
        set_flags(r, "exec,suid,\"");
    }),
];

fn set_mode(request: &mut CreateVolumeRequest, mode: i32) {
    let capability = &mut request.volume_capabilities[0];
    capability.access_mode.as_mut().unwrap().mode = mode;
}

pub(crate) fn set_flags(request: &mut CreateVolumeRequest, flag: &str) {
    if let Some(AccessType::Mount(mount)) = &mut request.volume_capabilities[0].access_type {
        mount.mount_flags = vec![flag.to_owned()];
    }
}

pub(crate) fn set_fs(request: &mut CreateVolumeRequest, fs: &str) {
    if let Some(AccessType::Mount(mount)) = &mut request.volume_capabilities[0].access_type {
        fs.clone_into(&mut mount.fs_type);
    }
}

#[tokio::test]
async fn a_create_without_a_required_field_is_invalid() {
    let world = World::new().await;
    let before = world.sim.counters().executions;
    for (what, expected, change) in CREATES {
        let mut request = Claim::filesystem(NAME, 64, "ext4").request();
        change(&mut request);
        let created = world.plugin.controller().create_volume(request).await;
        assert_refused(&created.unwrap_err(), expected, what);
    }
    assert_eq!(world.sim.counters().executions, before, "nothing was sent");
    world.assert_empty();
}

#[tokio::test]
async fn parameters_are_those_that_are_known_and_of_their_type() {
    let world = World::new().await;
    for (key, value, words) in [
        ("nvmeport", "4420", "did you mean nvmePort?"),
        ("fsType", "xfs", "csi.storage.k8s.io/fstype"),
        ("nvmePort", "http", "a port"),
        ("nvmePort", "65536", "a port"),
        ("nvmeAddress", "rds.example", "an IP address"),
        ("rdsAddress", "192.0.2.1", "this driver serves"),
        ("volumePath", "/storage-pool", "a directory below it"),
        (
            "volumePath",
            "/storage-pool/rds-csi-evil",
            "a directory below it",
        ),
        ("ctrlLossTmo", "-2", "seconds"),
    ] {
        let claim = Claim::block(NAME, 64).parameter(key, value);
        let status = world.create(&claim).await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, key);
        assert!(status.message().contains(words), "{status}");
    }
    world.assert_empty();
    // What sidecars and people add is none of the driver's business; nor are secrets.
    let claim = Claim::block(NAME, 64).parameter("csi.storage.k8s.io/pvc/name", "\"$x[]\n");
    let mut request = claim.request();
    request.secrets = HashMap::from([("\"$x[]\n".to_owned(), "\"".repeat(1 << 20))]);
    world
        .plugin
        .controller()
        .create_volume(request)
        .await
        .unwrap();
    assert_eq!(world.items().len(), 1);
    let scripts = world.sim.executed();
    assert!(scripts.iter().all(|script| !script.script.contains("$x")));
}

#[tokio::test]
async fn the_other_requests_name_what_is_missing() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    let mut client = world.plugin.controller();
    assert_eq!(code(world.delete("").await), Code::InvalidArgument);
    assert_eq!(code(world.expand("", MIB, 0).await), Code::InvalidArgument);
    let no_range = ControllerExpandVolumeRequest {
        volume_id: volume.id().to_owned(),
        ..ControllerExpandVolumeRequest::default()
    };
    let refused = client.controller_expand_volume(no_range).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "capacity_range");
    assert!(refused.message().contains("capacity_range"));

    let publish = ControllerPublishVolumeRequest {
        volume_id: volume.id().to_owned(),
        node_id: "node-a".to_owned(),
        volume_capability: Some(volume.claim.capability()),
        ..ControllerPublishVolumeRequest::default()
    };
    let changes: [fn(&mut ControllerPublishVolumeRequest); 4] = [
        |request| request.volume_id.clear(),
        |request| request.node_id.clear(),
        |request| request.volume_capability = None,
        |request| drop(request.volume_context.insert("nvmePort".into(), "1".into())),
    ];
    for change in changes {
        let mut request = publish.clone();
        change(&mut request);
        let refused = client.controller_publish_volume(request).await;
        assert_refused(&refused.unwrap_err(), Code::InvalidArgument, "publish");
    }
    client.controller_publish_volume(publish).await.unwrap();

    // A capability that is not offered has no room, which is no error.
    let shared = Claim::filesystem("", 0, "ext4").mode(Mode::MultiNodeMultiWriter);
    let request = GetCapacityRequest {
        volume_capabilities: vec![shared.capability()],
        ..GetCapacityRequest::default()
    };
    let answer = client.get_capacity(request).await.unwrap().into_inner();
    assert_eq!(answer.available_capacity, 0);
}

#[tokio::test]
async fn what_is_missing_is_told_before_what_does_not_exist() {
    let world = World::new().await;
    let mut client = world.plugin.controller();
    for id in ["fake-vol-id", "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let publish = ControllerPublishVolumeRequest {
            volume_id: id.to_owned(),
            node_id: "node-a".to_owned(),
            volume_capability: Some(Claim::block("", 0).capability()),
            ..ControllerPublishVolumeRequest::default()
        };
        let mut nowhere = publish.clone();
        nowhere.node_id.clear();
        let mut unusable = publish.clone();
        unusable.volume_capability = None;
        for (request, expected) in [
            (nowhere, Code::InvalidArgument),
            (unusable, Code::InvalidArgument),
            (publish, Code::NotFound),
        ] {
            let refused = client.controller_publish_volume(request).await;
            assert_refused(&refused.unwrap_err(), expected, id);
        }
        let expand = ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            ..ControllerExpandVolumeRequest::default()
        };
        let refused = client.controller_expand_volume(expand).await;
        assert_refused(&refused.unwrap_err(), Code::InvalidArgument, id);
        let validate = ValidateVolumeCapabilitiesRequest {
            volume_id: id.to_owned(),
            ..ValidateVolumeCapabilitiesRequest::default()
        };
        let refused = client.validate_volume_capabilities(validate).await;
        assert_refused(&refused.unwrap_err(), Code::InvalidArgument, id);
    }
}
