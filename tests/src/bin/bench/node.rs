//! Staging a formatted volume, against the same done by hand in the same guest.

use anyhow::{Context as _, Result};
use rds_csi_tests::lab::program;
use rds_csi_tests::volume::Claim;
use serde_json::{Value, json};

use crate::{Bench, Figures, NODE};

const ROUNDS: u32 = 41;

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    for fs in ["ext4", "xfs"] {
        let (by_hand, by_plugin) = stage(bench, fs).await?;
        let what = format!("NodeStageVolume of a formatted {fs}, to connect + mount by hand");
        figures.at_most(&what, by_plugin / by_hand, 1.10, "");
        let (by_hand, by_plugin) = (by_hand * 1000.0, by_plugin * 1000.0);
        Figures::detail(&format!(
            "medians of {ROUNDS} in turns: {by_hand:.1} ms by hand, {by_plugin:.1} ms by the plugin"
        ));
    }
    Ok(())
}

async fn stage(bench: &Bench, fs: &str) -> Result<(f64, f64)> {
    let (controller, node) = (bench.controller.plugin(), bench.plugin.plugin());
    let volume = Claim::filesystem(&format!("pvc-stage-{fs}"), 320, fs)
        .create(controller)
        .await?;
    let context = volume.attach(controller, NODE).await?;
    volume.stage(node, &context).await?;
    volume.unstage(node).await?;
    let plan = json!({
        "rounds": ROUNDS,
        "socket": "/run/rds-csi/csi.sock",
        "volume_id": volume.id(),
        "staging_path": volume.staging_path(),
        "fs_type": fs,
        "volume_context": volume.volume.volume_context,
        "publish_context": context,
    });
    let path = bench.node.share().join("plan.json");
    std::fs::write(&path, plan.to_string())?;
    let words = format!("{} {}", program("guest-bench")?.display(), path.display());
    let output: Value = serde_json::from_str(&bench.node.script(&words).await?)?;
    volume.detach(controller, NODE).await?;
    volume.delete(controller).await?;
    Ok((median(&output["by_hand"])?, median(&output["by_plugin"])?))
}

fn median(values: &Value) -> Result<f64> {
    let mut values: Vec<f64> = values
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no values")
}
