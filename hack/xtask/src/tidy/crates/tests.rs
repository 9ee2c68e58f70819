//! Walls against small graphs in the form that cargo prints.

use serde_json::{Value, json};

use super::*;

/// Metadata with all walled crates, some others, and `edges` of (from, to, kind).
fn metadata(edges: &[(&str, &str, Option<&str>)]) -> Value {
    let ours = WALLS.iter().map(|wall| (wall.name, true));
    let others = [("serde", false), ("mio", false), ("tokio", false)];
    let all: Vec<_> = ours.chain(others).collect();
    let packages: Vec<_> = all
        .iter()
        .map(|(name, is_ours)| {
            json!({
                "id": name,
                "name": name,
                "manifest_path": format!("/repository/{name}/Cargo.toml"),
                "source": if *is_ours { Value::Null } else { json!("registry") },
            })
        })
        .collect();
    let nodes: Vec<_> = all
        .iter()
        .map(|(name, _)| {
            let from_here = edges.iter().filter(|(from, ..)| from == name);
            let deps: Vec<_> = from_here
                .map(|(_, to, kind)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            json!({ "id": name, "deps": deps })
        })
        .collect();
    json!({
        "workspace_root": "/repository",
        "packages": packages,
        "resolve": { "nodes": nodes },
    })
}

fn found(edges: &[(&str, &str, Option<&str>)]) -> Vec<String> {
    let violations = check(&metadata(edges)).unwrap();
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn allowed_dependencies_pass() {
    let edges = [
        ("rds-csi-core", "serde", None),
        ("rds-csi-webhook", "rds-csi-core", None),
        ("rds-csi-webhook", "tokio", None),
        ("rds-csi-host", "rds-csi-core", None),
    ];
    assert_eq!(found(&edges), [""; 0]);
}

#[test]
fn a_runtime_under_core_is_found_with_the_way_to_it() {
    let edges = [
        ("rds-csi-core", "serde", None),
        ("serde", "mio", None),
        ("mio", "serde", None),
        ("mio", "tokio", None),
    ];
    assert_eq!(
        found(&edges),
        [
            "rds-csi-core/Cargo.toml: rds-csi-core depends on serde, by it on mio, \
             by it on tokio, keep this crate free of it"
        ]
    );
}

#[test]
fn what_core_names_is_known_to_be_pure() {
    let found = found(&[
        ("rds-csi-core", "mio", None),
        ("rds-csi-webhook", "mio", None),
    ]);
    assert_eq!(
        found,
        ["rds-csi-core/Cargo.toml: rds-csi-core depends on mio, keep this crate free of it"]
    );
}

#[test]
fn tests_and_build_scripts_may_use_what_they_like() {
    let edges = [
        ("rds-csi-core", "tokio", Some("dev")),
        ("csi-proto", "rds-csi-core", Some("build")),
    ];
    assert_eq!(found(&edges), [""; 0]);
}

#[test]
fn crates_of_ours_stay_apart() {
    let pairs = [
        ("rds-csi-webhook", "rds-csi-routeros"),
        ("rds-csi-webhook", "rds-csi-host"),
        ("csi-proto", "rds-csi-core"),
        ("rds-sim", "rds-csi-routeros"),
        ("rds-csi-core", "csi-proto"),
    ];
    for (from, to) in pairs {
        let found = found(&[(from, to, None)]);
        assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        assert!(
            found[0].contains(&format!("{from} depends on {to}")),
            "{found:?}"
        );
    }
}

#[test]
fn a_wall_around_nothing_is_reported() {
    let mut metadata = metadata(&[]);
    metadata["packages"][0]["name"] = json!("renamed");
    let violations = check(&metadata).unwrap();
    assert_eq!(violations.len(), 1);
    assert!(violations[0].what.contains("no crate rds-csi-core"));
}

#[test]
fn metadata_without_a_graph_is_an_error_and_not_a_clean_result() {
    let mut metadata = metadata(&[]);
    metadata["resolve"] = Value::Null;
    assert!(check(&metadata).is_err());
}
