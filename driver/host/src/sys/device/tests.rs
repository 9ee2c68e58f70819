//! Device numbers that mean the device, another one, or nothing.

use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nvme::{DeviceNumber, Namespace};

use super::*;

const NQN: &str = "nqn.2000-02.com.mikrotik:pvc-1";

fn device() -> Device {
    Device {
        nqn: NQN.parse().unwrap(),
        namespace: Namespace {
            name: "nvme0n1".to_owned(),
            nsid: 1,
            number: DeviceNumber {
                major: 259,
                minor: 3,
            },
            size: Bytes::mib(1),
            wwid: Some("uuid.1".to_owned()),
            read_only: false,
        },
    }
}

fn tree() -> (tempfile::TempDir, Root) {
    let base = tempfile::tempdir().unwrap();
    let root = Root::below(base.path());
    let directory = root.sys.join("dev/block/259:3");
    fs::create_dir_all(directory.join("device")).unwrap();
    for (file, value) in [
        ("device/subsysnqn", NQN),
        ("nsid", "1"),
        ("wwid", "uuid.1"),
        ("size", "2048"),
    ] {
        fs::write(directory.join(file), format!("{value}\n")).unwrap();
    }
    fs::create_dir_all(&root.dev).unwrap();
    (base, root)
}

#[test]
fn a_node_that_comes_late_is_awaited() {
    let (_base, root) = tree();
    let path = root.dev.join("nvme0n1");
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        fs::write(path, "").unwrap();
    });
    let error = open(&root, &device(), Access::Buffered).unwrap_err();
    late.join().unwrap();
    assert!(
        matches!(error, DeviceError::Changed { ref found, .. } if found == "no block device"),
        "{error}"
    );
}

#[test]
fn a_number_that_means_the_device_passes() {
    let (_base, root) = tree();
    verify(&root, &device()).unwrap();
}

#[test]
fn a_number_that_means_another_volume_is_refused_for_each_part_of_its_identity() {
    for (file, value, field) in [
        ("device/subsysnqn", "nqn.2000-02.com.mikrotik:pvc-10", "NQN"),
        ("nsid", "2", "namespace id"),
        ("wwid", "uuid.2", "wwid"),
        ("size", "4096", "size"),
        ("size", "x", "size"),
    ] {
        let (_base, root) = tree();
        fs::write(root.sys.join("dev/block/259:3").join(file), value).unwrap();
        let error = verify(&root, &device()).unwrap_err();
        assert!(
            matches!(error, DeviceError::Changed { field: f, .. } if f == field),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Unreachable);
    }
}

#[test]
fn a_number_that_means_nothing_any_more_is_refused() {
    let (_base, root) = tree();
    fs::remove_dir_all(root.sys.join("dev/block/259:3")).unwrap();
    let error = verify(&root, &device()).unwrap_err();
    assert!(
        matches!(&error, DeviceError::Changed { found, .. } if found == "gone"),
        "{error}"
    );
}

#[test]
fn a_name_in_dev_is_not_enough() {
    let (_base, root) = tree();
    let path = root.dev.join("nvme0n1");
    fs::write(&path, "a file of this name").unwrap();
    let error = open(&root, &device(), Access::Buffered).unwrap_err();
    assert!(
        matches!(
            &error,
            DeviceError::Changed {
                field: "device number",
                ..
            }
        ),
        "{error}"
    );
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(matches!(
        open(&root, &device(), Access::Buffered),
        Err(DeviceError::Call { .. })
    ));
}

#[test]
fn only_the_namespaces_own_character_device_keeps_its_number() {
    let (_base, root) = tree();
    // A kernel that has none.
    assert!(generic(&root, &device()).unwrap().is_none());
    let described = root.sys.join("class/nvme-generic/ng0n1");
    fs::create_dir_all(described.join("device")).unwrap();
    fs::write(described.join("dev"), "1:3\n").unwrap();
    fs::write(described.join("device/subsysnqn"), NQN).unwrap();
    // One that did not make it.
    assert!(generic(&root, &device()).unwrap().is_none());
    let refused = |field: &str| {
        let error = generic(&root, &device()).unwrap_err();
        assert!(
            matches!(error, DeviceError::Changed { field: f, .. } if f == field),
            "{error}"
        );
    };
    fs::write(root.dev.join("ng0n1"), "").unwrap();
    refused("character device");
}
