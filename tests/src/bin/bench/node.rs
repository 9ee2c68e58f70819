//! Staging a formatted volume, against the same done by hand in the same guest.

use anyhow::{Context as _, Result};
use rds_csi_tests::lab::program;
use rds_csi_tests::volume::Claim;
use serde_json::{Value, json};

use crate::{Bench, Figures, NODE, calls};

const ROUNDS: u32 = 41;

/// Medians in seconds, and how many system calls the plugin made for one stage.
struct Staged {
    bare: f64,
    typed: f64,
    plugin: f64,
    calls: u64,
}

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    for fs in ["ext4", "xfs"] {
        let staged = stage(bench, fs).await?;
        let what = format!("NodeStageVolume of a formatted {fs}, to connect and mount by hand");
        figures.at_most(&what, staged.plugin / staged.typed, 1.10, "");
        let ms = |seconds: f64| seconds * 1000.0;
        Figures::detail(&format!(
            "medians of {ROUNDS} in turns: {:.1} ms by the plugin, in {} system calls; by hand, typed into",
            ms(staged.plugin),
            staged.calls
        ));
        Figures::detail(&format!(
            "a shell (echo to /dev/nvme-fabrics, wait, mount(8)): {:.1} ms; for information, by bare",
            ms(staged.typed)
        ));
        Figures::detail(&format!(
            "system calls alone, which verify and record nothing: {:.1} ms",
            ms(staged.bare)
        ));
    }
    Ok(())
}

async fn stage(bench: &Bench, fs: &str) -> Result<Staged> {
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
    let calls = calls::during(&bench.node, bench.plugin.process().pid(), async || {
        Ok(volume.stage(node, &context).await?)
    });
    let staged = Staged {
        bare: median(&output["bare"])?,
        typed: median(&output["typed"])?,
        plugin: median(&output["plugin"])?,
        calls: calls.await?,
    };
    volume.unstage(node).await?;
    volume.detach(controller, NODE).await?;
    volume.delete(controller).await?;
    Ok(staged)
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
