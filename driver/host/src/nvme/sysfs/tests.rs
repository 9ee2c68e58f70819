//! Trees laid out as the kernel does, whole and half removed.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use rds_csi_core::nvme::DeviceNumber;

use super::*;

/// A sysfs of our own, laid out as the kernel does.
struct Tree {
    base: tempfile::TempDir,
}

const PREFIX: &str = "nqn.2000-02.com.mikrotik:";

impl Tree {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("sys/class/nvme-subsystem")).unwrap();
        Self { base }
    }

    fn root(&self) -> Root {
        Root::below(self.base.path())
    }

    fn subsystem(&self, index: u32, nqn: &str) -> PathBuf {
        let path = self.base.path().join(format!(
            "sys/devices/virtual/nvme-subsystem/nvme-subsys{index}"
        ));
        fs::create_dir_all(&path).unwrap();
        attribute(&path, "subsysnqn", nqn);
        attribute(&path, "model", "ROSE");
        fs::create_dir_all(path.join("power")).unwrap();
        let link = self
            .base
            .path()
            .join(format!("sys/class/nvme-subsystem/nvme-subsys{index}"));
        symlink(&path, link).unwrap();
        path
    }

    fn controller(&self, subsystem: &Path, index: u32, state: &str) -> PathBuf {
        let path = self
            .base
            .path()
            .join(format!("sys/devices/virtual/nvme-fabrics/ctl/nvme{index}"));
        fs::create_dir_all(&path).unwrap();
        attribute(&path, "state", state);
        attribute(
            &path,
            "address",
            "traddr=192.0.2.7,trsvcid=4420,src_addr=192.0.2.1",
        );
        attribute(&path, "hostnqn", "nqn.2014-08.org.nvmexpress:uuid:1");
        symlink(&path, subsystem.join(format!("nvme{index}"))).unwrap();
        path
    }
}

fn attribute(directory: &Path, name: &str, value: &str) {
    fs::write(directory.join(name), format!("{value}\n")).unwrap();
}

fn block_device(parent: &Path, name: &str, number: &str) -> PathBuf {
    let path = parent.join(name);
    fs::create_dir_all(&path).unwrap();
    for (file, value) in [
        ("dev", number),
        ("size", "2097152"),
        ("nsid", "1"),
        ("ro", "0"),
        ("wwid", "uuid.00000000-0000-0000-0000-000000000001"),
    ] {
        attribute(&path, file, value);
    }
    path
}

fn only(root: &Root) -> Subsystem {
    let mut all = others(root, &[]).unwrap();
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

#[test]
fn with_multipath_the_head_is_the_device_and_the_hidden_path_is_not() {
    let tree = Tree::new();
    let subsystem = tree.subsystem(0, &format!("{PREFIX}pvc-1"));
    let controller = tree.controller(&subsystem, 3, "live");
    block_device(&subsystem, "nvme1n2", "259:7");
    block_device(&controller, "nvme1c3n2", "259:8");
    fs::create_dir_all(controller.join("ng1n2")).unwrap();

    let found = only(&tree.root());
    assert_eq!(found.nqn, format!("{PREFIX}pvc-1"));
    assert!(found.is_live());
    assert_eq!(found.controllers[0].name, "nvme3");
    assert_eq!(
        found.controllers[0].address,
        Some(("192.0.2.7".parse().unwrap(), 4420))
    );
    assert_eq!(found.namespaces.len(), 1);
    let namespace = &found.namespaces[0];
    assert_eq!(namespace.name, "nvme1n2");
    assert_eq!(
        namespace.number,
        DeviceNumber {
            major: 259,
            minor: 7
        }
    );
    assert_eq!(namespace.size, Bytes::gib(1));
    assert_eq!(
        namespace.wwid.as_deref(),
        Some("uuid.00000000-0000-0000-0000-000000000001")
    );
}

#[test]
fn without_multipath_the_device_lies_below_the_controller() {
    let tree = Tree::new();
    let subsystem = tree.subsystem(0, &format!("{PREFIX}pvc-1"));
    let controller = tree.controller(&subsystem, 0, "connecting");
    block_device(&controller, "nvme0n1", "259:0");

    let found = only(&tree.root());
    assert!(!found.is_live());
    assert_eq!(found.namespaces.len(), 1);
    assert_eq!(found.namespaces[0].name, "nvme0n1");
}

#[test]
fn names_that_look_alike_stay_apart() {
    let tree = Tree::new();
    for (index, id) in ["pvc-1", "pvc-10", "pvc-11"].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let subsystem = tree.subsystem(index, &format!("{PREFIX}{id}"));
        tree.controller(&subsystem, index, "live");
        block_device(
            &subsystem,
            &format!("nvme{index}n1"),
            &format!("259:{index}"),
        );
    }
    let root = tree.root();
    let all = others(&root, &[]).unwrap();
    let nqn: Nqn = format!("{PREFIX}pvc-1").parse().unwrap();
    let (one, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|found| found.nqn == nqn.as_str());
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].namespaces[0].name, "nvme0n1");
    assert_eq!(others(&root, &[nqn]).unwrap(), rest);
}

#[test]
fn a_subsystem_without_any_path_is_still_there() {
    let tree = Tree::new();
    let subsystem = tree.subsystem(0, &format!("{PREFIX}pvc-1"));
    block_device(&subsystem, "nvme0n1", "259:0");
    let found = only(&tree.root());
    assert!(found.controllers.is_empty());
    assert_eq!(found.namespaces.len(), 1);
}

#[test]
fn what_is_being_removed_is_gone_and_the_rest_is_read() {
    let tree = Tree::new();
    let half = tree.subsystem(0, "x");
    fs::remove_file(half.join("subsysnqn")).unwrap();
    let subsystem = tree.subsystem(1, &format!("{PREFIX}pvc-1"));
    let leaving = tree.controller(&subsystem, 0, "live");
    fs::remove_file(leaving.join("state")).unwrap();
    tree.controller(&subsystem, 1, "deleting (no IO)");
    let device = block_device(&subsystem, "nvme1n1", "259:0");
    fs::remove_file(device.join("dev")).unwrap();
    symlink(tree.base.path().join("nowhere"), subsystem.join("nvme9")).unwrap();

    let found = only(&tree.root());
    assert_eq!(found.controllers.len(), 1);
    assert_eq!(found.controllers[0].state, ControllerState::Deleting);
    assert!(found.namespaces.is_empty());
}

#[test]
fn an_attribute_that_cannot_be_read_is_an_error_and_not_gone() {
    let tree = Tree::new();
    let subsystem = tree.subsystem(0, &format!("{PREFIX}pvc-1"));
    fs::remove_file(subsystem.join("subsysnqn")).unwrap();
    // Reading a directory fails with EISDIR, as a broken attribute would with EIO.
    fs::create_dir(subsystem.join("subsysnqn")).unwrap();
    assert!(matches!(others(&tree.root(), &[]), Err(NvmeError::Read(_))));
}

#[test]
fn nonsense_in_an_attribute_is_an_error() {
    for (file, value) in [
        ("dev", "259"),
        ("size", "-1"),
        ("size", "99999999999999999999"),
        ("nsid", ""),
        ("ro", "2"),
    ] {
        let tree = Tree::new();
        let subsystem = tree.subsystem(0, &format!("{PREFIX}pvc-1"));
        let device = block_device(&subsystem, "nvme0n1", "259:0");
        attribute(&device, file, value);
        let error = others(&tree.root(), &[]).unwrap_err();
        assert!(
            matches!(error, NvmeError::Unexpected { .. }),
            "{file}={value}: {error}"
        );
    }
}

#[test]
fn without_the_module_there_is_no_subsystem_but_without_sysfs_no_answer() {
    let base = tempfile::tempdir().unwrap();
    let root = Root::below(base.path());
    assert!(others(&root, &[]).is_err());
    fs::create_dir_all(base.path().join("sys/class")).unwrap();
    assert_eq!(others(&root, &[]).unwrap(), []);
}

#[test]
fn only_openable_block_devices_and_controllers_are_recognised_by_name() {
    for (name, sort) in [
        ("nvme0", Some(Sort::Controller)),
        ("nvme12", Some(Sort::Controller)),
        ("nvme0n1", Some(Sort::BlockDevice)),
        ("nvme10n12", Some(Sort::BlockDevice)),
        ("nvme0c0n1", None),
        ("nvme0n1p1", None),
        ("nvme", None),
        ("nvmen1", None),
        ("nvme0n", None),
        ("ng0n1", None),
        ("power", None),
    ] {
        assert_eq!(sort_of(name), sort, "{name}");
    }
}

proptest! {
    #[test]
    fn an_address_is_found_among_any_other_fields(
        port in any::<u16>(),
        octets in any::<[u8; 4]>(),
        before in prop::collection::vec("[a-z_]{1,8}=[a-z0-9.]{0,8}", 0..3),
        after in prop::collection::vec("src_addr=[0-9.]{1,12}|host_iface=[a-z0-9]{1,5}", 0..3),
    ) {
        prop_assume!(before.iter().all(|field| !field.starts_with("tr")));
        let ip = IpAddr::from(octets);
        let fields: Vec<_> = before
            .into_iter()
            .chain([format!("traddr={ip}"), format!("trsvcid={port}")])
            .chain(after)
            .collect();
        prop_assert_eq!(address(&fields.join(",")), Some((ip, port)));
    }

    #[test]
    fn no_text_makes_the_address_parser_panic(text in ".{0,60}") {
        let _ = address(&text);
        let _ = sort_of(&text);
        let _ = sectors(&text);
    }
}
