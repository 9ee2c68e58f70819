//! The order of steps on configfs, on a plain directory in its place.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Access, Export, Target};
use crate::variants::{BootOrder, ResizeNotice};

fn target(root: &Path) -> Target {
    Target::new(
        root,
        "10.77.0.2",
        ResizeNotice::Event,
        BootOrder::SubsystemsFirst,
    )
}

fn export(nqn: &str) -> Export {
    Export {
        nqn: nqn.to_owned(),
        port: 4420,
        access: Access::Anybody,
        file: Some(PathBuf::from("/pool/a.img")),
        uuid: "8a5c7a52-0000-5000-8000-000000000001".to_owned(),
        size: 4096,
    }
}

fn since(target: &Target, before: usize) -> Vec<&str> {
    target.journal()[before..]
        .iter()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_subsystem_is_complete_before_its_port_opens() {
    let root = tempfile::tempdir().unwrap();
    let mut target = target(root.path());
    target.apply(&[export("nqn.a")]).unwrap();
    assert_eq!(
        since(&target, 0),
        [
            "mkdir subsystems/nqn.a",
            "write subsystems/nqn.a/attr_allow_any_host 1",
            "mkdir subsystems/nqn.a/namespaces/1",
            "write subsystems/nqn.a/namespaces/1/device_path /pool/a.img",
            "write subsystems/nqn.a/namespaces/1/device_uuid 8a5c7a52-0000-5000-8000-000000000001",
            "write subsystems/nqn.a/namespaces/1/buffered_io 0",
            "write subsystems/nqn.a/namespaces/1/enable 1",
            "mkdir ports/14420",
            "write ports/14420/addr_trtype tcp",
            "write ports/14420/addr_adrfam ipv4",
            "write ports/14420/addr_traddr 10.77.0.2",
            "write ports/14420/addr_trsvcid 4420",
            "link ports/14420/subsystems/nqn.a",
        ]
    );
    let before = target.journal().len();
    target.apply(&[]).unwrap();
    assert_eq!(
        since(&target, before),
        [
            "unlink ports/14420/subsystems/nqn.a",
            "rmdir subsystems/nqn.a/namespaces/1",
            "rmdir subsystems/nqn.a",
            "rmdir ports/14420",
        ]
    );
}

#[test]
fn all_subsystems_are_complete_before_the_first_link() {
    let root = tempfile::tempdir().unwrap();
    let mut target = target(root.path());
    target.apply(&[export("nqn.a"), export("nqn.b")]).unwrap();
    let journal = target.journal();
    let last_enable = journal
        .iter()
        .rposition(|step| step.ends_with("enable 1"))
        .unwrap();
    let first_link = journal
        .iter()
        .position(|step| step.starts_with("link "))
        .unwrap();
    assert!(last_enable < first_link, "{journal:?}");
    assert_eq!(
        fs::read_dir(root.path().join("ports/14420/subsystems"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn growth_is_announced_and_access_changes_without_a_relink() {
    let root = tempfile::tempdir().unwrap();
    let mut target = target(root.path());
    target.apply(&[export("nqn.a")]).unwrap();
    let mut changed = export("nqn.a");
    changed.size = 8192;
    changed.access = Access::Hosts(vec!["nqn.host".to_owned()]);
    let before = target.journal().len();
    target.apply(&[changed.clone()]).unwrap();
    assert_eq!(
        since(&target, before),
        [
            "write subsystems/nqn.a/attr_allow_any_host 0",
            "mkdir hosts/nqn.host",
            "link subsystems/nqn.a/allowed_hosts/nqn.host",
            "write subsystems/nqn.a/namespaces/1/revalidate_size 1",
        ]
    );
    changed.access = Access::Anybody;
    let before = target.journal().len();
    target.apply(&[changed]).unwrap();
    assert_eq!(
        since(&target, before),
        [
            "unlink subsystems/nqn.a/allowed_hosts/nqn.host",
            "write subsystems/nqn.a/attr_allow_any_host 1",
        ]
    );
}

#[test]
fn another_port_makes_the_subsystem_anew() {
    let root = tempfile::tempdir().unwrap();
    let mut target = target(root.path());
    target.apply(&[export("nqn.a")]).unwrap();
    let mut moved = export("nqn.a");
    moved.port = 4421;
    target.apply(&[moved]).unwrap();
    assert!(!root.path().join("ports/14420").exists());
    assert!(
        root.path()
            .join("ports/14421/subsystems/nqn.a")
            .is_symlink()
    );
}

#[test]
fn what_a_killed_simulator_left_is_made_anew_and_what_others_made_is_left() {
    let root = tempfile::tempdir().unwrap();
    target(root.path()).apply(&[export("nqn.a")]).unwrap();
    fs::create_dir_all(root.path().join("subsystems/nqn.other")).unwrap();
    fs::create_dir_all(root.path().join("ports/1/subsystems")).unwrap();
    let mut next = target(root.path());
    next.apply(&[export("nqn.a")]).unwrap();
    assert!(
        root.path()
            .join("ports/14420/subsystems/nqn.a")
            .is_symlink()
    );
    next.apply(&[]).unwrap();
    assert!(!root.path().join("subsystems/nqn.a").exists());
    assert!(root.path().join("subsystems/nqn.other").exists());
    assert!(root.path().join("ports/1").exists());
}

#[test]
fn an_export_without_a_file_has_no_namespace() {
    let root = tempfile::tempdir().unwrap();
    let mut target = target(root.path());
    let mut empty = export("nqn.a");
    empty.file = None;
    target.apply(&[empty]).unwrap();
    assert!(
        root.path()
            .join("ports/14420/subsystems/nqn.a")
            .is_symlink()
    );
    assert!(!root.path().join("subsystems/nqn.a/namespaces").exists());
}

#[test]
fn with_the_port_first_it_opens_before_any_subsystem_each_time() {
    let root = tempfile::tempdir().unwrap();
    let (notice, order) = (ResizeNotice::Rescan, BootOrder::PortFirst);
    let mut target = Target::new(root.path(), "10.77.0.2", notice, order);
    target.gap = std::time::Duration::ZERO;
    for _ in 0..2 {
        let before = target.journal().len();
        target.apply(&[export("nqn.a")]).unwrap();
        let steps = since(&target, before);
        let place = |wanted: &str| steps.iter().position(|step| *step == wanted).unwrap();
        assert!(
            place("mkdir ports/14420") < place("mkdir subsystems/nqn.a"),
            "{steps:?}"
        );
        target.apply(&[]).unwrap();
    }
    assert_eq!(
        fs::read_dir(root.path().join("subsystems"))
            .unwrap()
            .count(),
        0
    );
}
