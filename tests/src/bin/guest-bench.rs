//! Runs in a guest: how long staging a formatted volume takes, by hand and by the node
//! plugin, in turns, on one clock. Prints the seconds of each round as JSON.
//!
//! By hand is the least that can be done: one write to `/dev/nvme-fabrics`, and
//! mount(2) tried until the device takes it.
#![expect(clippy::print_stdout, reason = "the result goes to the caller")]

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_proto::v1::{NodeStageVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability};
use nix::mount::{MsFlags, mount, umount};
use rds_csi_tests::plugin::Plugin;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// What to measure: a volume that is formatted already.
#[derive(Debug, Deserialize)]
struct Plan {
    rounds: u32,
    socket: PathBuf,
    volume_id: String,
    staging_path: PathBuf,
    fs_type: String,
    volume_context: HashMap<String, String>,
    publish_context: HashMap<String, String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("which plan?")?;
    let plan: Plan = serde_json::from_str(&fs::read_to_string(path)?)?;
    let plugin = Plugin::at(&plan.socket);
    let (mut by_hand, mut by_plugin) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        by_hand.push(plan.by_hand().await.context("by hand")?.as_secs_f64());
        by_plugin.push(
            plan.by_plugin(&plugin)
                .await
                .context("by the plugin")?
                .as_secs_f64(),
        );
    }
    println!(
        "{}",
        serde_json::json!({ "by_hand": by_hand, "by_plugin": by_plugin })
    );
    Ok(())
}

impl Plan {
    async fn by_hand(&self) -> Result<Duration> {
        let get = |key: &str| {
            self.volume_context
                .get(key)
                .with_context(|| format!("no {key}"))
        };
        let options = format!(
            "transport=tcp,traddr={},trsvcid={},nqn={},reconnect_delay=5,ctrl_loss_tmo=-1,keep_alive_tmo=5",
            get("nvmeAddress")?,
            get("nvmePort")?,
            get("nqn")?
        );
        let target = Path::new("/run/by-hand");
        fs::create_dir_all(target)?;
        let began = Instant::now();
        let mut fabrics = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/nvme-fabrics")?;
        fabrics
            .write_all(options.as_bytes())
            .context("connecting")?;
        let mut reply = [0; 64];
        let length = fabrics.read(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply[..length]).into_owned();
        let device = Path::new("/dev/nvme0n1");
        while mount(
            Some(device),
            target,
            Some(self.fs_type.as_str()),
            MsFlags::empty(),
            None::<&str>,
        )
        .is_err()
        {
            if began.elapsed() > Duration::from_secs(10) {
                bail!("the device cannot be mounted");
            }
            sleep(Duration::from_millis(1)).await;
        }
        let took = began.elapsed();
        umount(target)?;
        let instance = reply
            .split(['=', ','])
            .nth(1)
            .context("no instance")?
            .trim()
            .to_owned();
        fs::write(
            format!("/sys/class/nvme/nvme{instance}/delete_controller"),
            "1",
        )?;
        while Path::new(&format!("/sys/class/nvme/nvme{instance}")).exists() || device.exists() {
            sleep(Duration::from_millis(1)).await;
        }
        Ok(took)
    }

    async fn by_plugin(&self, plugin: &Plugin) -> Result<Duration> {
        let mount = MountVolume {
            fs_type: self.fs_type.clone(),
            ..MountVolume::default()
        };
        let staging_target_path = self.staging_path.display().to_string();
        let request = NodeStageVolumeRequest {
            volume_id: self.volume_id.clone(),
            staging_target_path: staging_target_path.clone(),
            volume_capability: Some(VolumeCapability {
                access_mode: Some(AccessMode {
                    mode: Mode::SingleNodeWriter.into(),
                }),
                access_type: Some(AccessType::Mount(mount)),
            }),
            volume_context: self.volume_context.clone(),
            publish_context: self.publish_context.clone(),
            ..NodeStageVolumeRequest::default()
        };
        let began = Instant::now();
        plugin.node().node_stage_volume(request).await?;
        let took = began.elapsed();
        let request = NodeUnstageVolumeRequest {
            volume_id: self.volume_id.clone(),
            staging_target_path,
        };
        plugin.node().node_unstage_volume(request).await?;
        Ok(took)
    }
}
