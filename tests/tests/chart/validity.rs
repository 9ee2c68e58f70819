//! What helm and an API server's schemas say of the chart.

use std::fs;

use rds_csi_tests::tool::{self, Ended};

use crate::helm::{chart, file, render, sets, template_of};
use crate::schema;

#[test]
fn helm_finds_nothing_to_complain_about() {
    for set in sets() {
        let arguments = [
            "lint",
            "--strict",
            "--quiet",
            "--values",
            file(&set).to_str().unwrap(),
            chart().to_str().unwrap(),
        ]
        .map(str::to_owned);
        let ended = tool::run("helm", &arguments).unwrap();
        assert!(ended.success, "{set}: {}{}", ended.stdout, ended.stderr);
    }
}

/// What kubeconform says of rendered manifests. Strict: a key that the API server does not
/// know is an error, and so is one given twice.
fn conform(manifests: &[(&str, &str)]) -> Ended {
    let scratch = tempfile::tempdir().unwrap();
    let schemas = scratch.path().join("schemas");
    schema::write(&schemas);
    let location = format!(
        "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        schemas.display()
    );
    let mut arguments: Vec<String> = ["-strict", "-summary"]
        .iter()
        .chain(&["-schema-location", &location])
        .map(|text| (*text).to_owned())
        .collect();
    for (name, text) in manifests {
        let path = scratch.path().join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        arguments.push(path.display().to_string());
    }
    tool::run("kubeconform", &arguments).unwrap()
}

fn assert_conform(manifests: &[(&str, &str)]) {
    let ended = conform(manifests);
    assert!(ended.success, "{}{}", ended.stdout, ended.stderr);
    let none = "Invalid: 0, Errors: 0";
    assert!(ended.stdout.contains(none), "{}", ended.stdout);
}

#[test]
fn every_object_has_the_form_that_the_api_server_asks_for() {
    let texts: Vec<(String, String)> = sets()
        .into_iter()
        .map(|set| (set.clone(), render(&set).text))
        .collect();
    let manifests: Vec<(&str, &str)> = texts
        .iter()
        .map(|(set, text)| (set.as_str(), text.as_str()))
        .collect();
    assert_conform(&manifests);
}

/// One for each kind of another project too.
#[test]
fn a_key_that_the_api_server_does_not_know_is_found() {
    let misspelt = [
        ("minimal", "attachRequired:", "attachmentRequired:"),
        ("full", "podMetricsEndpoints:", "podMetricEndpoints:"),
        ("full", "for: 10m", "during: 10m"),
        ("cert-manager", "selfSigned:", "selfsigned:"),
        ("cert-manager", "dnsNames:", "dnsName:"),
    ];
    let texts = misspelt.map(|(set, right, wrong)| render(set).text.replace(right, wrong));
    let names = misspelt.map(|(_, right, _)| right.split(':').next().unwrap());
    let manifests: Vec<(&str, &str)> = names
        .into_iter()
        .zip(texts.iter().map(String::as_str))
        .collect();
    let ended = conform(&manifests);
    assert!(!ended.success);
    for (_, _, wrong) in misspelt {
        let key = wrong.split(':').next().unwrap();
        assert!(ended.stdout.contains(key), "{key}: {}", ended.stdout);
    }
}

/// A Service's name begins with a letter, and has no dots.
#[test]
fn a_release_after_which_no_service_can_be_named_is_refused_in_a_sentence() {
    let file = file("minimal");
    for release in ["42", "rds-csi.two"] {
        let ended = template_of(release, &["--values", file.to_str().unwrap()]);
        assert!(!ended.success, "{release}");
        let said = format!("- the objects would be named {release}");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        let other = [
            "--values",
            file.to_str().unwrap(),
            "--set",
            "fullnameOverride=two",
        ];
        assert!(template_of(release, &other).success, "{release}");
    }
}

/// The name of a Job is a label of its pods, which takes 63 characters.
#[test]
fn the_longest_name_of_a_release_leaves_room_for_a_job() {
    let (file, release) = (file("full"), "a".repeat(53));
    let ended = template_of(&release, &["--values", file.to_str().unwrap()]);
    assert!(ended.success, "{}", ended.stderr);
    let jobs = ended
        .stdout
        .split("\n---\n")
        .filter(|text| text.contains("kind: Job\n"));
    let names = jobs.map(|job| job.lines().find_map(|line| line.strip_prefix("  name: ")));
    let names: Vec<&str> = names.map(Option::unwrap).collect();
    assert!(
        !names.is_empty() && names.iter().all(|name| name.len() <= 63),
        "{names:?}"
    );
}

/// Names may be digits alone, or look like another thing that YAML has a form for.
#[test]
fn names_that_look_like_numbers_stay_names() {
    let sets = r#"[{"accessModes":["ReadWriteOnce"],"volumeMode":"Block"}]"#;
    let classes = format!(
        r#"storageClasses=[{{"name":"1.5","claimPropertySets":{sets}}},{{"name":"true"}}]"#
    );
    let strings = [
        "driverName=123",
        "fullnameOverride=no",
        "device.sshKeySecret.name=456",
        "device.sshKeySecret.key=789",
        "node.priorityClassName=1",
        "labels.team=7",
        "webhook.certificates.provided.secretName=0x1",
        "tests.storageClass=1.5",
    ]
    .join(",");
    let rendered = ["full", "provided", "cert-manager"].map(|set| {
        let file = file(set);
        let values = ["--values", file.to_str().unwrap()];
        let names = ["--set-string", &strings, "--set-json", &classes];
        let more = ["--namespace", "2026", "--set", "cdi.storageProfiles=always"];
        let ended = template_of("42", &[&values[..], &names, &more].concat());
        assert!(ended.success, "{set}: {}", ended.stderr);
        (set, ended.stdout)
    });
    let manifests = rendered.each_ref().map(|(set, text)| (*set, text.as_str()));
    assert_conform(&manifests);
}
