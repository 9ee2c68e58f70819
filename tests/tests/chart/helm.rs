//! A rendered release, as objects.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use k8s_openapi::Resource;
use rds_csi_tests::tool::{self, Ended};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The namespace of every release here.
pub(crate) const NAMESPACE: &str = "rds-csi";

/// What the chart's objects are.
#[derive(Debug)]
pub(crate) struct Release {
    /// In the order of helm's output, hooks last.
    pub(crate) objects: Vec<Value>,
    /// The output itself.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The chart's directory.
pub(crate) fn chart() -> PathBuf {
    root().join("charts/rds-csi")
}

/// The file of a set of values.
pub(crate) fn file(set: &str) -> PathBuf {
    root().join(format!("tests/chart/values/{set}.yaml"))
}

/// The name of every set of values.
pub(crate) fn sets() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("tests/chart/values"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 7, "{names:?}");
    names
}

/// Runs `helm template` with further arguments.
pub(crate) fn template(more: &[&str]) -> Ended {
    template_of("rds-csi", more)
}

/// The same for a release of another name.
pub(crate) fn template_of(release: &str, more: &[&str]) -> Ended {
    let chart = chart();
    let fixed = [
        "template",
        release,
        chart.to_str().unwrap(),
        "--namespace",
        NAMESPACE,
    ];
    let arguments: Vec<String> = fixed
        .iter()
        .chain(more)
        .map(|text| (*text).to_owned())
        .collect();
    tool::run("helm", &arguments).unwrap()
}

/// Renders a set of values, with further arguments of helm; once for all tests.
pub(crate) fn render_with(set: &str, more: &[&str]) -> Release {
    static RENDERED: Mutex<BTreeMap<Vec<String>, String>> = Mutex::new(BTreeMap::new());
    let key: Vec<String> = [set].iter().chain(more).map(|s| (*s).to_owned()).collect();
    let known = RENDERED.lock().unwrap().get(&key).cloned();
    let text = known.unwrap_or_else(|| {
        let text = render_anew(set, more);
        RENDERED.lock().unwrap().insert(key, text.clone());
        text
    });
    Release {
        objects: documents(&text),
        text,
    }
}

/// What helm makes of a set of values now.
pub(crate) fn render_anew(set: &str, more: &[&str]) -> String {
    let file = file(set);
    let mut arguments = vec!["--values", file.to_str().unwrap()];
    arguments.extend(more);
    let ended = template(&arguments);
    assert!(ended.success, "{set}: {}", ended.stderr);
    ended.stdout
}

/// Renders a set of values.
pub(crate) fn render(set: &str) -> Release {
    render_with(set, &[])
}

impl Release {
    /// The objects of a kind, hooks included.
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |o| o["kind"] == kind)
    }

    /// The objects of a type that are no hooks.
    pub(crate) fn all<T: Resource + DeserializeOwned>(&self) -> Vec<T> {
        self.of(T::KIND)
            .filter(|object| hook(object).is_none())
            .map(|object| {
                assert_eq!(object["apiVersion"], T::API_VERSION);
                serde_json::from_value(object.clone()).unwrap()
            })
            .collect()
    }

    /// The one object of a type whose name ends so.
    pub(crate) fn one<T: Resource + DeserializeOwned>(&self, suffix: &str) -> T {
        let mut found: Vec<&Value> = self
            .of(T::KIND)
            .filter(|object| hook(object).is_none())
            .filter(|object| name(object).ends_with(suffix))
            .collect();
        assert_eq!(found.len(), 1, "{} {suffix}", T::KIND);
        serde_json::from_value(found.remove(0).clone()).unwrap()
    }
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The event that an object is a hook of.
pub(crate) fn hook(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"]["helm.sh/hook"].as_str()
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .filter(|document| {
            let mut lines = document.lines().map(str::trim);
            lines.any(|line| !line.is_empty() && !line.starts_with('#'))
        })
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}:\n{document}"))
        })
        .collect()
}
