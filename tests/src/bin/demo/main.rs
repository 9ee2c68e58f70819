//! The product doing its job: every part real but the appliance itself.
//!
//! Started by `hack/demo` under `hack/lab`. Each chapter checks what it shows and fails
//! the demo where it does not hold; nothing is printed that was not measured.
#![expect(clippy::print_stdout, reason = "a demo speaks to a person")]

mod admission;
mod clean;
mod outage;
mod provision;
mod story;

use anyhow::Result;
use rds_csi_tests::appliance::{Appliance, ApplianceOptions};
use rds_csi_tests::guest::{Guest, GuestOptions};
use rds_csi_tests::lab::Lab;
use rds_csi_tests::plugin::{ControllerProcess, NodeProcess};
use story::Story;

/// The name of the one node.
const NODE: &str = "node-a";

/// What the chapters play with.
struct Stage {
    lab: Lab,
    appliance: Appliance,
    node: Guest,
    controller: ControllerProcess,
    plugin: NodeProcess,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut story = Story::begin();
    let result = play(&mut story).await;
    if result.is_ok() {
        story.end();
    }
    result
}

async fn play(story: &mut Story) -> Result<()> {
    let mut stage = boot(story).await?;
    let result = chapters(story, &mut stage).await;
    if result.is_err() {
        stage.explain();
    }
    result
}

async fn chapters(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let volumes = provision::chapter(story, stage).await?;
    outage::chapter(story, stage, &volumes).await?;
    admission::chapter(story).await?;
    clean::chapter(story, stage, volumes).await
}

impl Stage {
    /// Prints the ends of all logs, for whoever has to find out what failed.
    fn explain(&self) {
        for (whose, log) in [
            ("the controller", self.controller.output()),
            ("the node plugin", self.plugin.output()),
            ("the node's kernel", self.node.console()),
            ("rds-sim", self.appliance.log()),
            ("the appliance's kernel", self.appliance.guest().console()),
        ] {
            let lines: Vec<&str> = log.lines().collect();
            println!("\nThe log of {whose} ends:");
            Story::detail(&lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

async fn boot(story: &mut Story) -> Result<Stage> {
    story.chapter("The appliance and a node");
    let lab = Lab::new()?;
    let appliance = Appliance::start(&lab, ApplianceOptions::default()).await?;
    story.step(&format!(
        "rds-sim speaks RouterOS over SSH at {} and serves exports with the nvmet of its own Linux kernel",
        appliance.ssh()
    ));
    let node = Guest::boot(&lab, GuestOptions::named(NODE)).await?;
    let release = node.read("/proc/sys/kernel/osrelease").await?;
    story.step(&format!(
        "{NODE} runs Linux {release} at {}",
        node.address()
    ));
    let controller = ControllerProcess::start(&lab, &appliance, &[]).await?;
    let plugin = NodeProcess::start(&node, NODE).await?;
    story.step("rds-csi-driver controller and rds-csi-driver node serve CSI on their sockets");
    Ok(Stage {
        lab,
        appliance,
        node,
        controller,
        plugin,
    })
}
