//! The printing is held to captures of a device.

use std::fs;

use super::Bench;
use crate::model::print::wrap;
use crate::model::{FileBacked, Kind, Pool, resource};
use crate::variants::Wrap;

fn exported(file_path: &str, size: u64, nqn: &str) -> FileBacked {
    FileBacked {
        size,
        mount_filesystem: false,
        export: true,
        nqn: Some(nqn.to_owned()),
        ..FileBacked::new(file_path.to_owned())
    }
}

#[test]
fn an_exported_item_prints_as_captured_on_a_wide_terminal() {
    let mut bench = Bench::with("raid10");
    bench.switch("width=240");
    bench.model.change(|device| {
        for number in 1..31 {
            let kind = Kind::Other {
                type_name: "hardware".to_owned(),
                model: "drive".to_owned(),
            };
            device.push(&format!("nvme{number}"), kind);
        }
        let nqn = "nqn.2026-09.com.mikrotik:rds2216.vm-storage-001";
        let file = exported("/raid10/vm-storage-001.img", 1 << 40, nqn);
        device.push("vm-storage-001", Kind::File(file));
    });
    assert_eq!(
        bench.run("/disk/print detail where slot=\"vm-storage-001\""),
        include_str!("../../../fixtures/disk-detail-wide.txt")
    );
}

#[test]
fn an_item_wraps_at_80_columns_as_captured() {
    // The capture's path was shortened after the lines were broken; with a path of this
    // length the breaks are where the capture has them.
    let path = "/storage-pool/kubernetes-volumes/test.img";
    let mut bench = Bench::new();
    bench.model.change(|device| {
        let mut file = exported(path, 50 << 30, "nqn.2000-02.com.mikrotik:pvc-test-123");
        file.mount_filesystem = true;
        device.push("pvc-test-123", Kind::File(file));
    });
    let rows = bench.model.disk_rows();
    let properties: Vec<String> = rows[1]
        .properties
        .iter()
        .map(|property| format!("{}={}", property.name, property.prose))
        .collect();
    let lines = wrap(&properties, 15, 78, Wrap::Properties);
    let printed = lines.join(&format!("\r\n{}", " ".repeat(15)));
    assert_eq!(
        printed.replace(path, "/storage-pool/test.img") + "\r\n",
        include_str!("../../../fixtures/disk-detail-80-columns-crlf.txt")
    );
}

#[test]
fn a_pool_prints_the_properties_of_the_capture_in_its_order() {
    let mut bench = Bench::with("raid10");
    bench.switch("width=none");
    bench.model.change(|device| {
        let pool = device.pool_mut();
        *pool = Pool {
            fs: "xfs".to_owned(),
            fs_label: "ocp-storage".to_owned(),
            size: 16_003_143_565_312,
            model: "RAID0 striped".to_owned(),
            raid_type: "0".to_owned(),
            raid_devices: 4,
            ..pool.clone()
        };
        device.items[0].slot = "raid10".to_owned();
    });
    let printed = bench.run("/disk print detail");
    let line = printed.lines().nth(1).unwrap();
    let capture = include_str!("../../../fixtures/pool-detail-wide-shortened.txt");
    // How full it is and how many inodes it has are the capture's own.
    let own = ["free=", "total-inodes=", "free-inodes=", "use="];
    let words = capture.replace('\n', " ");
    let mut rest = line;
    let mut skipping = false;
    for word in words.split_whitespace().skip(2) {
        skipping = own.iter().any(|name| word.starts_with(name))
            || (skipping && word.bytes().all(|byte| byte.is_ascii_digit()));
        if !skipping {
            let at = rest.find(word);
            assert!(at.is_some(), "{word} is missing in {rest}");
            rest = &rest[at.unwrap() + word.len()..];
        }
    }
}

#[test]
fn files_print_as_captured() {
    let mut bench = Bench::new();
    let id = "3f0c7c52-8f0e-4a52-9c0b-4f6a8f5f5d11";
    let directory = bench.directory.path().join("storage-pool/metal-csi");
    fs::create_dir(&directory).unwrap();
    let file = fs::File::create(directory.join(format!("pvc-{id}.img"))).unwrap();
    file.set_len(10 << 30).unwrap();
    let at = |seconds| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    file.set_modified(at(1_762_871_561)).unwrap();
    let opened = fs::File::open(&directory).unwrap();
    opened.set_modified(at(1_762_879_627)).unwrap();
    let printed = bench.run("/file print detail where name~\"storage-pool/metal-csi\"");
    assert_eq!(
        printed.replace(id, "…"),
        include_str!("../../../fixtures/file-detail-80-columns.txt")
    );
}

#[test]
fn traffic_prints_as_captured() {
    let traffic = resource::Traffic {
        write_ops: 76,
        write_bits: 12_800_000,
    };
    assert_eq!(
        resource::traffic("storage-pool", traffic),
        include_str!("../../../fixtures/monitor-traffic-once.txt")
    );
}
