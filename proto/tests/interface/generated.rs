//! What the generated code promises to its users.

use std::collections::HashMap;

use csi_proto::{pluginregistration, v1};
use prost::Message as _;

use crate::facts;

/// The messages with a secret field, each with one secret set, as `Debug` prints them.
fn printed_with_a_secret() -> Vec<String> {
    let secrets = HashMap::from([("password".to_owned(), "hunter2".to_owned())]);
    macro_rules! printed {
        ($($message:ident,)*) => {
            vec![$({
                let message = v1::$message { secrets: secrets.clone(), ..Default::default() };
                format!("{message:?} {message:#?}")
            },)*]
        };
    }
    printed![
        CreateVolumeRequest,
        DeleteVolumeRequest,
        ControllerPublishVolumeRequest,
        ControllerUnpublishVolumeRequest,
        ValidateVolumeCapabilitiesRequest,
        ControllerModifyVolumeRequest,
        CreateSnapshotRequest,
        DeleteSnapshotRequest,
        ListSnapshotsRequest,
        GetSnapshotRequest,
        ControllerExpandVolumeRequest,
        NodeStageVolumeRequest,
        NodePublishVolumeRequest,
        NodeExpandVolumeRequest,
        CreateVolumeGroupSnapshotRequest,
        DeleteVolumeGroupSnapshotRequest,
        GetVolumeGroupSnapshotRequest,
        GetMetadataAllocatedRequest,
        GetMetadataDeltaRequest,
    ]
}

#[test]
fn a_printed_request_never_shows_its_secrets() {
    let printed = printed_with_a_secret();
    for text in &printed {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("password"), "{text}");
        assert!(text.contains("secrets: [1 redacted]"), "{text}");
    }
    let secret = facts::statements(facts::CSI)
        .values()
        .filter(|what| what.split(' ').any(|word| word == "secret"))
        .count();
    assert_eq!(printed.len(), secret, "a message is missing here");
}

#[test]
fn a_printed_request_shows_the_rest() {
    let request = v1::DeleteVolumeRequest {
        volume_id: "pvc-1".to_owned(),
        secrets: HashMap::new(),
    };
    assert_eq!(
        format!("{request:?}"),
        r#"DeleteVolumeRequest { volume_id: "pvc-1", secrets: [0 redacted] }"#
    );
}

#[test]
fn messages_have_the_wire_form_of_their_numbers() {
    let range = v1::CapacityRange {
        required_bytes: 1,
        limit_bytes: 300,
    };
    assert_eq!(range.encode_to_vec(), [0x08, 1, 0x10, 0xac, 0x02]);
    let info = pluginregistration::PluginInfo {
        r#type: "C".to_owned(),
        name: "n".to_owned(),
        endpoint: "/".to_owned(),
        supported_versions: vec!["1".to_owned(), "2".to_owned()],
    };
    assert_eq!(
        info.encode_to_vec(),
        *b"\x0a\x01C\x12\x01n\x1a\x01/\x22\x011\x22\x012"
    );
}

#[test]
fn services_answer_under_their_specified_names() {
    assert_eq!(v1::controller_server::SERVICE_NAME, "csi.v1.Controller");
    assert_eq!(v1::identity_server::SERVICE_NAME, "csi.v1.Identity");
    assert_eq!(v1::node_server::SERVICE_NAME, "csi.v1.Node");
    assert_eq!(
        pluginregistration::registration_server::SERVICE_NAME,
        "pluginregistration.Registration"
    );
}
