//! Walls between crates: what a crate depends on, directly or through others.
//!
//! Only normal dependencies count; tests and build scripts may use what they like. A
//! rule for a crate that does not exist is reported too, so that no wall stands around
//! nothing.

use std::collections::{HashMap, VecDeque};

use anyhow::Context as _;
use serde_json::Value;

use super::Violation;

/// What a crate of ours may use.
struct Wall {
    name: &'static str,
    /// The crates of this repository that it may depend on.
    ours: &'static [&'static str],
    /// Crates from elsewhere that it must not depend on.
    banned: &'static [&'static str],
    /// The only crates from elsewhere that its manifest may name, where it is to be pure:
    /// a list of what is banned never knows the next runtime.
    only: Option<&'static [&'static str]>,
}

const WALLS: &[Wall] = &[
    Wall {
        name: "rds-csi-core",
        ours: &[],
        banned: &[
            "tokio",
            "kube",
            "russh",
            "nix",
            "rustix",
            "tonic",
            "axum",
            "hyper",
            "rustls",
            "k8s-openapi",
        ],
        only: Some(&["serde", "sha2", "thiserror", "uuid"]),
    },
    wall("rds-csi-routeros", &["rds-csi-core"]),
    wall("rds-csi-host", &["rds-csi-core"]),
    wall("rds-csi-cluster", &["rds-csi-core"]),
    wall("rds-csi-webhook", &["rds-csi-cluster", "rds-csi-core"]),
    wall("csi-proto", &[]),
    wall("rds-sim", &[]),
];

const fn wall(name: &'static str, ours: &'static [&'static str]) -> Wall {
    Wall {
        name,
        ours,
        banned: &[],
        only: None,
    }
}

/// Holds the answer of `cargo metadata --format-version 1` against the walls.
///
/// An error means that the answer does not have the form that cargo documents.
pub(super) fn check(metadata: &Value) -> anyhow::Result<Vec<Violation>> {
    let graph = Graph::read(metadata)?;
    Ok(WALLS
        .iter()
        .flat_map(|wall| breaches(&graph, wall))
        .collect())
}

fn breaches(graph: &Graph<'_>, wall: &Wall) -> Vec<Violation> {
    let Some((id, package)) = graph.ours(wall.name) else {
        return vec![Violation {
            path: "Cargo.toml".to_owned(),
            line: None,
            what: format!("there is no crate {}", wall.name),
            remedy: "correct the walls of `cargo xtask tidy`",
        }];
    };
    let mut found = Vec::new();
    for path in graph.reached_from(id) {
        let Some(last) = path.last() else { continue };
        let reached = &graph.packages[last];
        let (forbidden, remedy) = if reached.is_ours {
            let forbidden = !wall.ours.contains(&reached.name);
            (forbidden, "move what is shared into rds-csi-core")
        } else {
            let is_named = path.len() == 1;
            let is_strange =
                is_named && wall.only.is_some_and(|only| !only.contains(&reached.name));
            let forbidden = wall.banned.contains(&reached.name) || is_strange;
            (forbidden, "keep this crate free of it")
        };
        if forbidden {
            let names: Vec<_> = path.iter().map(|id| graph.packages[id].name).collect();
            found.push(Violation {
                path: package.manifest.clone(),
                line: None,
                what: format!("{} depends on {}", wall.name, names.join(", by it on ")),
                remedy,
            });
        }
    }
    found
}

struct Package<'a> {
    name: &'a str,
    manifest: String,
    is_ours: bool,
}

/// Packages and their normal dependencies, by package id.
struct Graph<'a> {
    packages: HashMap<&'a str, Package<'a>>,
    uses: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> anyhow::Result<Self> {
        let root = text(metadata, "workspace_root")?;
        let mut packages = HashMap::new();
        for package in list(metadata, "packages")? {
            let manifest = text(package, "manifest_path")?;
            let within = manifest.strip_prefix(root).unwrap_or(manifest);
            let read = Package {
                name: text(package, "name")?,
                manifest: within.trim_start_matches('/').to_owned(),
                is_ours: package["source"].is_null(),
            };
            packages.insert(text(package, "id")?, read);
        }
        let mut uses = HashMap::new();
        for node in list(&metadata["resolve"], "nodes")? {
            let mut normal = Vec::new();
            for dependency in list(node, "deps")? {
                let kinds = list(dependency, "dep_kinds")?;
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    let id = text(dependency, "pkg")?;
                    anyhow::ensure!(packages.contains_key(id), "{id} is no known package");
                    normal.push(id);
                }
            }
            uses.insert(text(node, "id")?, normal);
        }
        Ok(Self { packages, uses })
    }

    fn ours(&self, name: &str) -> Option<(&'a str, &Package<'a>)> {
        let mut packages = self.packages.iter();
        packages
            .find(|(_, package)| package.is_ours && package.name == name)
            .map(|(id, package)| (*id, package))
    }

    /// For each package that `start` reaches, one shortest path to it, `start` left out.
    fn reached_from(&self, start: &'a str) -> Vec<Vec<&'a str>> {
        let mut came_from: HashMap<&str, &str> = HashMap::new();
        let mut order = Vec::new();
        let mut queue = VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            for &next in self.uses.get(id).map_or(&[][..], Vec::as_slice) {
                if next != start && !came_from.contains_key(next) {
                    came_from.insert(next, id);
                    order.push(next);
                    queue.push_back(next);
                }
            }
        }
        let path_to = |end: &'a str| {
            let back = std::iter::successors(Some(end), |id| came_from.get(id).copied());
            let mut path: Vec<_> = back.take_while(|id| *id != start).collect();
            path.reverse();
            path
        };
        order.into_iter().map(path_to).collect()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    let found = value[key].as_str();
    found.with_context(|| format!("cargo metadata without a text `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a [Value]> {
    let found = value[key].as_array().map(Vec::as_slice);
    found.with_context(|| format!("cargo metadata without a list `{key}`"))
}

#[cfg(test)]
mod tests;
