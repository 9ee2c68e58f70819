//! What a person may say, and what they are told when they say it wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rds_csi_core::names::parameter::FS_TYPE;
use rds_csi_core::parameters::{ALLOWED, StorageClassParameters};
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::arguments::controller;
use crate::helm::{chart, file, render, render_with, template};

/// What helm says about the minimal values with one more.
pub(crate) fn refusal(setting: &str) -> String {
    let file = file("minimal");
    let ended = template(&["--values", file.to_str().unwrap(), "--set-json", setting]);
    assert!(!ended.success, "{setting} is taken");
    ended.stderr
}

#[rstest]
#[case("device.address")]
#[case("device.hostKeys")]
#[case("device.sshKeySecret.name")]
#[case("device.nvmeAddress")]
#[case("device.volumePath")]
#[case("clusterId")]
#[case("image.driver.repository")]
#[case("image.webhook.repository")]
fn what_is_missing_is_named_with_an_example(#[case] value: &str) {
    let empty = if value == "device.hostKeys" {
        "[]"
    } else {
        "\"\""
    };
    let said = refusal(&format!("{value}={empty}"));
    let line = said.lines().find(|line| line.starts_with("- ")).unwrap();
    assert!(line.starts_with(&format!("- {value} is not set")), "{said}");
    assert!(
        line.contains("it takes") && line.contains("such as"),
        "{line}"
    );
    assert!(line.contains(&format!("{value}=")), "{line}");
    assert_eq!(said.matches("\n- ").count(), 1, "{said}");
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let ended = template(&["--set", "webhook.certificates.mode=provided"]);
    assert!(!ended.success);
    assert_eq!(
        ended.stderr.matches(" is not set").count(),
        10,
        "{}",
        ended.stderr
    );
}

#[rstest]
#[case("devise.address=\"a\"", "devise")]
#[case("device.adress=\"10.0.0.2\"", "adress")]
#[case("device.nvmePort=0", "/device/nvmePort")]
#[case("device.nvmePort=\"4420\"", "/device/nvmePort")]
#[case(
    "device.hostKeys=[\"10.0.0.2 ssh-ed25519 AAAA\"]",
    "/device/hostKeys/0"
)]
#[case("device.volumePath=\"pool\"", "/device/volumePath")]
#[case("device.overcommitRatio=0.5", "/device/overcommitRatio")]
#[case("device.user=\"admin+ct80w\"", "/device/user")]
#[case("clusterId=\"Production\"", "/clusterId")]
#[case("image.driver.digest=\"sha256:0\"", "/image/driver/digest")]
#[case("image.webhook.repository=\"a/b:v1\"", "/image/webhook/repository")]
#[case("driverName=\"Rds.csi\"", "/driverName")]
#[case("controller.replicas=0", "/controller/replicas")]
#[case("controller.replicas=\"two\"", "/controller/replicas")]
#[case("node.maxUnavailable=\"ten\"", "/node/maxUnavailable")]
#[case("node.maxUnavailable=\"0%\"", "/node/maxUnavailable")]
#[case("node.maxUnavailable=\"101%\"", "/node/maxUnavailable")]
#[case("controller.adminPort=443", "/controller/adminPort")]
#[case(
    "webhook.certificates.certManager.issuerRef={\"kind\":\"ClusterIssuer\"}",
    "/webhook/certificates/certManager/issuerRef"
)]
#[case("node.kubeletDir=\"/var/lib/kubelet/\"", "/node/kubeletDir")]
#[case("listenAddress=\"::\"", "/listenAddress")]
#[case("sidecars.provisioner.timeout=60", "/sidecars/provisioner/timeout")]
#[case("sidecars.attacher.workers=0", "/sidecars/attacher/workers")]
#[case(
    "webhook.failurePolicy.persistentVolumes=\"fail\"",
    "/webhook/failurePolicy/persistentVolumes"
)]
#[case("webhook.failurePolicy.pods=\"Fail\"", "pods")]
#[case("webhook.timeoutSeconds=1", "/webhook/timeoutSeconds")]
#[case("webhook.timeoutSeconds=31", "/webhook/timeoutSeconds")]
#[case(
    "webhook.certificates.mode=\"cert-manager\"",
    "/webhook/certificates/mode"
)]
#[case(
    "webhook.certificates.provided.caBundle=\"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\"",
    "/webhook/certificates/provided/caBundle"
)]
#[case("monitoring.podMonitors=true", "/monitoring/podMonitors")]
#[case("log.format=\"yaml\"", "/log/format")]
#[case("storageClasses=[{\"fsType\":\"ext4\"}]", "name")]
#[case(
    "storageClasses=[{\"name\":\"a\",\"fsType\":\"btrfs\"}]",
    "/storageClasses/0/fsType"
)]
#[case(
    "storageClasses=[{\"name\":\"a\",\"parameters\":{\"nvmeAdress\":\"a\"}}]",
    "nvmeAdress"
)]
#[case(
    "storageClasses=[{\"name\":\"a\",\"fsType\":\"xfs\",\"parameters\":{\"csi.storage.k8s.io/fstype\":\"ext4\"}}]",
    "csi.storage.k8s.io/fstype"
)]
#[case(
    "storageClasses=[{\"name\":\"a\",\"claimPropertySets\":[{\"accessModes\":[\"ReadOnlyMany\"],\"volumeMode\":\"Block\"}]}]",
    "/storageClasses/0/claimPropertySets/0/accessModes/0"
)]
fn a_value_that_cannot_be_is_refused_by_its_name(#[case] setting: &str, #[case] named: &str) {
    let said = refusal(setting);
    assert!(said.contains(named), "{setting}: {said}");
}

#[rstest]
#[case("device.commandTimeout", "6m", "it takes 1s to 5m")]
#[case("node.connectTimeout", "0s", "it takes 1s to 5m")]
#[case("monitoring.interval", "0s", "it takes 1s to 24h")]
#[case("sidecars.attacher.timeout", "0m", "it takes 1s to 24h")]
#[case(
    "sidecars.leaderElection.renewDeadline",
    "10s",
    "less than leaseDuration, which is 10s"
)]
#[case(
    "sidecars.leaderElection.retryPeriod",
    "6s",
    "renewDeadline, which is 7s"
)]
#[case(
    "webhook.certificates.self.leafLifetime",
    "8761h",
    "it takes 45s to 8760h"
)]
#[case("webhook.certificates.self.leafLifetime", "44s", "it takes 45s to")]
#[case(
    "webhook.certificates.self.caLifetime",
    "2160h",
    "three times leafLifetime, which is 2160h"
)]
#[case(
    "webhook.certificates.self.caLeadTime",
    "24h0m1s",
    "it takes 1s to 24h"
)]
fn a_duration_that_a_program_would_refuse_is_refused_in_a_sentence(
    #[case] value: &str,
    #[case] given: &str,
    #[case] takes: &str,
) {
    let said = refusal(&format!("{value}=\"{given}\""));
    let sentence = format!("- {value} is {given}: ");
    let line = said.lines().find(|line| line.starts_with(&sentence));
    let line = line.unwrap_or_else(|| panic!("{sentence}: {said}"));
    assert!(line.contains(takes), "{line}");
}

/// A plain off in a file of values is false when helm has read it.
#[test]
fn a_word_that_yaml_reads_as_no_is_taken_for_that_word() {
    let release = render_with("minimal", &["--set-json", "attachments.fencing=false"]);
    let arguments = controller(&release).containers[0].args.clone().unwrap();
    assert!(
        arguments.contains(&"--fencing=off".to_owned()),
        "{arguments:?}"
    );
}

/// Two containers of one pod cannot listen on one port.
#[test]
fn the_port_of_a_sidecar_is_refused_in_a_sentence() {
    for container in &controller(&render("minimal")).containers[1..] {
        let port = container.ports.as_deref().unwrap()[0].container_port;
        let said = refusal(&format!("controller.adminPort={port}"));
        let sentence = format!(
            "controller.adminPort is {port}, where {} of",
            container.name
        );
        assert!(said.contains(&sentence), "{said}");
    }
}

/// Every number that a class can have, chosen by its range.
fn numbers(choose: fn(i64, i64) -> i64) -> BTreeMap<String, String> {
    let text = fs::read_to_string(chart().join("files/parameters.yaml")).unwrap();
    let known: BTreeMap<String, Value> = serde_saphyr::from_str(&text).unwrap();
    let ranges: BTreeMap<String, (i64, i64)> =
        serde_json::from_value(known["numbers"].clone()).unwrap();
    ranges
        .into_iter()
        .map(|(key, (least, most))| (key, choose(least, most).to_string()))
        .collect()
}

/// A class with these parameters, as integers or as strings.
fn class_of(parameters: &BTreeMap<String, String>, as_text: bool) -> String {
    let parameters: BTreeMap<&str, Value> = parameters
        .iter()
        .map(|(key, number)| match as_text {
            true => (key.as_str(), json!(number)),
            false => (key.as_str(), serde_json::from_str(number).unwrap()),
        })
        .collect();
    let classes = json!([{"name": "a", "parameters": parameters}]);
    format!("storageClasses={classes}")
}

#[test]
fn numbers_that_the_driver_refuses_are_refused_in_a_sentence_each() {
    for (beyond, as_text) in [
        (numbers(|least, _| least - 1), false),
        (numbers(|_, most| most + 1), false),
        (numbers(|_, most| most + 1), true),
    ] {
        let errors = StorageClassParameters::parse_all(&beyond).unwrap_err();
        assert_eq!(errors.len(), beyond.len(), "{errors:?}");
        let said = refusal(&class_of(&beyond, as_text));
        for (key, number) in beyond {
            let sentence = format!("parameter {key} of the class a in storageClasses is {number}:");
            assert!(said.contains(&sentence), "{sentence} {said}");
        }
    }
}

#[rstest]
#[case(json!({"fastIoFailTmo": 30, "ctrlLossTmo": 30}), true)]
#[case(json!({"fastIoFailTmo": "30", "ctrlLossTmo": 0}), true)]
#[case(json!({"fastIoFailTmo": 29, "ctrlLossTmo": "30"}), false)]
#[case(json!({"fastIoFailTmo": 30, "ctrlLossTmo": -1}), false)]
#[case(json!({"fastIoFailTmo": 30}), false)]
fn io_fails_before_the_connection_is_given_up_or_not_at_all(
    #[case] parameters: Value,
    #[case] is_refused: bool,
) {
    let text = |value: &Value| value.to_string().trim_matches('"').to_owned();
    let all = parameters.as_object().unwrap().iter();
    let all = all.map(|(key, value)| (key.clone(), text(value))).collect();
    assert_eq!(StorageClassParameters::parse_all(&all).is_err(), is_refused);
    let file = file("minimal");
    let class = format!(
        "storageClasses={}",
        json!([{"name": "a", "parameters": parameters}])
    );
    let ended = template(&["--values", file.to_str().unwrap(), "--set-json", &class]);
    assert_eq!(!ended.success, is_refused, "{}", ended.stderr);
    let sentence =
        "- parameter fastIoFailTmo of the class a in storageClasses is 30: it takes less";
    assert_eq!(
        ended.stderr.contains(sentence),
        is_refused,
        "{}",
        ended.stderr
    );
}

#[test]
fn numbers_at_either_end_of_their_ranges_are_taken() {
    let file = file("minimal");
    for (end, as_text) in [
        (numbers(|least, _| least), false),
        (numbers(|_, most| most), true),
        (numbers(|_, most| most), false),
    ] {
        // Of two that are bounded by each other, one at a time.
        for left_out in ["ctrlLossTmo", "fastIoFailTmo"] {
            let mut end = end.clone();
            end.remove(left_out).unwrap();
            let class = class_of(&end, as_text);
            let ended = template(&["--values", file.to_str().unwrap(), "--set-json", &class]);
            assert!(ended.success, "{}", ended.stderr);
        }
    }
}

fn schema() -> Value {
    serde_json::from_slice(&fs::read(chart().join("values.schema.json")).unwrap()).unwrap()
}

fn defaults() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap()
}

/// A schema and those that it refers to, one after another.
fn chain<'a>(schema: &'a Value, part: &'a Value) -> Vec<&'a Value> {
    let mut parts = vec![part];
    while let Some(reference) = parts.last().unwrap()["$ref"].as_str() {
        parts.push(schema.pointer(&reference[1..]).unwrap());
    }
    parts
}

/// The values within a value.
fn properties<'a>(schema: &'a Value, part: &'a Value) -> Option<&'a Map<String, Value>> {
    let chain = chain(schema, part);
    chain.last().unwrap()["properties"].as_object()
}

#[test]
fn the_schema_is_closed_and_describes_every_value() {
    let schema = schema();
    let mut values = 0;
    let mut waiting = vec![(String::new(), &schema)];
    while let Some((path, part)) = waiting.pop() {
        let chain = chain(&schema, part);
        match properties(&schema, part) {
            Some(properties) => {
                let closed = &chain.last().unwrap()["additionalProperties"];
                assert_eq!(closed, false, "{path}");
                let inner = properties.iter();
                waiting.extend(inner.map(|(key, inner)| (format!("{path}/{key}"), inner)));
            }
            None => {
                let mut described = chain.iter().map(|part| &part["description"]);
                assert!(described.any(Value::is_string), "{path}");
            }
        }
        values += 1;
    }
    assert!(values > 120, "{values}");
}

/// But for the filesystem, which is a value of its own: a class would get the key twice.
#[test]
fn the_schema_knows_the_parameters_of_the_driver_and_no_others() {
    let schema = schema();
    let known = schema["definitions"]["parameters"]["properties"]
        .as_object()
        .unwrap();
    let known: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    let parameters = ALLOWED.iter().map(|(key, _)| *key);
    assert_eq!(known, parameters.filter(|key| *key != FS_TYPE).collect());
}

/// Whoever reads values.yaml sees all there is.
#[test]
fn every_value_of_the_schema_has_a_default() {
    let (schema, defaults) = (schema(), defaults());
    let mut waiting = vec![(&schema, &defaults)];
    while let Some((part, given)) = waiting.pop() {
        for (key, inner) in properties(&schema, part).into_iter().flatten() {
            if ["global", "resources", "affinity", "issuerRef"].contains(&key.as_str()) {
                continue;
            }
            assert!(!given[key].is_null(), "{key} has no default");
            waiting.push((inner, &given[key]));
        }
    }
}

/// A line of comment above each value, but within lists and within what Kubernetes defines.
#[test]
fn every_value_has_a_comment() {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut values = 0;
    for pair in lines.windows(2) {
        let [above, line] = [pair[0], pair[1]].map(str::trim_start);
        let is_value = line
            .split_once(": ")
            .is_some_and(|(key, _)| !key.contains(['#', ' ']));
        let is_kubernetes = [
            "requests:",
            "limits:",
            "operator:",
            "effect:",
            "volumeMode:",
        ]
        .iter()
        .any(|key| line.starts_with(key));
        let in_list = above.starts_with("- ");
        if is_value && !is_kubernetes && !in_list {
            let described = above.starts_with('#') || line.starts_with("kubeApiBurst:");
            assert!(described, "{line} below {above}");
            values += 1;
        }
    }
    assert!(values > 80, "{values}");
}
