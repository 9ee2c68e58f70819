//! Records from JSON and from prose, however the console broke its lines.

use rds_csi_core::appliance::{DiskItem, DiskKind};
use rds_csi_core::bytes::Bytes;
use rstest::rstest;

use super::*;
use crate::command::{Dialect, Script};

mod listing;

fn fixture(name: &str) -> String {
    let path = format!(
        "{}/tests/fixtures/routeros/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

fn shown(records: &[Record]) -> String {
    let texts: Vec<String> = records.iter().map(Record::to_string).collect();
    texts.join("\n")
}

#[test]
fn a_wide_capture_of_an_exported_volume() {
    let text = fixture("7.24/disk-print-detail.wide.txt");
    insta::assert_snapshot!(shown(&prose_records(&text, Listing::Disk).unwrap()));
    let (items, pools) = disks(&text, Dialect::Prose).unwrap();
    insta::assert_debug_snapshot!(items);
    assert!(pools.is_empty());
}

#[test]
fn a_capture_of_80_columns_without_its_index() {
    let text = fixture("7.x/disk-print-detail.80-columns.txt");
    assert!(text.contains("\r\n"));
    let records = prose_records(&text, Listing::Disk).unwrap();
    insta::assert_snapshot!(shown(&records));
    let item = DiskItem::try_from(&records[0]).unwrap();
    let file = item.file().unwrap();
    assert_eq!(file.size, Bytes::new(53_687_091_200));
    assert!(file.mount_filesystem && item.exported);
}

#[test]
fn a_capture_of_a_pool() {
    let (items, pools) =
        disks(&fixture("7.24/disk-print-detail.pool.txt"), Dialect::Prose).unwrap();
    assert_eq!(items[0].kind, DiskKind::Other("raid".to_owned()));
    insta::assert_debug_snapshot!(pools);
}

#[test]
fn a_capture_of_files_has_a_directory_and_a_file() {
    let text = fixture("7.x/file-print-detail.80-columns.txt");
    insta::assert_snapshot!(shown(&prose_records(&text, Listing::File).unwrap()));
    let files = files(&text, Dialect::Prose).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].name, "storage-pool/metal-csi/pvc-….img");
}

const JSON: &str = r#"[{".id":"*1F","comment":"rds-csi/lab/pvc-1","file-path":"/p/a.img","mount-filesystem":false,"nvme-tcp-export":true,"nvme-tcp-server-allow-host-name":"","nvme-tcp-server-nqn":"nqn.2000-02.com.mikrotik:a","nvme-tcp-server-port":4420,"size":1073741824,"slot":"a","type":"file"}]"#;

#[rstest]
#[case::plain(JSON.to_owned())]
#[case::floats(JSON.replace("4420", "4420.000000").replace("1073741824", "1073741824.000000"))]
#[case::texts(JSON.replace("4420", "\"4420\"").replace("1073741824", "\"1073741824\""))]
#[case::booleans_as_text(JSON.replace("false", "\"no\"").replace("true", "\"yes\""))]
#[case::one_record(JSON.trim_matches(['[', ']']).to_owned())]
#[case::wrapped(JSON.as_bytes().chunks(80).map(|c| String::from_utf8_lossy(c).into_owned() + "\r\n").collect())]
fn json_reads_alike_in_every_form(#[case] text: String) {
    let (items, _) = disks(&text, Dialect::Json).unwrap();
    assert_eq!(items, disks(JSON, Dialect::Json).unwrap().0);
    assert_eq!(items[0].file().unwrap().size, Bytes::gib(1));
    assert_eq!(items[0].port, Some(4420));
    assert_eq!(items[0].allowed_host.as_deref(), Some(""));
}

#[test]
fn only_a_list_of_records_is_one() {
    assert_eq!(json_records("[]\r\n"), Ok(Vec::new()));
    assert_eq!(json_records("{}"), Ok(Vec::new()));
    for text in [
        "",
        "\n",
        "null",
        "\"\"",
        "0",
        "[1]",
        "[{}",
        "no such item",
        "[[]]",
    ] {
        assert!(
            matches!(json_records(text), Err(ReplyError::Json { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn a_missing_property_is_an_error_and_never_empty() {
    for key in [
        "slot",
        "type",
        "file-path",
        "size",
        "mount-filesystem",
        "nvme-tcp-export",
    ] {
        let mut value: serde_json::Value = serde_json::from_str(JSON).unwrap();
        value[0].as_object_mut().unwrap().remove(key);
        match disks(&value.to_string(), Dialect::Json) {
            Err(ReplyError::Missing { key: missing, .. }) => assert_eq!(missing, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn a_mounted_pool_without_its_numbers_is_an_error() {
    let pool = r#"[{"slot":"p","type":"raid","mount-point":"p","size":10,"free":5}]"#;
    assert_eq!(disks(pool, Dialect::Json).unwrap().1.len(), 1);
    for key in ["\"size\":10,", ",\"free\":5"] {
        assert!(disks(&pool.replace(key, ""), Dialect::Json).is_err());
    }
    let waiting = pool.replace("\"free\":5", "\"mounted\":false");
    assert!(disks(&waiting, Dialect::Json).unwrap().1.is_empty());
    let listed = "0 B type=raid slot=\"p\" mount-point=\"p\" size=10\n";
    assert!(disks(listed, Dialect::Prose).unwrap().1.is_empty());
}

#[rstest]
#[case("size=12x")]
#[case("size=")]
#[case("size=50.0GiB")]
#[case("size=-1")]
#[case("size=99 999 999 999 999 999 999 999")]
#[case("mount-filesystem=maybe")]
#[case("nvme-tcp-export=")]
#[case("nvme-tcp-server-port=70000")]
fn a_value_that_cannot_be_is_an_error(#[case] pair: &str) {
    let key = pair.split('=').next().unwrap();
    let text: String = [
        "type=file slot=\"a\" file-path=/p/a.img",
        "size=1",
        "mount-filesystem=no",
        "nvme-tcp-export=no",
        "nvme-tcp-server-port=1",
    ]
    .map(|good| {
        if good.starts_with(&format!("{key}=")) {
            pair
        } else {
            good
        }
    })
    .join(" ");
    assert!(
        matches!(
            disks(&text, Dialect::Prose),
            Err(ReplyError::Invalid { .. })
        ),
        "{text}"
    );
}

fn script(steps: usize, readings: usize) -> Script {
    use crate::command::Command;
    Script::new(
        vec![Command::PrintVersion; steps],
        vec![Command::PrintDisks; readings],
    )
}

#[test]
fn an_answer_is_whole_only_to_its_last_marker() {
    let script = script(2, 1);
    let nonce = script.nonce();
    let whole = format!("{nonce} ok 0\r\n{nonce} ok 1\r\n{nonce} read 0\r\n[]\r\n{nonce} end\r\n");
    let answer = Answer::read(&whole, &script).unwrap();
    assert_eq!(answer.readings().unwrap(), ["[]\n"]);
    assert_eq!(answer.refused_step(), None);
    let last = whole.trim_end().len();
    for end in 0..last {
        let cut = Answer::read(&whole[..end], &script).unwrap();
        assert!(cut.readings().is_err(), "cut at {end}");
        assert_eq!(cut.refused_step(), None);
    }
}

#[test]
fn answers_that_are_out_of_order_prove_nothing() {
    let script = script(1, 1);
    let nonce = script.nonce();
    for text in [
        format!("{nonce} end"),
        format!("{nonce} ok 0\n{nonce} ok 0"),
        format!("{nonce} ok 1"),
        format!("{nonce} read 0\n{nonce} ok 0"),
        format!("{nonce} ok 0\n{nonce} read 0\n{nonce} end\nmore"),
        format!("{nonce} ok 0\n{nonce} read 0\n{nonce} end\n{nonce} end"),
    ] {
        assert!(
            matches!(
                Answer::read(&text, &script),
                Err(ReplyError::Disorder { .. })
            ),
            "{text}"
        );
    }
}

#[test]
fn a_refused_step_is_found_whether_the_console_stops_or_goes_on() {
    let script = script(2, 1);
    let nonce = script.nonce();
    let stopped = format!("{nonce} ok 0\nfailure: already have such entry\n");
    let (index, complaint) = Answer::read(&stopped, &script)
        .unwrap()
        .refused_step()
        .unwrap();
    assert_eq!((index, complaint.kind), (1, crate::FailureKind::Exists));
    let went_on =
        format!("no such item\n{nonce} ok 0\n{nonce} ok 1\n{nonce} read 0\n[]\n{nonce} end");
    let answer = Answer::read(&went_on, &script).unwrap();
    assert_eq!(answer.refused_step().unwrap().0, 0);
    assert!(answer.readings().is_ok());
    let in_a_reading = format!("{nonce} ok 0\n{nonce} ok 1\n{nonce} read 0\nno such item\n");
    let answer = Answer::read(&in_a_reading, &script).unwrap();
    assert_eq!(answer.refused_step(), None);
    assert!(answer.complaint().is_some());
    let answer = Answer::read(&format!("{in_a_reading}{nonce} end"), &script).unwrap();
    assert!(answer.complaint().is_some(), "the console went on");
}

#[test]
fn a_wrapped_listing_of_files_keeps_its_names() {
    let text = "\r\n 0   name=storage-pool/rds-csi/pvc-bvhguhbpb\r\n     nhx5gsxb5fgwhjmhy.img type=.img\r\n     file size=10 240\r\n\r\n10   name=storage-pool/rds-csi/my dir type=dir\r\n     ectory last-modified=2025-11-11 16:47:07\r\n";
    let files = files(text, Dialect::Prose).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(
        files[0].name,
        "storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"
    );
    assert_eq!(
        file_names(text, Dialect::Prose).unwrap()[1],
        "storage-pool/rds-csi/my dir"
    );
}

#[test]
fn the_legend_alone_is_an_empty_listing_and_other_text_is_none() {
    for text in ["", "\r\n", "Flags: X - DISABLED,\r\n A - ACQUIRED\r\n\r\n"] {
        assert_eq!(prose_records(text, Listing::Disk), Ok(Vec::new()));
    }
    for text in [
        "no such item\n",
        "Columns: SLOT\n 0 BM usb1\n",
        "interrupted",
    ] {
        assert!(
            matches!(
                prose_records(text, Listing::Disk),
                Err(ReplyError::Prose { .. })
            ),
            "{text:?}"
        );
    }
}

#[test]
fn a_property_that_comes_twice_is_an_error() {
    let text = " 0 B type=file slot=\"a\" slot=\"b\"\n";
    assert!(matches!(
        prose_records(text, Listing::Disk),
        Err(ReplyError::Duplicate { .. })
    ));
}
