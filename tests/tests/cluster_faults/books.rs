//! Who knows of which volume: the device by items and by files, the cluster by
//! PersistentVolumes. After any fault all three must name the same.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use rds_csi_core::names::DEFAULT_DRIVER_NAME;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::LONG;

/// Where the chart puts backing files, as the simulator names them.
const DIRECTORY: &str = "storage-pool/rds-csi/";

/// The volumes that each side knows.
#[derive(Debug)]
pub(crate) struct Books {
    items: BTreeSet<String>,
    files: BTreeSet<String>,
    volumes: BTreeSet<String>,
}

impl Books {
    pub(crate) async fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let state = cluster.appliance().control(json!({"op": "state"})).await?;
        let state = &state["state"];
        let items = list(&state["device"]["items"])?
            .iter()
            .filter(|item| item["kind"]["file"].is_object())
            .filter_map(|item| item["slot"].as_str().map(str::to_owned))
            .collect();
        let files = list(&state["files"])?
            .iter()
            .filter_map(|file| {
                file[0]
                    .as_str()?
                    .trim_start_matches('/')
                    .strip_prefix(DIRECTORY)
            })
            .map(stem)
            .collect();
        let volumes = cluster.get(&["pv"]).await?;
        let volumes = list(&volumes["items"])?
            .iter()
            .map(|volume| &volume["spec"]["csi"])
            .filter(|csi| csi["driver"] == DEFAULT_DRIVER_NAME)
            .filter_map(|csi| csi["volumeHandle"].as_str().map(str::to_owned))
            .collect();
        Ok(Self {
            items,
            files,
            volumes,
        })
    }

    /// How many volumes the cluster knows.
    pub(crate) fn volumes(&self) -> usize {
        self.volumes.len()
    }

    /// What one side knows and another does not.
    pub(crate) fn differences(&self) -> BTreeSet<String> {
        let sides = [
            ("item", &self.items),
            ("file", &self.files),
            ("PersistentVolume", &self.volumes),
        ];
        let all = sides.iter().flat_map(|(_, ids)| ids.iter());
        all.flat_map(|id| {
            sides
                .iter()
                .filter(|(_, ids)| !ids.contains(id))
                .map(move |(side, _)| format!("{id} has no {side}"))
        })
        .collect()
    }
}

/// What was wrong before a test began, which is not its fault.
pub(crate) async fn differences(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    Ok(Books::read(cluster).await?.differences())
}

/// Waits until nothing differs that did not before; the books as they then are.
pub(crate) async fn balanced(
    cluster: &Cluster,
    before: &BTreeSet<String>,
) -> anyhow::Result<Books> {
    let mut last = BTreeSet::new();
    let balanced = until(
        "device and cluster name the same volumes",
        LONG,
        async || {
            let books = Books::read(cluster).await?;
            last = books.differences();
            // What a run before left behind may go meanwhile.
            Ok(last.is_subset(before).then_some(books))
        },
    )
    .await;
    balanced.with_context(|| format!("differences: {last:#?}"))
}

fn list(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value
        .as_array()
        .with_context(|| format!("no list: {value}"))
}

fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
