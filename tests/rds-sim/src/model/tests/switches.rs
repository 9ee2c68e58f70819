//! Each switch changes what it says.

use std::fs;
use std::time::Duration;

use super::Bench;
use crate::nvmet::Access;

const LONG: &str = "pvc-0123456789012345678901234567890123456789";

fn add_script(slot: &str, path: &str) -> String {
    format!("/disk add type=file slot={slot} file-path={path} file-size=4096")
}

#[test]
fn exit_status() {
    let mut bench = Bench::new();
    assert_eq!(bench.model.exec("/disk foo").status, 0);
    bench.switch("error-status=one");
    assert_eq!(bench.model.exec("/disk foo").status, 1);
    assert_eq!(bench.model.exec(":error x").status, 1);
    assert_eq!(bench.model.exec(":put x").status, 0);
}

#[test]
fn line_ends_and_empty_prints() {
    let mut bench = Bench::new();
    assert!(
        bench
            .run("/disk print detail where slot=x")
            .starts_with("Flags: X - DISABLED; ")
    );
    bench.switch("empty-print=nothing");
    assert_eq!(bench.run("/disk print detail where slot=x"), "");
    bench.switch("line-ends=crlf");
    assert_eq!(bench.run(":put x"), "x\r\n");
}

#[test]
fn empty_lists() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.run("/disk remove [find slot=x]; /file remove [find name=x]"),
        ""
    );
    bench.switch("empty-find=no-such-item");
    assert_eq!(bench.run("/disk remove [find slot=x]"), "no such item\n");
    assert_eq!(bench.run("/file remove [find name=x]"), "no such item\n");
}

#[test]
fn long_slots() {
    let mut bench = Bench::new();
    let script = add_script(LONG, "/storage-pool/l.img");
    bench.switch("slot-limit-text=failure: too long");
    assert_eq!(bench.run(&script), "failure: too long\n");
    bench.switch("slot-limit=truncate");
    assert_eq!(bench.run(&script), "");
    assert!(bench.model.device().item(&LONG[..32]).is_some());
    bench.switch("slot-limit=accept");
    assert_eq!(bench.run(&script), "");
    assert!(bench.model.device().item(LONG).is_some());
}

#[test]
fn duplicates() {
    let mut bench = Bench::new();
    bench.add("a");
    let same_slot = add_script("a", "/storage-pool/other.img");
    assert_eq!(bench.run(&same_slot), "failure: already have such entry\n");
    bench.switch("duplicate-slot=rename");
    assert_eq!(bench.run(&same_slot), "");
    assert!(bench.model.device().item("a-1").is_some());
    let same_file = add_script("b", "/storage-pool/csi/a.img");
    bench.switch("duplicate-file=reject");
    assert_eq!(bench.run(&same_file), "failure: already have such entry\n");
    bench.switch("duplicate-file=allow");
    assert_eq!(bench.run(&same_file), "");
    bench.run("/disk set a nvme-tcp-server-nqn=nqn.a");
    bench.switch("duplicate-nqn=reject");
    let script = "/disk set b nvme-tcp-server-nqn=nqn.a";
    assert_eq!(bench.run(script), "failure: already have such entry\n");
    bench.switch("duplicate-nqn=allow");
    assert_eq!(bench.run(script), "");
}

#[test]
fn add_over_an_existing_file() {
    let mut bench = Bench::new();
    let path = bench.directory.path().join("storage-pool/old.img");
    fs::write(&path, "old tenant").unwrap();
    let script = add_script("a", "/storage-pool/old.img");
    bench.switch("add-over-file=fail");
    assert_eq!(bench.run(&script), "failure: file exists\n");
    bench.switch("add-over-file=reuse");
    assert_eq!(bench.run(&script), "");
    assert!(fs::read(&path).unwrap().starts_with(b"old tenant"));
    bench.run("/disk remove a");
    bench.switch("add-over-file=zero");
    assert_eq!(bench.run(&script), "");
    assert_eq!(fs::read(&path).unwrap(), vec![0; 4096]);
}

#[test]
fn space() {
    let mut bench = Bench::new();
    bench.add("a");
    let free = ":put [/disk get raid1 free]";
    assert_eq!(bench.run(free), format!("{}\n", 1_u64 << 40));
    bench.switch("space=apparent");
    assert_eq!(bench.run(free), format!("{}\n", (1_u64 << 40) - (1 << 20)));
    let big = "/disk add type=file slot=big file-path=/storage-pool/big file-size=2T";
    bench.switch("allocation=full");
    assert_eq!(bench.run(big), "failure: no space left on device\n");
    bench.switch("allocation=sparse");
    assert_eq!(bench.run(big), "");
}

#[test]
fn removal_in_use() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.model.set_connected("a", true);
    bench.switch("file-remove-in-use=fail");
    let file = "/file remove [find name=\"storage-pool/csi/a.img\"]";
    assert_eq!(bench.run(file), "failure: in use\n");
    bench.switch("remove-connected=fail");
    assert_eq!(bench.run("/disk remove a"), "failure: in use\n");
    bench.switch("remove-connected=succeed");
    bench.switch("file-remove-in-use=succeed");
    assert_eq!(bench.run(file), "");
    assert_eq!(bench.run("/disk remove a"), "");
}

#[test]
fn changes_of_an_export_end_its_sessions() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("/disk set a nvme-tcp-export=yes");
    bench.switch("remove-connected=fail");
    bench.model.set_connected("a", true);
    bench.run("/disk set a comment=x nvme-tcp-server-allow-host-name=h");
    assert_eq!(bench.run("/disk remove a"), "failure: in use\n");
    bench.run("/disk set a nvme-tcp-export=no");
    assert_eq!(bench.run("/disk remove a"), "");
}

#[tokio::test(start_paused = true)]
async fn deletion_that_lingers() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.switch("deletion-delay-ms=3000");
    bench.run("/disk remove a; /file remove [find name=\"storage-pool/csi/a.img\"]");
    let listed = ":put [:len [/file find name=\"storage-pool/csi/a.img\"]]";
    assert_eq!(bench.run(listed), "1\n");
    tokio::time::advance(Duration::from_millis(3001)).await;
    assert_eq!(bench.run(listed), "0\n");
}

#[test]
fn shrinking() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.switch("shrink=reject");
    let smaller = "/disk set a file-size=4096";
    assert_eq!(bench.run(smaller), "invalid value for argument file-size\n");
    bench.switch("shrink=truncate");
    assert_eq!(bench.run(smaller), "");
    let path = bench.directory.path().join("storage-pool/csi/a.img");
    assert_eq!(fs::metadata(path).unwrap().len(), 4096);
}

#[test]
fn access_rules() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("/disk set a nvme-tcp-export=yes nvme-tcp-server-allow-host-name=\"h1,h2\"");
    let hosts = |names: &[&str]| Access::Hosts(names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(bench.model.exports()[0].access, hosts(&["h1,h2"]));
    bench.switch("access-rule=list");
    assert_eq!(bench.model.exports()[0].access, hosts(&["h1", "h2"]));
    bench.switch("access-rule=ignored");
    assert_eq!(bench.model.exports()[0].access, Access::Anybody);
    bench.switch("access-rule=other-name");
    assert_eq!(bench.model.exports()[0].access, hosts(&[]));
    for rule in ["exact", "other-name"] {
        bench.switch(&format!("access-rule={rule}"));
        bench.run("/disk set a nvme-tcp-server-allow-host-name=\"\"");
        assert_eq!(bench.model.exports()[0].access, Access::Anybody);
    }
}

#[test]
fn access_that_counts_from_the_next_export_on() {
    let mut bench = Bench::new();
    bench.switch("access-rule=at-export");
    bench.add("a");
    let allow = |host: &str| format!("/disk set a nvme-tcp-server-allow-host-name=\"{host}\"");
    let only = |host: &str| Access::Hosts(vec![host.to_owned()]);
    bench.run(&allow("h1"));
    bench.run("/disk set a nvme-tcp-export=yes");
    for (change, access) in [
        (&*allow("h2"), only("h1")),
        ("/disk set a nvme-tcp-export=yes", only("h1")),
        (
            "/disk set a disabled=yes; /disk set a disabled=no",
            only("h2"),
        ),
        (&*allow(""), only("h2")),
        (
            "/disk set a nvme-tcp-export=no; /disk set a nvme-tcp-export=yes",
            Access::Anybody,
        ),
        (&*allow("h1"), Access::Anybody),
    ] {
        assert_eq!(bench.run(change), "", "{change}");
        assert_eq!(bench.model.exports()[0].access, access, "{change}");
    }
    bench.model.switch_off(false);
    bench.model.switch_on(Duration::ZERO).unwrap();
    assert_eq!(bench.model.exports()[0].access, only("h1"));
}

#[test]
fn export_limit() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.add("b");
    bench.switch("export-limit=1");
    assert_eq!(bench.run("/disk set a nvme-tcp-export=yes"), "");
    assert_eq!(
        bench.run("/disk set b nvme-tcp-export=yes"),
        "failure: too many exports\n"
    );
}

#[test]
fn namespace_ids() {
    for (switch, same) in [
        ("namespace-ids=stable", true),
        ("namespace-ids=changing", false),
    ] {
        let mut bench = Bench::new();
        bench.switch(switch);
        bench.add("a");
        let uuid = |bench: &Bench| {
            bench
                .model
                .device()
                .item("a")
                .unwrap()
                .file()
                .unwrap()
                .uuid
                .clone()
        };
        let before = uuid(&bench);
        bench.model.switch_off(false);
        bench.model.switch_on(Duration::ZERO).unwrap();
        assert_eq!(uuid(&bench) == before, same, "{switch}");
    }
}

#[test]
fn shown_properties() {
    let mut bench = Bench::new();
    bench.add("a");
    let shows = |bench: &mut Bench| {
        let prose = bench
            .run("/disk print detail where slot=a")
            .contains("nvme-tcp-server-port");
        let json = bench.run(":put [/disk print as-value where slot=a]");
        assert_eq!(prose, json.contains("nvme-tcp-server-port"));
        prose
    };
    assert!(!shows(&mut bench));
    bench.run("/disk set a nvme-tcp-server-nqn=nqn.a");
    assert!(shows(&mut bench));
    bench.switch("server-properties=exported");
    assert!(!shows(&mut bench));
    bench.switch("server-properties=always");
    assert!(shows(&mut bench));
    bench.switch("booleans=yes-no");
    assert!(
        bench
            .run(":put [/disk print as-value where slot=a]")
            .contains("swap=no")
    );
}

#[test]
fn texts_and_units() {
    let mut bench = Bench::new();
    bench.switch("plain-bytes=reject");
    let plain = add_script("a", "/storage-pool/a.img");
    assert_eq!(bench.run(&plain), "invalid value for argument file-size\n");
    assert_eq!(bench.run(&plain.replace("4096", "4K")), "");
    bench.switch("clock-format=legacy");
    assert!(bench.run("/file print detail").contains("/20"));
    bench.switch("version=7.20 (stable)");
    assert_eq!(
        bench.run(":put [/system resource get version]"),
        "7.20 (stable)\n"
    );
    bench.switch("onerror=no");
    let script = ":onerror e in={ :error x } do={ :put caught }";
    assert_eq!(
        bench.run(script),
        "bad command name onerror (line 1 column 2)\n"
    );
    bench.switch("serialize=no");
    assert_eq!(
        bench.run(":put [:serialize to=json \"x\"]"),
        "bad command name serialize (line 1 column 8)\n"
    );
    bench.switch("abort-on-failure=no");
    assert_eq!(bench.run(":error x; :put on"), "x\non\n");
}
