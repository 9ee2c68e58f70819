//! Words of which no program would start and no object come: refused as the programs read them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use rds_csi_core::filesystem::FsType;
use rds_csi_core::mount_options;
use rstest::rstest;
use serde_json::{Value, json};

use crate::arguments::start_with;
use crate::helm::{chart, file, render, render_with, template};
use crate::values::refusal;

/// Whether the minimal values are taken with one more.
fn is_taken(setting: &str) -> bool {
    let file = file("minimal");
    template(&["--values", file.to_str().unwrap(), "--set-json", setting]).success
}

/// Of the device alone: the port is another value, though device.address takes one.
#[rstest]
#[case("10.0.1.2")]
#[case("fd00::2")]
#[case("::ffff:10.0.1.2")]
#[case("1:2:3:4:5:6:7:8")]
#[case("10.0.1.2:4420")]
#[case("[fd00::2]:4420")]
#[case("[fd00::2]")]
#[case("fe80::1%eth0")]
#[case("999.1.1.1")]
#[case("010.0.1.2")]
#[case("10.0.1")]
#[case("1::2::3")]
#[case("fd00:::2")]
#[case("12345::1")]
#[case("cafe")]
#[case("rds.example.com")]
fn an_address_is_one_that_the_driver_reads(#[case] address: &str) {
    let reads = address.parse::<IpAddr>().is_ok();
    assert_eq!(
        is_taken(&format!("device.nvmeAddress={}", json!(address))),
        reads
    );
    for key in ["nvmeAddress", "rdsAddress"] {
        // Of a device by name any address may be.
        let classes = json!([{"name": "a", "parameters": {key: address}}]);
        let setting = format!("storageClasses={classes},device.address=\"rds\"");
        assert_eq!(is_taken(&setting), reads, "{key}");
    }
    if !reads {
        let said = refusal(&format!("device.nvmeAddress={}", json!(address)));
        assert!(said.contains("/device/nvmeAddress"), "{said}");
    }
}

/// With a port behind it, it is what the node listens on.
#[rstest]
#[case("0.0.0.0")]
#[case("127.0.0.1")]
#[case("[::]")]
#[case("[::1]")]
#[case("[fd00::1:2]")]
#[case("[1:2:3:4:5:6:7:8]")]
#[case("[1::3:4:5:6:7:8]")]
#[case("[1:2:3:4:5:6::8]")]
#[case("[1:2:3:4:5:6:7:8:9]")]
#[case("[1:2]")]
#[case("[:::]")]
#[case("[1::2::3]")]
#[case("[12345::]")]
#[case("::1")]
#[case("999.1.1.1")]
#[case("127.0.0.1:80")]
#[case("localhost")]
fn the_address_of_health_on_a_node_is_one_that_it_listens_on(#[case] address: &str) {
    let listens = format!("{address}:80").parse::<SocketAddr>().is_ok();
    let setting = format!("node.adminAddress={}", json!(address));
    assert_eq!(is_taken(&setting), listens);
    if !listens {
        assert!(refusal(&setting).contains("/node/adminAddress"));
    }
}

/// The programs read a word without a level as the name of something to be told of alone.
#[rstest]
#[case("info", true)]
#[case("off", true)]
#[case("info,rds_csi_routeros=debug", true)]
#[case("warn,rds_csi_driver::node=trace,kube=error", true)]
#[case("a=b=c", false)]
#[case("rds=loud", false)]
#[case("loud", false)]
#[case("info,", false)]
#[case("", false)]
fn a_log_level_is_one_that_the_programs_read(#[case] level: &str, #[case] taken: bool) {
    let setting = format!("log.level={}", json!(level));
    assert_eq!(is_taken(&setting), taken);
    if taken {
        assert_eq!(start_with("--log-level", level), Ok(()));
    } else {
        assert!(refusal(&setting).contains("/log/level"));
    }
}

/// What a program would end at as it starts, the chart refuses, and takes all else.
#[rstest]
#[case("device.address", "--rds-address", &[
    "10.0.0.2", "10.0.0.2:2222", "rds.example.com:1", "rds:65535", "fd00::2", "[fd00::2]", "[fd00::2]:22",
    ":22", "10.0.0.2:0", "10.0.0.2:65536", "rds:x", "a:b:c", "[fd00::2", "[fd00::2]:0", "[rds]:22",
])]
#[case("nqnPrefix", "--nqn-prefix", &[
    "nqn.2014-08.com.example:", "nqn.2014-08.com.example:rds:", "nqn.2014-08.com.example",
    "nqn.2014-08.com.example:rds", "nqn.2014-08.:", "nqn.2014.com.example:", "nqn.2014-08.com.example/a:",
])]
#[case("device.overcommitRatio", "--overcommit-ratio", &["1", "1.1", "4.35", "10", "1.125", "0.99", "10.01"])]
fn a_value_is_taken_that_the_programs_start_with(
    #[case] value: &str,
    #[case] flag: &str,
    #[case] given: &[&str],
) {
    let (mut taken, mut refused) = (0, 0);
    for given in given {
        let starts = start_with(flag, given).is_ok();
        let number = serde_json::from_str(given).ok().filter(Value::is_number);
        let given = number.unwrap_or_else(|| json!(given));
        let setting = format!("{value}={given}");
        assert_eq!(is_taken(&setting), starts, "{setting}");
        if !starts {
            let named = format!("/{}", value.replace('.', "/"));
            assert!(refusal(&setting).contains(&named), "{setting}");
        }
        *(if starts { &mut taken } else { &mut refused }) += 1;
    }
    assert!(taken >= 2 && refused >= 3, "{taken} and {refused}");
}

#[test]
fn a_prefix_leaves_as_much_room_as_the_driver_asks_for() {
    for (length, starts) in [(164, true), (165, false)] {
        let prefix = format!("{:a<1$}:", "nqn.2014-08.com.example.", length - 1);
        assert_eq!(start_with("--nqn-prefix", &prefix).is_ok(), starts);
        assert_eq!(is_taken(&format!("nqnPrefix={}", json!(prefix))), starts);
    }
}

/// A key that is cut off while it is copied.
#[test]
fn half_a_host_key_is_refused() {
    let setting = r#"device.hostKeys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"]"#;
    assert!(start_with("--rds-host-key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA").is_err());
    assert!(refusal(setting).contains("/device/hostKeys/0"));
}

/// The path of a socket has room for no more.
#[test]
fn a_directory_of_kubelet_in_which_the_plugin_cannot_listen_is_refused_in_a_sentence() {
    let rest = "/plugins/rds.csi.srvlab.io/csi.sock";
    for (length, starts) in [(100, true), (101, false)] {
        let directory = format!("{:a<1$}", "/var/lib/", length - rest.len());
        let endpoint = format!("{directory}{rest}");
        assert_eq!(start_with("--kubelet-endpoint", &endpoint).is_ok(), starts);
        let setting = format!("node.kubeletDir={}", json!(directory));
        assert_eq!(is_taken(&setting), starts, "{setting}");
        if !starts {
            let said = refusal(&setting);
            assert!(
                said.contains(&format!("- node.kubeletDir is {directory}: ")),
                "{said}"
            );
        }
    }
}

/// What the driver would refuse each claim of a class for: nobody reviews the classes of a first
/// installation, and parameters cannot be changed afterwards.
#[rstest]
#[case::option(json!({"mountOptions": ["noatime, nobarrier"]}), "mountOptions of the class a in storageClasses has nobarrier: with ext4 it takes ro, ")]
#[case::of_another_filesystem(json!({"fsType": "ext4", "mountOptions": ["nouuid"]}), "has nouuid: with ext4 it takes")]
#[case::elsewhere(json!({"parameters": {"volumePath": "/pool1/rds-csi2"}}), "volumePath of the class a in storageClasses is /pool1/rds-csi2: it takes device.volumePath, which is /pool1/rds-csi, or")]
#[case::above(json!({"parameters": {"volumePath": "pool1/rds"}}), "volumePath of the class a in")]
#[case::another_device(json!({"parameters": {"rdsAddress": "10.0.0.3"}}), "rdsAddress of the class a in storageClasses is 10.0.0.3: it takes the address of device.address, which is 10.0.0.2;")]
#[case::of_another_family(json!({"parameters": {"rdsAddress": "fd00::2"}}), "rdsAddress of the class a in")]
fn a_class_that_would_serve_no_claim_is_refused_in_a_sentence(
    #[case] mut class: Value,
    #[case] sentence: &str,
) {
    class["name"] = json!("a");
    let said = refusal(&format!("storageClasses={}", json!([class])));
    assert!(said.contains(sentence), "{said}");
    assert_eq!(said.matches("\n- ").count(), 1, "{said}");
}

#[rstest]
#[case::options(json!({"fsType": "xfs", "mountOptions": ["noatime,, nouuid", "defaults"]}), "10.0.0.2")]
#[case::below(json!({"parameters": {"volumePath": "pool1/rds-csi/fast"}}), "10.0.0.2")]
#[case::with_a_port(json!({"parameters": {"rdsAddress": "10.0.0.2"}}), "10.0.0.2:2222")]
#[case::spelled_otherwise(json!({"parameters": {"rdsAddress": "fd00:0::2"}}), "[fd00::2]:22")]
#[case::by_name(json!({"parameters": {"rdsAddress": "10.0.0.3"}}), "rds.example.com")]
fn a_class_that_may_serve_is_taken(#[case] mut class: Value, #[case] device: &str) {
    class["name"] = json!("a");
    let file = file("minimal");
    let classes = format!("storageClasses={}", json!([class]));
    let device = format!("device.address={}", json!(device));
    let words = ["--set-json", &classes, "--set-json", &device];
    let ended = template(&[&["--values", file.to_str().unwrap()], &words[..]].concat());
    assert!(ended.success, "{}", ended.stderr);
}

/// The chart knows them by a list of its own.
#[test]
fn the_mount_options_of_classes_are_those_of_the_driver() {
    let text = std::fs::read_to_string(chart().join("files/parameters.yaml")).unwrap();
    let known: Value = serde_saphyr::from_str(&text).unwrap();
    for (name, fs) in [("ext4", FsType::Ext4), ("xfs", FsType::Xfs)] {
        let lists = [
            &known["mountOptions"]["common"],
            &known["mountOptions"][name],
        ];
        let options = lists.iter().flat_map(|list| list.as_array().unwrap());
        let options: Vec<&str> = options.map(|option| option.as_str().unwrap()).collect();
        assert_eq!(options, mount_options::allowed(fs));
    }
}

/// A key that is given twice makes no object, and a selector is never another.
#[test]
fn a_label_of_the_chart_is_refused_in_a_sentence_wherever_labels_are_given() {
    let release = render("minimal");
    let mut own = BTreeSet::new();
    for object in &release.objects {
        own.extend(object["metadata"]["labels"].as_object().unwrap().keys());
    }
    assert!(own.contains(&"app.kubernetes.io/component".to_owned()));
    for value in ["labels", "monitoring.labels", "monitoring.dashboard.labels"] {
        let labels: BTreeMap<_, _> = own.iter().map(|key| (key, "x")).collect();
        let said = refusal(&format!("{value}={}", json!(labels)));
        for key in &own {
            assert!(said.contains(&format!("\n- {value} has {key}: ")), "{said}");
        }
    }
}

/// Those of the monitoring go before those of every object.
#[test]
fn a_label_that_is_given_in_two_places_is_given_once() {
    let labels = r#"labels={"release":"mine"}"#;
    let release = render_with("full", &["--set-json", labels]);
    for kind in ["PodMonitor", "PrometheusRule"] {
        let object = release.of(kind).next().unwrap();
        assert_eq!(
            object["metadata"]["labels"]["release"], "prometheus",
            "{kind}"
        );
    }
}

#[test]
fn a_class_that_is_named_twice_is_refused_in_a_sentence() {
    let classes = json!([{"name": "a"}, {"name": "b"}, {"name": "a", "fsType": "xfs"}]);
    let said = refusal(&format!("storageClasses={classes}"));
    let sentence = "\n- storageClasses has the class a more than once: ";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert!(!said.contains("class b"), "{said}");
}
