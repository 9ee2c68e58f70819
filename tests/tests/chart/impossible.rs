//! Words of which no program would start and no object come: refused as the programs read them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use rstest::rstest;
use serde_json::json;

use crate::arguments::starts_with_log_level;
use crate::helm::{file, render, render_with, template};
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
        let classes = json!([{"name": "a", "parameters": {key: address}}]);
        assert_eq!(
            is_taken(&format!("storageClasses={classes}")),
            reads,
            "{key}"
        );
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
        assert_eq!(starts_with_log_level(level), Ok(()));
    } else {
        assert!(refusal(&setting).contains("/log/level"));
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
