//! Records that outlive the plugin, and damaged ones.

use rds_csi_core::access::{Access, AccessMode};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::VolumeContext;
use rds_csi_core::nvme::Tuning;

use std::fs;

use super::*;

const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";

fn session() -> Session {
    Session {
        volume: ID.parse().unwrap(),
        nqn: format!("nqn.2000-02.com.mikrotik:{ID}").parse().unwrap(),
        address: "192.0.2.7".parse().unwrap(),
        port: 4420,
        staged_at: Some("/staging".into()),
        staging: Some(Staging {
            boot: "b0a1".to_owned(),
            access: Access::filesystem(
                AccessMode::SingleNodeMultiWriter,
                "xfs",
                &["noatime".to_owned()],
            )
            .unwrap(),
            context: context(),
            size: Bytes::gib(1),
            wwid: Some("uuid.1".to_owned()),
        }),
        opened: 1_700_000_000,
        targets: BTreeMap::from([("/target".into(), true)]),
        recovery: Some(BTreeMap::from([("/pod".into(), false)])),
    }
}

fn context() -> VolumeContext {
    VolumeContext {
        nvme_address: "192.0.2.7".parse().unwrap(),
        nvme_port: 4420,
        nqn: format!("nqn.2000-02.com.mikrotik:{ID}").parse().unwrap(),
        volume_directory: Default::default(),
        tuning: Tuning {
            reconnect_delay: 2,
            ..Tuning::default()
        },
        migration_timeout_seconds: None,
    }
}

#[tokio::test]
async fn a_record_of_an_older_version_says_less_and_is_read() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    registry.record(&session()).await.unwrap();
    let path = registry.path(&session().volume);
    let mut stored: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for field in ["staging", "targets", "recovery"] {
        stored.as_object_mut().unwrap().remove(field).unwrap();
    }
    fs::write(&path, stored.to_string()).unwrap();
    let older = Session {
        staging: None,
        targets: BTreeMap::new(),
        recovery: None,
        ..session()
    };
    assert_eq!(registry.get(&older.volume).await.unwrap(), Some(older));
}

#[tokio::test]
async fn a_record_of_a_version_to_come_is_an_error_and_no_absence() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    registry.record(&session()).await.unwrap();
    let path = registry.path(&session().volume);
    let mut stored: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    stored["version"] = 2.into();
    fs::write(&path, stored.to_string()).unwrap();
    let error = registry.get(&session().volume).await.unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
    assert!(registry.all().await.is_err());
}

#[tokio::test]
async fn every_access_is_read_as_it_was_written() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    for mode in AccessMode::ALL {
        let accesses = [
            Access::block(mode),
            Access::filesystem(mode, "ext4", &[]),
            Access::filesystem(mode, "xfs", &["discard".to_owned(), "nouuid".to_owned()]),
        ];
        for access in accesses.into_iter().flatten() {
            let mut session = session();
            session.staging.as_mut().unwrap().access = access;
            registry.record(&session).await.unwrap();
            let found = registry.get(&session.volume).await.unwrap();
            assert_eq!(found, Some(session));
        }
    }
}

#[tokio::test]
async fn changes_are_told_and_a_damaged_record_hides_no_other() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    let mut changes = registry.clone().changes();
    assert!(!changes.has_changed().unwrap());
    registry.record(&session()).await.unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let other = format!("{}.json", ID.replace("bvhg", "aaaa"));
    fs::write(base.path().join("sessions").join(other), "{").unwrap();
    let (sessions, damaged) = registry.readable().await.unwrap();
    assert_eq!((sessions, damaged.len()), (vec![session()], 1));
    registry.remove(&session().volume).await.unwrap();
    assert!(changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_record_outlives_the_registry_until_it_is_removed() {
    let base = tempfile::tempdir().unwrap();
    let session = session();
    let registry = Registry::new(base.path());
    assert_eq!(registry.all().await.unwrap(), []);
    registry.remove(&session.volume).await.unwrap();
    registry.record(&session).await.unwrap();
    let moved = Session {
        staged_at: None,
        ..session.clone()
    };
    registry.record(&moved).await.unwrap();

    let registry = Registry::new(base.path());
    assert_eq!(
        registry.get(&session.volume).await.unwrap().as_ref(),
        Some(&moved)
    );
    assert_eq!(registry.all().await.unwrap(), [moved]);
    registry.remove(&session.volume).await.unwrap();
    assert_eq!(registry.get(&session.volume).await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_record_is_named_and_never_read_as_absent() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    let session = session();
    registry.record(&session).await.unwrap();
    let path = registry.path(&session.volume);
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "{",
        &good[..good.len() / 2],
        &good.replace(ID, "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        &good.replace("nqn.2000", "iqn.2000"),
    ] {
        fs::write(&path, bad).unwrap();
        let one = registry.get(&session.volume).await.unwrap_err();
        let all = registry.all().await.unwrap_err();
        for error in [one, all] {
            assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(ID), "{error}");
        }
    }
}

#[tokio::test]
async fn a_draft_left_by_a_crash_is_no_record_and_a_stray_file_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::new(base.path());
    registry.record(&session()).await.unwrap();
    fs::write(base.path().join(format!("sessions/.{ID}")), "{").unwrap();
    assert_eq!(registry.all().await.unwrap(), [session()]);
    fs::write(base.path().join("sessions/backup.json"), "{}").unwrap();
    assert!(registry.all().await.is_err());
}

#[tokio::test]
async fn raw_targets_are_known_as_they_change_and_from_before() {
    let base = tempfile::tempdir().unwrap();
    let mut raw = session();
    let access = Access::block(AccessMode::SingleNodeWriter).unwrap();
    raw.staging.as_mut().unwrap().access = access;
    let registry = Registry::new(base.path());
    registry.record(&session()).await.unwrap();
    assert_eq!(registry.raw_targets().await.unwrap(), []);
    registry.record(&raw).await.unwrap();
    let expected = vec![RawTarget {
        volume: raw.volume.clone(),
        nqn: raw.nqn.clone(),
        path: "/target".into(),
    }];
    for registry in [&registry, &Registry::new(base.path())] {
        assert_eq!(registry.raw_targets().await.unwrap(), expected);
    }
    registry.remove(&raw.volume).await.unwrap();
    assert_eq!(registry.raw_targets().await.unwrap(), []);
}

#[tokio::test]
async fn raw_targets_of_a_record_that_cannot_be_read_are_looked_for_again() {
    let base = tempfile::tempdir().unwrap();
    let mut raw = session();
    raw.staging.as_mut().unwrap().access = Access::block(AccessMode::SingleNodeWriter).unwrap();
    Registry::new(base.path()).record(&raw).await.unwrap();
    let registry = Registry::new(base.path());
    let path = registry.path(&raw.volume);
    let away = base.path().join("away");
    fs::rename(&path, &away).unwrap();
    // Reading it fails.
    fs::create_dir(&path).unwrap();
    assert_eq!(registry.raw_targets().await.unwrap(), []);
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    assert_eq!(registry.raw_targets().await.unwrap().len(), 1);
}
