//! Items, files and the pool through the console.

use std::fs;

use rstest::rstest;

use super::print::wrap;
use super::{Denied, Device, Model};
use crate::variants::{LineEnds, Variants, Width, Wrap};

mod captures;
mod switches;

/// A device with a pool of 1 TiB whose files lie in a directory of its own.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) directory: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with("storage-pool")
    }

    pub(super) fn with(mount_point: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(mount_point)).unwrap();
        let variants = Variants {
            line_ends: LineEnds::Lf,
            ..Variants::default()
        };
        let device = Device::with_pool("raid1", mount_point, 1 << 40, "test");
        let model = Model::new(variants, device, directory.path());
        Self { model, directory }
    }

    pub(super) fn switch(&mut self, pair: &str) {
        self.model.variants_mut().set_pair(pair).unwrap();
    }

    pub(super) fn run(&mut self, script: &str) -> String {
        self.model.exec(script).text()
    }

    /// Adds an item of 1 MiB, which must succeed.
    pub(super) fn add(&mut self, slot: &str) {
        let script = format!(
            "/disk add type=file slot=\"{slot}\" file-path=\"/storage-pool/csi/{slot}.img\" \
             file-size=1048576 mount-filesystem=no"
        );
        assert_eq!(self.run(&script), "");
    }
}

#[test]
fn a_comment_is_a_line_before_the_properties() {
    let mut bench = Bench::new();
    bench.switch("width=none");
    bench.add("a");
    bench.run("/disk set [find slot=a] comment=\"lab:pvc-1\"");
    let printed = bench.run("/disk print detail where slot=a");
    assert!(
        printed.contains("\n 1 B ;;; lab:pvc-1\n     type=file slot=\"a\" "),
        "{printed}"
    );
}

#[test]
fn a_property_longer_than_a_line_breaks_after_its_name() {
    let lines = wrap(
        &["file-path=/a-path-of-thirty-characters-x".to_owned()],
        5,
        30,
        Wrap::Properties,
    );
    assert_eq!(lines, ["file-path=", "/a-path-of-thirty-charact", "ers-x"]);
    let split = wrap(&["size=1 099 511 627 776".to_owned()], 5, 20, Wrap::Values);
    assert_eq!(split, ["size=1 099 511", "627 776"]);
}

#[test]
fn an_item_goes_through_its_life() {
    let mut bench = Bench::new();
    bench.add("a");
    let path = bench.directory.path().join("storage-pool/csi/a.img");
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    assert_eq!(
        bench.run("/disk set [find slot=\"a\"] nvme-tcp-server-nqn=\"nqn.x\""),
        ""
    );
    assert!(bench.model.exports().is_empty());
    assert_eq!(
        bench.run("/disk set [find slot=\"a\"] nvme-tcp-export=yes file-size=2M"),
        ""
    );
    let exports = bench.model.exports();
    assert_eq!(
        (exports.len(), exports[0].nqn.as_str(), exports[0].size),
        (1, "nqn.x", 2 << 20)
    );
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 << 20);
    assert_eq!(bench.run("/disk remove [find slot=\"a\"]"), "");
    assert_eq!(bench.run(":put [:len [/disk find slot=a]]"), "0\n");
    assert!(path.exists(), "removing an item leaves its file");
    assert_eq!(
        bench.run("/file remove [find name=\"storage-pool/csi/a.img\"]"),
        ""
    );
    assert!(!path.exists());
}

#[test]
fn a_removal_can_be_made_conditional_on_what_the_device_has_at_that_moment() {
    let mut bench = Bench::new();
    bench.add("a");
    let name = "storage-pool/csi/a.img";
    let script = format!(
        ":if (([:len [/disk find file-path=\"/{name}\"]] = 0) && ([:len [/file find name=\"{name}\"]] = 1)) \
         do={{ /file remove [/file find name=\"{name}\"]; :put \"gone\" }}"
    );
    assert_eq!(bench.run(&script), "", "an item still uses the file");
    let by_comment = "/disk remove [/disk find slot=\"a\" comment=\"other\"]";
    bench.run(by_comment);
    assert!(bench.model.device().item("a").is_some());
    bench.run("/disk remove [/disk find slot=\"a\" comment=\"\"]");
    assert_eq!(bench.run(&script), "gone\n");
}

#[test]
fn copy_from_copies_properties_and_no_data() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("/disk set a nvme-tcp-server-nqn=nqn.a nvme-tcp-export=yes");
    fs::write(
        bench.directory.path().join("storage-pool/csi/a.img"),
        "data",
    )
    .unwrap();
    let script = "/disk add type=file copy-from=[find slot=a] slot=b file-path=/storage-pool/b.img file-size=1M";
    assert_eq!(bench.run(script), "");
    let copy = bench
        .model
        .device()
        .item("b")
        .unwrap()
        .file()
        .unwrap()
        .clone();
    assert!(copy.export, "the export is inherited, under the same name");
    assert_eq!(copy.nqn.as_deref(), Some("nqn.a"));
    let content = fs::read(bench.directory.path().join("storage-pool/b.img")).unwrap();
    assert!(content.iter().all(|&byte| byte == 0));
}

#[test]
fn the_device_mounts_a_filesystem_inside_unless_told_not_to() {
    let mut bench = Bench::new();
    bench.add("a");
    let path = bench.directory.path().join("storage-pool/csi/a.img");
    let mut image = fs::read(&path).unwrap();
    image[0x438..0x43A].copy_from_slice(&[0x53, 0xEF]);
    fs::write(&path, &image).unwrap();
    bench.run("/disk set a comment=harmless");
    assert_eq!(fs::read(&path).unwrap(), image);
    bench.run("/disk set a mount-filesystem=yes");
    assert_eq!(
        fs::read(&path).unwrap()[0x434],
        1,
        "the mount wrote into the image"
    );
    let printed = bench.run("/disk print detail where slot=a");
    assert!(
        printed.contains("fs=ext4") && printed.contains("mount-point=\"a\""),
        "{printed}"
    );
}

#[rstest]
#[case(Denied::Writes, "")]
#[case(Denied::Everything, "not enough permissions (9)\n")]
fn lost_permissions_refuse_what_they_say(#[case] denied: Denied, #[case] read: &str) {
    let mut bench = Bench::new();
    bench.model.deny(denied);
    assert_eq!(bench.run("/disk find"), read);
    let written = bench.run("/disk add type=file slot=a file-path=/storage-pool/a file-size=1");
    assert_eq!(written, "not enough permissions (9)\n");
    assert!(bench.model.device().item("a").is_none());
}

#[test]
fn an_unmounted_pool_hides_files_and_exports_and_takes_no_item() {
    let mut bench = Bench::new();
    bench.switch("width=none");
    bench.add("a");
    bench.run("/disk set a nvme-tcp-export=yes");
    bench
        .model
        .change(|device| device.pool_mut().mounted = false);
    assert!(bench.model.exports().is_empty());
    assert_eq!(bench.run("/file print detail"), "");
    let pool = bench.run("/disk print detail where slot=raid1");
    assert!(
        pool.contains(" fs=- ") && !pool.contains("mount-point="),
        "{pool}"
    );
    assert_eq!(
        bench.run("/disk add type=file slot=b file-path=/storage-pool/b file-size=1"),
        "failure: file system is not mounted\n"
    );
    bench.switch("unmounted-export=empty");
    assert_eq!(bench.model.exports()[0].file, None);
}

#[test]
fn a_degraded_pool_says_so_and_a_full_one_takes_nothing() {
    let mut bench = Bench::new();
    bench
        .model
        .change(|device| device.pool_mut().state = "degraded".to_owned());
    assert_eq!(bench.run(":put [/disk get raid1 state]"), "degraded\n");
    bench.model.change(|device| device.pool_mut().full = true);
    assert_eq!(bench.run(":put [/disk get raid1 free]"), "0\n");
    assert_eq!(
        bench.run("/disk add type=file slot=b file-path=/storage-pool/b file-size=1"),
        "failure: no space left on device\n"
    );
}

#[test]
fn without_wrapping_every_item_is_one_line() {
    let mut bench = Bench::new();
    bench.model.variants_mut().width = Width::None;
    bench.add("a");
    assert_eq!(bench.run("/disk print detail").lines().count(), 4);
}
