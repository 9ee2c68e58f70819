//! Where csi-sanity runs: the appliance in a guest of its own, and controller, node plugin
//! and csi-sanity together in another, as csi-sanity makes the directories that the node
//! plugin mounts to and looks into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rds_csi_tests::appliance::{Appliance, ApplianceOptions};
use rds_csi_tests::guest::{Guest, GuestOptions};
use rds_csi_tests::lab::{Lab, program};
use rds_csi_tests::plugin::{NodeProcess, controller_arguments};
use rds_csi_tests::sanity::Report;
use rds_csi_tests::wait::until;
use serde_json::json;
use tonic::transport::Channel;

/// Set by `hack/test sanity` to the path of csi-sanity.
const PROGRAM: &str = "RDS_CSI_SANITY";
const NODE: &str = "node-a";
const NODE_SOCKET: &str = "/run/rds-csi/csi.sock";
const CONTROLLER_SOCKET: &str = "/run/rds-csi/controller.sock";
/// What both write, in the node's share.
const CONTROLLER_LOG: &str = "controller.log";
const NODE_LOG: &str = "node-plugin.log";
/// Where staging and target directories are made in the guest.
const PLACE: &str = "/var/lib/kubelet/sanity";
/// Small, as each volume is formatted; a multiple of the driver's unit of 4 MiB, as
/// csi-sanity asks for exact sizes.
const SIZE: u64 = 64 << 20;
const GROWN: u64 = 128 << 20;
const READY: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) struct Stand {
    node: Guest,
    appliance: Appliance,
    _lab: Lab,
}

impl Stand {
    pub(crate) async fn boot() -> Self {
        let lab = Lab::new().unwrap();
        let appliance = Appliance::start(&lab, ApplianceOptions::default())
            .await
            .unwrap();
        let node = Guest::boot(&lab, GuestOptions::named(NODE).memory(512))
            .await
            .unwrap();
        NodeProcess::start(&node, NODE).await.unwrap();
        start_controller(&node, &appliance).await;
        Self {
            node,
            appliance,
            _lab: lab,
        }
    }

    /// Runs all specs and tells how they ended.
    pub(crate) async fn run(&self, access_type: &str) -> Report {
        let program = std::env::var(PROGRAM)
            .context("looking for csi-sanity in RDS_CSI_SANITY, which hack/test sanity sets")
            .unwrap();
        self.node
            .script(&format!("mkdir -p {PLACE}"))
            .await
            .unwrap();
        let json = self.node.share().join("sanity.json");
        let arguments = [
            program,
            format!("--csi.endpoint=unix://{NODE_SOCKET}"),
            format!("--csi.controllerendpoint=unix://{CONTROLLER_SOCKET}"),
            format!("--csi.stagingdir={PLACE}/staging"),
            format!("--csi.mountdir={PLACE}/target"),
            format!("--csi.testvolumeaccesstype={access_type}"),
            format!("--csi.testvolumesize={SIZE}"),
            format!("--csi.testvolumeexpandsize={GROWN}"),
            format!("--csi.testvolumeparameters={}", self.parameters().display()),
            format!("--ginkgo.json-report={}", json.display()),
            "--ginkgo.no-color".to_owned(),
        ];
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.node.run_within(&words, DEADLINE).await.unwrap();
        // Its exit status says no more than the report, which is the judge's.
        match fs::read_to_string(&json) {
            Ok(report) => Report::parse(&report).unwrap(),
            Err(error) => panic!(
                "no report of csi-sanity ({error}), which ended with {:?}: {}\n{}",
                output.status,
                output.text(),
                output.error_text()
            ),
        }
    }

    /// The controller's socket.
    pub(crate) fn controller(&self) -> Channel {
        self.node.channel(CONTROLLER_SOCKET)
    }

    /// The node plugin's socket.
    pub(crate) fn node(&self) -> Channel {
        self.node.channel(NODE_SOCKET)
    }

    /// Writes the parameters of a StorageClass, as a user would set them.
    fn parameters(&self) -> PathBuf {
        let file = self.node.share().join("parameters.yaml");
        let text = format!(
            "nvmeAddress: \"{}\"\nctrlLossTmo: \"600\"\nreconnectDelay: \"2\"\n",
            self.appliance.address()
        );
        fs::write(&file, text).unwrap();
        file
    }

    /// Asserts that no role logged an error, which is a defect of the driver or a danger to
    /// data whatever csi-sanity made of the answer.
    pub(crate) fn assert_calm(&self) {
        for log in [CONTROLLER_LOG, NODE_LOG] {
            let text = fs::read_to_string(self.node.share().join(log)).unwrap();
            assert!(!text.is_empty(), "{log}");
            let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
            assert_eq!(errors, [""; 0], "{log}");
        }
    }

    /// Asserts that nothing of any volume is left on the node and the appliance.
    pub(crate) async fn assert_clean(&self) {
        let script = format!(
            "set +e
             ls -d /sys/class/nvme/nvme* /sys/block/nvme* 2>/dev/null
             grep -e nvme -e {PLACE} /proc/self/mountinfo
             find {PLACE} -mindepth 1
             find {} -type f
             true",
            self.node.share().join("state").display()
        );
        let left = self.node.script(&script).await.unwrap();
        assert_eq!(left.trim(), "", "left on the node");
        let script = "find /mnt/appliance/pool -type f; ls /sys/kernel/config/nvmet/subsystems";
        let left = self.appliance.guest().script(script).await.unwrap();
        assert_eq!(left.trim(), "", "left on the appliance");
        let state = self.appliance.control(&json!({ "op": "state" })).await;
        let state = state.unwrap().to_string();
        assert!(!state.contains("pvc-"), "left on the appliance: {state}");
    }
}

/// Starts the controller beside the node plugin. It ends with the guest.
async fn start_controller(node: &Guest, appliance: &Appliance) {
    // A guest sees no other guest's share.
    let key = node.share().join("ssh-key");
    fs::copy(appliance.key(), &key).unwrap();
    let mut words = vec![program("rds-csi-driver").unwrap().display().to_string()];
    words.extend(controller_arguments(
        appliance,
        &key,
        Path::new(CONTROLLER_SOCKET),
        "none",
    ));
    words.extend(["--nodes".to_owned(), NODE.to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let controller = node.spawn("controller", &words, &[]).await.unwrap();
    until("the controller serves", READY, async || {
        let status = controller.status().await?;
        ensure!(status.is_none(), "it ended: {}", controller.output());
        Ok(node.unix(CONTROLLER_SOCKET).await.ok().map(drop))
    })
    .await
    .unwrap();
}
