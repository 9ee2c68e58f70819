//! Everything is taken back, and the places where something could be left are read.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::provision::{POD, Used, Volumes};
use crate::story::Story;
use crate::{NODE, Stage};

pub(crate) async fn chapter(story: &mut Story, stage: &Stage, volumes: Volumes) -> Result<()> {
    story.chapter("Everything is taken back");
    for used in [volumes.filesystem, volumes.block] {
        take_down(stage, &used).await?;
        let kind = used.volume.claim.filesystem.as_deref().unwrap_or("block");
        story.step(&format!("{kind}: unpublished, unstaged, detached, deleted"));
    }
    node_is_clean(stage).await?;
    story.step("on the node: no NVMe session, no mount, no target, no record is left");
    appliance_is_clean(stage).await?;
    story.step("on the appliance: no disk item, no file, no export is left");
    Ok(())
}

async fn take_down(stage: &Stage, used: &Used) -> Result<()> {
    let (controller, node) = (stage.controller.plugin(), stage.plugin.plugin());
    used.volume
        .unpublish(node, POD)
        .await
        .context("NodeUnpublishVolume")?;
    used.volume
        .unstage(node)
        .await
        .context("NodeUnstageVolume")?;
    let early = used.volume.delete(controller).await;
    ensure!(early.is_err(), "a volume was deleted while it was attached");
    used.volume
        .detach(controller, NODE)
        .await
        .context("ControllerUnpublishVolume")?;
    used.volume.delete(controller).await.context("DeleteVolume")
}

async fn node_is_clean(stage: &Stage) -> Result<()> {
    let state = stage.node.share().join("state");
    let left = stage
        .node
        .script(&format!(
            "set +e
             ls -d /sys/class/nvme/nvme* /sys/block/nvme* 2>/dev/null
             grep -e nvme -e kubernetes.io /proc/self/mountinfo
             find /var/lib/kubelet/plugins /var/lib/kubelet/pods -type b -o -type f -o -name mount 2>/dev/null
             find {} -type f
             true",
            state.display()
        ))
        .await?;
    ensure!(left.trim().is_empty(), "left on the node:\n{left}");
    Ok(())
}

async fn appliance_is_clean(stage: &Stage) -> Result<()> {
    let state = stage
        .appliance
        .control(&json!({ "op": "state" }))
        .await?
        .to_string();
    ensure!(!state.contains("pvc-"), "left on the appliance:\n{state}");
    let left = stage
        .appliance
        .guest()
        .script(
            "set +e
             find /mnt/appliance/pool -type f
             ls /sys/kernel/config/nvmet/subsystems
             true",
        )
        .await?;
    ensure!(left.trim().is_empty(), "left on the appliance:\n{left}");
    Ok(())
}
