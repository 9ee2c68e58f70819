//! Rules and dashboard name metrics that exist, and labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use k8s_openapi::api::core::v1::ConfigMap;
use rstest::rstest;
use serde_json::Value;

use crate::arguments::{controller, node, webhook};
use crate::helm::{Release, name, render, render_with, root};

/// The pages of metrics that the programs' own tests pin.
const PAGES: &[&str] = &[
    "driver/src/metrics/snapshots/rds_csi_driver__metrics__tests__the_page_of_a_controller.snap",
    "driver/src/metrics/snapshots/rds_csi_driver__metrics__tests__the_page_of_a_node.snap",
    "webhook/src/snapshots/rds_csi_webhook__metrics__tests__the_page_names_every_metric.snap",
];

/// Every sample of the pages: its name and its labels.
fn samples() -> BTreeMap<String, BTreeSet<String>> {
    let mut samples: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for line in text.lines().filter(|line| line.starts_with("rds_csi_")) {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = samples.entry(name.to_owned()).or_default();
            let pairs = rest.split_once('}').map_or("", |(pairs, _)| pairs);
            labels.extend(
                pairs
                    .split(',')
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(label, _)| label.to_owned()),
            );
        }
    }
    samples
}

/// The metrics of an expression, each with the labels that it is selected by.
fn metrics(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (start, _) in expression.match_indices("rds_csi_") {
        let rest = &expression[start..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let selector = rest[end..]
            .strip_prefix('{')
            .and_then(|s| s.split_once('}'));
        let labels = selector.map_or("", |(inside, _)| inside).split(',');
        let labels = labels
            .filter_map(|pair| pair.split_once(['=', '!']))
            .map(|(label, _)| label.trim().to_owned())
            .collect();
        found.push((rest[..end].to_owned(), labels));
    }
    found
}

/// Labels that Prometheus itself gives to what it reads.
const TARGET: [&str; 4] = ["instance", "job", "namespace", "pod"];

fn grouped_by(expression: &str) -> Vec<String> {
    expression
        .match_indices(" by (")
        .flat_map(|(start, by)| {
            let list = &expression[start + by.len()..];
            list.split(')').next().unwrap().split(',')
        })
        .map(|label| label.trim().to_owned())
        .collect()
}

fn check(expression: &str) {
    let samples = samples();
    let used = metrics(expression);
    assert!(!used.is_empty(), "{expression}");
    let mut known: BTreeSet<&str> = TARGET.into();
    for (metric, selected) in &used {
        let labels = samples
            .get(metric)
            .unwrap_or_else(|| panic!("no metric {metric}: {expression}"));
        known.extend(labels.iter().map(String::as_str));
        for label in selected {
            let has = labels.contains(label) || TARGET.contains(&label.as_str());
            assert!(has, "{metric} has no {label}: {expression}");
        }
    }
    for label in grouped_by(expression) {
        assert!(known.contains(label.as_str()), "no {label}: {expression}");
    }
}

/// Every value of a key, however deep.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|inner| all(inner, key, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| all(inner, key, found)),
        _ => {}
    }
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let release = render("full");
    let rule = release.of("PrometheusRule").next().unwrap();
    let mut expressions = Vec::new();
    all(rule, "expr", &mut expressions);
    assert!(expressions.len() >= 8);
    for expression in expressions {
        check(expression);
        // Another release in the cluster neither raises nor silences them.
        for (metric, selected) in metrics(expression) {
            let own = ["namespace", "pod"]
                .iter()
                .all(|label| selected.iter().any(|s| s == label));
            assert!(own, "{metric} of any release: {expression}");
        }
    }
}

/// A healthy certificate is renewed before its alert, however long it lasts, and one that is not
/// raises it long enough before its end.
#[rstest]
#[case(&[], 2160 * 3600 / 3)]
#[case(&["--set", "webhook.certificates.self.leafLifetime=36h"], 12 * 3600)]
#[case(&["--set", "webhook.certificates.self.leafLifetime=6h"], 2 * 3600)]
#[case(&["--set", "webhook.certificates.self.leafLifetime=48s,webhook.certificates.self.caLeadTime=1s"], 16)]
#[case(&["--set", "webhook.certificates.mode=certManager"], 720 * 3600)]
#[case(&["--set", "webhook.certificates.mode=certManager,webhook.certificates.certManager.renewBefore=10m"], 600)]
fn the_alert_of_a_certificate_comes_after_its_renewal_and_before_its_end(
    #[case] more: &[&str],
    #[case] left: u64,
) {
    let always = ["--set", "monitoring.prometheusRule=always"];
    let release = render_with("minimal", &[&always, more].concat());
    let rules = &release.of("PrometheusRule").next().unwrap()["spec"]["groups"][0]["rules"];
    let mut rules = rules.as_array().unwrap().iter();
    let alert = rules
        .find(|rule| rule["alert"] == "RdsCsiWebhookCertificateEnds")
        .unwrap();
    let (_, threshold) = alert["expr"]
        .as_str()
        .unwrap()
        .split_once("- time() < ")
        .unwrap();
    let threshold = threshold.parse::<u64>().unwrap();
    assert_eq!(threshold * 2, left);
    let lasting = alert["for"].as_str().unwrap().strip_suffix('s').unwrap();
    let lasting = lasting.parse::<u64>().unwrap();
    assert_eq!(lasting, (threshold / 2).min(3600));
}

fn dashboard(release: &Release) -> Value {
    let map: ConfigMap = release.one("-dashboard");
    serde_json::from_str(&map.data.unwrap()["rds-csi.json"]).unwrap()
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist_and_leaves_none_out() {
    let board = dashboard(&render("full"));
    let mut expressions = Vec::new();
    all(&board, "expr", &mut expressions);
    expressions.iter().for_each(|expression| check(expression));
    let shown: BTreeSet<String> = expressions
        .iter()
        .flat_map(|e| metrics(e))
        .map(|m| m.0)
        .collect();
    for sample in samples().into_keys() {
        let family = sample.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(
            shown.iter().any(|shown| shown.starts_with(family)),
            "{sample}"
        );
    }
}

#[test]
fn panels_do_not_lie_on_one_another() {
    let board = dashboard(&render("full"));
    let mut taken = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}

/// Nobody reaches what listens on the loopback of its node, and alerts would wait for ever.
#[test]
fn nodes_that_answer_themselves_alone_are_not_read() {
    for address in ["127.0.0.1", "[::1]"] {
        let setting = format!("node.adminAddress={address}");
        let release = render_with("full", &["--set", &setting]);
        let names: Vec<&str> = release.of("PodMonitor").map(name).collect();
        assert_eq!(
            names,
            ["rds-csi-controller", "rds-csi-webhook"],
            "{address}"
        );
    }
}

#[test]
fn podmonitors_name_ports_and_pods_that_exist() {
    let reached = ["--set", "node.adminAddress=0.0.0.0"];
    let release = render_with("full", &reached);
    let pods = [
        ("rds-csi-controller", controller(&release)),
        ("rds-csi-node", node(&release)),
        ("rds-csi-webhook", webhook(&release)),
    ];
    let monitors: Vec<&Value> = release.of("PodMonitor").collect();
    assert_eq!(monitors.len(), pods.len());
    for (monitor, (expected, pod)) in monitors.into_iter().zip(pods) {
        assert_eq!(name(monitor), expected);
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        let component = expected.trim_start_matches("rds-csi-");
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        assert_eq!(selector["app.kubernetes.io/component"], component);
        let offered: Vec<String> = pod
            .containers
            .into_iter()
            .flat_map(|container| container.ports.unwrap())
            .filter_map(|port| port.name)
            .filter(|name| name != "reviews")
            .collect();
        let read: Vec<&str> = monitor["spec"]["podMetricsEndpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|endpoint| endpoint["port"].as_str().unwrap())
            .collect();
        assert_eq!(read, offered);
    }
}

#[test]
fn kinds_of_the_operator_are_made_where_it_is() {
    let operator = [
        "--api-versions=monitoring.coreos.com/v1/PodMonitor",
        "--api-versions=monitoring.coreos.com/v1/PrometheusRule",
    ];
    for (set, more, expected) in [
        ("minimal", &[][..], 0),
        ("minimal", &operator[..], 4),
        ("driver-only", &operator[..], 0),
        ("renamed", &[][..], 4),
    ] {
        let release = render_with(set, more);
        let made = release.of("PodMonitor").count() + release.of("PrometheusRule").count();
        assert_eq!(made, expected, "{set} {more:?}");
    }
}
