//! Volumes are made over SSH, connected, formatted once, mounted, published, written.

use anyhow::{Context as _, Result, ensure};
use rds_csi_tests::metrics;
use rds_csi_tests::volume::{Claim, Volume};

use crate::story::Story;
use crate::{NODE, Stage};

/// A volume that a pod uses.
pub(crate) struct Used {
    pub(crate) volume: Volume,
    pub(crate) target: String,
    pub(crate) checksum: String,
}

/// The pod of the demo.
pub(crate) const POD: &str = "5f0c2c2a-demo-pod";
/// The size of what is written and checked.
pub(crate) const PROBE: &str = "bs=1M count=24";

pub(crate) struct Volumes {
    pub(crate) filesystem: Used,
    pub(crate) block: Used,
}

pub(crate) async fn chapter(story: &mut Story, stage: &Stage) -> Result<Volumes> {
    story.chapter("A filesystem volume and a raw block volume, from claim to pod");
    let claim = Claim::filesystem("pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e", 256, "ext4");
    let filesystem = bring_up(story, stage, claim).await?;
    let claim = Claim::block("pvc-7b1de0a4-9d43-4b7e-8a5c-3f6f2f1f0a11", 256);
    let block = bring_up(story, stage, claim).await?;
    Ok(Volumes { filesystem, block })
}

async fn bring_up(story: &mut Story, stage: &Stage, claim: Claim) -> Result<Used> {
    let (controller, node) = (stage.controller.plugin(), stage.plugin.plugin());
    let kind = claim
        .filesystem
        .clone()
        .unwrap_or_else(|| "block".to_owned());
    let volume = claim.create(controller).await.context("CreateVolume")?;
    story.step(&format!(
        "{kind}: CreateVolume made {} over SSH",
        volume.id()
    ));
    let context = volume
        .attach(controller, NODE)
        .await
        .context("ControllerPublishVolume")?;
    volume
        .stage(node, &context)
        .await
        .context("NodeStageVolume")?;
    let done = if kind == "block" {
        "connected by NVMe/TCP"
    } else {
        "connected by NVMe/TCP, formatted, mounted"
    };
    story.step(&format!("{kind}: NodeStageVolume: {done}"));
    volume
        .stage(node, &context)
        .await
        .context("NodeStageVolume, repeated")?;
    let target = volume
        .publish(node, &context, POD, false)
        .await
        .context("NodePublishVolume")?;
    let formats = formats(stage).await?;
    ensure!(
        formats == 1,
        "the one filesystem volume was formatted {formats} times"
    );
    story.step(&format!(
        "{kind}: staged again (nothing to do), published to a pod"
    ));
    let written = probe(volume.claim.filesystem.is_some(), &target);
    let checksum = stage
        .node
        .script(&written)
        .await
        .context("writing the probe")?;
    let checksum = checksum.trim().to_owned();
    story.step(&format!(
        "{kind}: 24 MiB of random bytes written and synced, sha256 {}…",
        &checksum[..16]
    ));
    Ok(Used {
        volume,
        target,
        checksum,
    })
}

/// A script that writes random bytes and prints their checksum.
fn probe(filesystem: bool, target: &str) -> String {
    let to = if filesystem {
        format!("{target}/probe")
    } else {
        target.to_owned()
    };
    format!(
        "dd if=/dev/urandom of=/run/probe {PROBE} status=none
         dd if=/run/probe of={to} bs=1M conv=notrunc,fsync status=none
         sha256sum </run/probe | cut -d' ' -f1
         rm /run/probe"
    )
}

/// A script that prints the checksum of what is on the volume, not in the cache.
pub(crate) fn reread(used: &Used) -> String {
    let from = match used.volume.claim.filesystem {
        Some(_) => format!("{}/probe", used.target),
        None => used.target.clone(),
    };
    format!("dd if={from} {PROBE} iflag=direct status=none | sha256sum | cut -d' ' -f1")
}

/// How many filesystems the node plugin has made, by its own metric.
async fn formats(stage: &Stage) -> Result<u64> {
    let page = stage.node.script("exec 9<>/dev/tcp/127.0.0.1/9808; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&9; cat <&9").await?;
    metrics::sum(&page, "rds_csi_formats_total", &[])
}
