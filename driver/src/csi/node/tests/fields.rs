//! Each required field, missing or absurd: refused by its name, before the host is
//! asked anything.

use super::*;

fn refused(field: &str, code: Code, answer: Result<(), Status>) {
    let status = answer.expect_err(field);
    assert_eq!(status.code(), code, "{field}: {}", status.message());
    assert!(status.message().contains(field), "{}", status.message());
    assert!(status.message().len() < 8192, "an answer is no echo");
}

fn absurd_paths() -> Vec<String> {
    vec![
        String::new(),
        "/".to_owned(),
        "//".to_owned(),
        "relative/path".to_owned(),
        "/kubelet/../etc".to_owned(),
        "../".to_owned(),
        "/a\nb".to_owned(),
        "/a\0b".to_owned(),
        "/".repeat(5000),
        format!("/{}", "a".repeat(1 << 20)),
    ]
}

fn absurd_ids() -> Vec<String> {
    vec![
        String::new(),
        "../".to_owned(),
        "pvc-1".to_owned(),
        format!("{ID}/.."),
        "a".repeat(1 << 20),
    ]
}

const BAD: Code = Code::InvalidArgument;

#[tokio::test]
async fn absurd_ids_and_paths_are_refused_by_name() {
    let lab = Lab::new();
    for id in absurd_ids() {
        let mut stage = lab.stage();
        stage.volume_id.clone_from(&id);
        refused("volume_id", BAD, lab.send_stage(stage).await);
        let mut publish = lab.publish();
        publish.volume_id.clone_from(&id);
        refused("volume_id", BAD, lab.send_publish(publish).await);
        refused("volume_id", BAD, lab.send_unstage(&id, STAGING).await);
        refused("volume_id", BAD, lab.send_unpublish(&id, TARGET).await);
    }
    for path in absurd_paths() {
        let mut stage = lab.stage();
        stage.staging_target_path.clone_from(&path);
        refused("staging_target_path", BAD, lab.send_stage(stage).await);
        let mut publish = lab.publish();
        publish.staging_target_path.clone_from(&path);
        refused("staging_target_path", BAD, lab.send_publish(publish).await);
        let mut publish = lab.publish();
        publish.target_path.clone_from(&path);
        refused("target_path", BAD, lab.send_publish(publish).await);
        let answer = lab.send_unstage(ID, &path).await;
        refused("staging_target_path", BAD, answer);
        refused("target_path", BAD, lab.send_unpublish(ID, &path).await);
    }
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn what_can_be_no_volume_has_no_statistics_and_does_not_grow() {
    let lab = Lab::new();
    let cases = absurd_ids()
        .into_iter()
        .map(|id| (id, TARGET.to_owned(), "volume_id"))
        .chain(
            absurd_paths()
                .into_iter()
                .map(|path| (ID.to_owned(), path, "volume_path")),
        );
    for (volume_id, volume_path, field) in cases {
        let missing = volume_id.is_empty() || volume_path.is_empty();
        let code = if missing { BAD } else { Code::NotFound };
        let answer = lab.send_stats(&volume_id, &volume_path).await;
        refused(field, code, answer.map(drop));
        let expand = NodeExpandVolumeRequest {
            volume_id,
            volume_path,
            ..NodeExpandVolumeRequest::default()
        };
        refused(field, code, lab.send_expand(expand).await.map(drop));
    }
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn capabilities_that_are_not_offered_are_refused() {
    let lab = Lab::new();
    let mount_flags = |flag: &str| VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume {
            mount_flags: vec![flag.to_owned()],
            ..MountVolume::default()
        })),
        ..capability(Mode::SingleNodeWriter, "ext4")
    };
    let cases = [
        None,
        Some(VolumeCapability::default()),
        Some(capability(Mode::Unknown, "ext4")),
        Some(capability(Mode::MultiNodeMultiWriter, "ext4")),
        Some(capability(Mode::MultiNodeReaderOnly, "ext4")),
        Some(raw(Mode::MultiNodeSingleWriter)),
        Some(capability(Mode::SingleNodeWriter, "ntfs")),
        Some(capability(Mode::SingleNodeWriter, &"x".repeat(1 << 20))),
        Some(mount_flags("bind")),
        Some(mount_flags("noload")),
        Some(VolumeCapability {
            access_mode: Some(AccessMode { mode: 99 }),
            ..raw(Mode::Unknown)
        }),
    ];
    for volume_capability in cases {
        let mut stage = lab.stage();
        stage.volume_capability.clone_from(&volume_capability);
        refused("volume_capability", BAD, lab.send_stage(stage).await);
        let mut publish = lab.publish();
        publish.volume_capability = volume_capability;
        refused("volume_capability", BAD, lab.send_publish(publish).await);
    }
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn contexts_that_mean_nothing_or_another_volume_are_refused() {
    let lab = Lab::new();
    let other = "nqn.2000-02.com.mikrotik:pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let absurd = "a".repeat(1 << 20);
    for (key, value) in [
        ("nqn", ""),
        ("nqn", other),
        ("nqn", "nqn.2000-02.com.mikrotik:x,hostnqn=y"),
        ("nqn", absurd.as_str()),
        ("nvmeAddress", ""),
        ("nvmeAddress", "storage.example"),
        ("nvmePort", "0"),
        ("nvmePort", "65536"),
        ("volumePath", ""),
        ("volumePath", "../"),
        ("ctrlLossTmo", "-2"),
        ("reconnectDelay", "soon"),
    ] {
        let mut stage = lab.stage();
        stage
            .volume_context
            .insert(key.to_owned(), value.to_owned());
        refused(key, BAD, lab.send_stage(stage).await);
    }
    for size in ["", "-1", "1G", "99999999999999999999"] {
        let mut stage = lab.stage();
        stage.publish_context = map(&[("size", size)]);
        refused("size", BAD, lab.send_stage(stage).await);
    }
    let mut publish = lab.publish();
    publish
        .volume_context
        .insert("nqn".to_owned(), other.to_owned());
    refused("nqn", BAD, lab.send_publish(publish).await);
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn an_ephemeral_inline_volume_is_refused_with_a_way_out() {
    let lab = Lab::new();
    let mut publish = lab.publish();
    publish.volume_context = map(&[("csi.storage.k8s.io/ephemeral", "true")]);
    publish.staging_target_path.clear();
    refused("volumeClaimTemplate", BAD, lab.send_publish(publish).await);
    assert_eq!(lab.host.calls(), 0);
}

#[tokio::test]
async fn a_path_is_compared_in_its_plain_spelling() {
    let lab = Lab::new();
    let mut stage = lab.stage();
    stage.staging_target_path = "//kubelet/./staging//globalmount/".to_owned();
    lab.send_stage(stage).await.unwrap();
    lab.send_stage(lab.stage()).await.unwrap();
    assert_eq!(lab.host.mount_table().len(), 1);
}
