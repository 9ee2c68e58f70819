//! Programs of others have the versions that are built here and run in the tests' cluster.

use std::fs;
use std::path::Path;

use k8s_openapi::api::batch::v1::Job;

use crate::arguments::controller;
use crate::helm::{render, render_with, root};

/// The version that the module of the tools pins for itself.
fn pinned(module: &str) -> String {
    let text = fs::read_to_string(root().join("hack/kubernetes/tools/go.mod")).unwrap();
    let mut versions = text
        .lines()
        .filter(|line| !line.ends_with("// indirect"))
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(path, _)| *path == module || path.starts_with(&format!("{module}/v")))
        .map(|(_, version)| version.to_owned());
    versions.next().unwrap_or_else(|| panic!("no {module}"))
}

/// All source text below a directory.
fn sources(directory: &Path) -> String {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.is_dir() {
            true => sources(&path),
            false => fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

/// Another version would be installed than the one that everything was tried with.
#[test]
fn the_sidecars_are_those_that_are_built_and_that_the_tests_cluster_has() {
    let cluster = sources(&root().join("tests/src"));
    let pod = controller(&render("minimal"));
    let images: Vec<&str> = pod.containers[1..]
        .iter()
        .map(|container| container.image.as_deref().unwrap())
        .collect();
    let names = ["provisioner", "attacher", "resizer"];
    let expected = names.map(|name| {
        let version = pinned(&format!("github.com/kubernetes-csi/external-{name}"));
        format!("registry.k8s.io/sig-storage/csi-{name}:{version}")
    });
    assert_eq!(images, expected);
    for image in images {
        assert!(cluster.contains(&format!("\"{image}\"")), "{image}");
    }
}

#[test]
fn the_kubectl_of_the_chart_is_of_the_kubernetes_that_is_tested() {
    let release = render_with("minimal", &["--set", "cdi.storageProfiles=always"]);
    let job: Job = release.one("");
    let mut containers = job.spec.unwrap().template.spec.unwrap().containers;
    let expected = format!("registry.k8s.io/kubectl:{}", pinned("k8s.io/kubernetes"));
    assert_eq!(containers.remove(0).image, Some(expected));
}
