//! Runs in a guest: how long a formatted volume takes from nothing to its mount, done in
//! three ways, in turns, on one clock. Prints the seconds of each round as JSON.
//!
//! - `bare`: the fewest system calls: one write to `/dev/nvme-fabrics`, and mount(2)
//!   tried until the device takes it. Nothing is verified.
//! - `typed`: what a person types into a shell that runs already: echo the same line
//!   into `/dev/nvme-fabrics`, wait for the device, mount(8).
//! - `plugin`: NodeStageVolume, from the call to the answer.
#![expect(clippy::print_stdout, reason = "the result goes to the caller")]

mod by_hand;
mod shell;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_proto::v1::{NodeStageVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability};
use rds_csi_tests::plugin::Plugin;
use serde::Deserialize;
use tokio::time::Instant;

use shell::Shell;

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
    println!("{}", plan.rounds().await?);
    Ok(())
}

impl Plan {
    async fn rounds(&self) -> Result<serde_json::Value> {
        let plugin = Plugin::at(&self.socket);
        let mut shell = Shell::start().await?;
        let (mut bare, mut typed, mut staged) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            bare.push(self.bare().await.context("bare")?.as_secs_f64());
            typed.push(self.typed(&mut shell).await.context("typed")?.as_secs_f64());
            let took = self.by_plugin(&plugin).await.context("by the plugin")?;
            staged.push(took.as_secs_f64());
        }
        Ok(serde_json::json!({ "bare": bare, "typed": typed, "plugin": staged }))
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

    /// The line for `/dev/nvme-fabrics`.
    fn connection(&self) -> Result<String> {
        let get = |key: &str| {
            self.volume_context
                .get(key)
                .with_context(|| format!("no {key}"))
        };
        Ok(format!(
            "transport=tcp,traddr={},trsvcid={},nqn={},reconnect_delay=5,ctrl_loss_tmo=-1,keep_alive_tmo=5",
            get("nvmeAddress")?,
            get("nvmePort")?,
            get("nqn")?
        ))
    }
}
