//! What helm and an API server's schemas say of the chart.

use std::fs;

use rds_csi_tests::tool;

use crate::helm::{chart, file, render, sets};
use crate::schema;

/// Kinds of other projects, whose schemas are not to be had without them.
const FOREIGN: &str = "Certificate,Issuer,PodMonitor,PrometheusRule";

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

/// Strict: a key that the API server does not know is an error, and so is one given twice.
#[test]
fn every_object_has_the_form_that_the_api_server_asks_for() {
    let scratch = tempfile::tempdir().unwrap();
    let schemas = scratch.path().join("schemas");
    schema::write(&schemas);
    let mut arguments = vec![
        "-strict".to_owned(),
        "-summary".to_owned(),
        "-skip".to_owned(),
        FOREIGN.to_owned(),
        "-schema-location".to_owned(),
        format!(
            "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
            schemas.display()
        ),
    ];
    for set in sets() {
        let path = scratch.path().join(format!("{set}.yaml"));
        fs::write(&path, render(&set).text).unwrap();
        arguments.push(path.display().to_string());
    }
    let ended = tool::run("kubeconform", &arguments).unwrap();
    assert!(ended.success, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.contains("Invalid: 0, Errors: 0"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_key_that_the_api_server_does_not_know_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let schemas = scratch.path().join("schemas");
    schema::write(&schemas);
    let path = scratch.path().join("bad.yaml");
    let text = render("minimal")
        .text
        .replace("attachRequired:", "attachmentRequired:");
    fs::write(&path, text).unwrap();
    let arguments = [
        "-strict".to_owned(),
        "-schema-location".to_owned(),
        format!(
            "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
            schemas.display()
        ),
        path.display().to_string(),
    ];
    let ended = tool::run("kubeconform", &arguments).unwrap();
    assert!(!ended.success);
    assert!(
        ended.stdout.contains("attachmentRequired"),
        "{}",
        ended.stdout
    );
}
