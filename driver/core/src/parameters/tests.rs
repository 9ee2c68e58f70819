//! What a StorageClass may say, and what it is told where it may not.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn nothing_said_waits_for_ever() {
    let parsed = StorageClassParameters::parse(&map(&[])).unwrap();
    assert_eq!(parsed.tuning, Tuning::default());
    assert_eq!(
        (parsed.tuning.ctrl_loss_tmo, parsed.tuning.reconnect_delay),
        (None, 5)
    );
}

#[test]
fn everything_said_is_read() {
    let parsed = StorageClassParameters::parse(&map(&[
        ("rdsAddress", "10.0.0.1"),
        ("nvmeAddress", "fd00::1"),
        ("nvmePort", "4421"),
        ("volumePath", "/pool/csi"),
        ("ctrlLossTmo", "600"),
        ("reconnectDelay", "2"),
        ("keepAliveTmo", "10"),
        ("fastIoFailTmo", "30"),
        ("nrIoQueues", "4"),
        ("migrationTimeoutSeconds", "300"),
        ("csi.storage.k8s.io/fstype", "xfs"),
        ("csi.storage.k8s.io/pvc/name", "data"),
    ]))
    .unwrap();
    assert_eq!(parsed.fs_type, Some(FsType::Xfs));
    assert_eq!(parsed.volume_directory, Some("/pool/csi".parse().unwrap()));
    assert_eq!(parsed.nvme_port, Some(4421));
    let tuning = Tuning {
        ctrl_loss_tmo: Some(600),
        reconnect_delay: 2,
        keep_alive_tmo: 10,
        fast_io_fail_tmo: Some(30),
        nr_io_queues: Some(4),
    };
    assert_eq!(parsed.tuning, tuning);
}

#[rstest]
#[case("nvmeAddress", "rds.example.com")]
#[case("nvmeAddress", "10.0.0.1,traddr=10.0.0.2")]
#[case("rdsAddress", "")]
#[case("nvmePort", "0")]
#[case("nvmePort", "65536")]
#[case("nvmePort", "+4420")]
#[case("ctrlLossTmo", "-2")]
#[case("ctrlLossTmo", "forever")]
#[case("reconnectDelay", "0")]
#[case("reconnectDelay", "3601")]
#[case("keepAliveTmo", "0")]
#[case("fastIoFailTmo", "-1")]
#[case("nrIoQueues", "129")]
#[case("migrationTimeoutSeconds", "29")]
#[case("volumePath", "/pool/../etc")]
#[case("volumePath", "/pool/a\"; /system reset")]
#[case("csi.storage.k8s.io/fstype", "btrfs")]
fn a_value_out_of_range_names_its_key(#[case] key: &str, #[case] value: &str) {
    let error = StorageClassParameters::parse(&map(&[(key, value)])).unwrap_err();
    assert_eq!(error.key(), key);
    assert!(error.to_string().contains("it takes"), "{error}");
}

#[test]
fn a_typing_error_is_told_the_key() {
    let error = StorageClassParameters::parse(&map(&[("reconnectdelays", "5")])).unwrap_err();
    assert!(
        error.to_string().contains("did you mean reconnectDelay?"),
        "{error}"
    );
    let error = StorageClassParameters::parse(&map(&[("fsType", "xfs")])).unwrap_err();
    assert!(
        error.to_string().contains("csi.storage.k8s.io/fstype"),
        "{error}"
    );
}

#[test]
fn every_mistake_is_reported() {
    let errors = StorageClassParameters::parse_all(&map(&[
        ("a", "1"),
        ("nvmePort", "x"),
        ("fastIoFailTmo", "9"),
        ("ctrlLossTmo", "9"),
    ]));
    let keys: Vec<_> = errors
        .unwrap_err()
        .iter()
        .map(|error| error.key().to_owned())
        .collect();
    assert_eq!(keys, ["a", "nvmePort", "fastIoFailTmo"]);
}

proptest! {
    #[test]
    fn no_map_panics(map in proptest::collection::btree_map("\\PC{0,20}|nvmePort|ctrlLossTmo|volumePath", "\\PC{0,20}", 0..6)) {
        if let Err(errors) = StorageClassParameters::parse_all(&map) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| map.contains_key(error.key()) || error.key().chars().count() == 64));
        }
    }
}
