//! The product's figures, each beside its bound, measured in one run.
//!
//! Started by `hack/bench` under `hack/lab` from an optimised build. Ratios are within
//! this run, since machines differ; a figure over its bound makes the run fail. The
//! arguments name parts to measure; without any, all are.
#![expect(clippy::print_stdout, reason = "the figures go to a person")]

mod calls;
mod controller;
mod engine;
mod evacuation;
mod memory;
mod node;
mod outage;

use std::process::ExitCode;

use anyhow::{Result, bail};
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects;
use rds_csi_tests::appliance::{Appliance, ApplianceOptions};
use rds_csi_tests::guest::{Guest, GuestOptions};
use rds_csi_tests::lab::Lab;
use rds_csi_tests::plugin::{ControllerProcess, NodeProcess};
use tokio::net::TcpListener;

const NODE: &str = "node-a";

/// The figures so far.
#[derive(Default)]
struct Figures {
    over: u32,
}

impl Figures {
    /// Prints a figure and its bound.
    fn at_most(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        let verdict = if measured <= bound { "" } else { "  OVER" };
        println!("{what:<64} {measured:>9.2} {unit:<5} (at most {bound} {unit}){verdict}");
        self.over += u32::from(measured > bound);
    }

    /// Prints what a figure was made of.
    fn detail(text: &str) {
        println!("    {text}");
    }
}

struct Bench {
    lab: Lab,
    appliance: Appliance,
    node: Guest,
    controller: ControllerProcess,
    plugin: NodeProcess,
}

impl Bench {
    /// A controller that asks a cluster, with KubeVirt and two nodes in it, who may have a
    /// volume.
    async fn asking(&self, arguments: &[&str]) -> Result<(FakeApiServer, ControllerProcess)> {
        let api = FakeApiServer::on(TcpListener::bind((self.lab.address(), 0)).await?)?;
        api.know_kubevirt(&[
            "virtualmachineinstances",
            "virtualmachineinstancemigrations",
        ]);
        for name in ["node-a", "node-b"] {
            objects::node(&api, name, true);
        }
        let kubeconfig = FakeApiServer::kubeconfig(api.address());
        let (lab, appliance) = (&self.lab, &self.appliance);
        let started = ControllerProcess::start_asking(lab, appliance, &kubeconfig, arguments);
        Ok((api, started.await?))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let known = [
        "memory",
        "controller",
        "evacuation",
        "node",
        "outage",
        "engine",
    ];
    if let Some(unknown) = parts.iter().find(|part| !known.contains(&part.as_str())) {
        bail!("no part {unknown:?}; there are: {}", known.join(", "));
    }
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let lab = Lab::new()?;
    let options = ApplianceOptions {
        pool_gibibytes: 1000,
        // The device writes its configuration back later; the simulator otherwise syncs
        // it at each change, which would be measured as the driver's time.
        arguments: ["--variant", "config-loss-seconds=60"]
            .map(str::to_owned)
            .to_vec(),
        // The lab's disk would be measured, too.
        volatile_cache: true,
        ..ApplianceOptions::default()
    };
    let appliance = Appliance::start(&lab, options).await?;
    let node = Guest::boot(&lab, GuestOptions::named(NODE)).await?;
    let controller = ControllerProcess::start(&lab, &appliance, &[]).await?;
    let plugin = NodeProcess::start(&node, NODE).await?;
    let bench = Bench {
        lab,
        appliance,
        node,
        controller,
        plugin,
    };
    let mut figures = Figures::default();
    if is_wanted("memory") {
        memory::measure(&mut figures, &bench).await?;
    }
    if is_wanted("controller") {
        controller::measure(&mut figures, &bench).await?;
    }
    if is_wanted("evacuation") {
        evacuation::measure(&mut figures, &bench).await?;
    }
    if is_wanted("node") {
        node::measure(&mut figures, &bench).await?;
    }
    if is_wanted("outage") {
        outage::measure(&mut figures, &bench).await?;
    }
    if is_wanted("engine") {
        engine::measure(&mut figures, &bench).await?;
    }
    Ok(if figures.over == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
