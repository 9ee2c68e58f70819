//! A cluster: the appliance, the controller on the test's own machine, and nodes.

use std::time::Duration;

use rds_csi_tests::appliance::{Appliance, ApplianceOptions};
use rds_csi_tests::guest::{Guest, GuestOptions};
use rds_csi_tests::lab::Lab;
use rds_csi_tests::metrics;
use rds_csi_tests::plugin::{ControllerProcess, NodeProcess, Plugin};
use rds_csi_tests::volume::Volume;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Lines of each log that a failed test shows.
const TAIL: usize = 40;

pub(crate) struct Cluster {
    pub(crate) controller: ControllerProcess,
    pub(crate) nodes: Vec<Node>,
    pub(crate) appliance: Appliance,
    pub(crate) lab: Lab,
}

pub(crate) struct Node {
    pub(crate) name: String,
    /// Whether its kernel has native multipath.
    pub(crate) multipath: bool,
    pub(crate) process: NodeProcess,
    pub(crate) guest: Guest,
    /// The filesystems that its plugins had made when they were killed.
    formats: u64,
}

impl Cluster {
    /// Boots everything, with native multipath on.
    pub(crate) async fn boot(nodes: &[&str]) -> Self {
        Self::boot_with(nodes, true).await
    }

    pub(crate) async fn boot_with(nodes: &[&str], multipath: bool) -> Self {
        Self::boot_on(&[], nodes, multipath).await
    }

    /// With an appliance that has these switches, each `name=value`.
    pub(crate) async fn boot_on(switches: &[&str], nodes: &[&str], multipath: bool) -> Self {
        Self::boot_at(with_switches(switches), nodes, multipath).await
    }

    /// With two nodes, the first with native multipath and the second without.
    pub(crate) async fn boot_pair(switches: &[&str]) -> Self {
        let nodes = [("node-a", true), ("node-b", false)];
        Self::boot_each(with_switches(switches), &nodes).await
    }

    pub(crate) async fn boot_at(
        options: ApplianceOptions,
        nodes: &[&str],
        multipath: bool,
    ) -> Self {
        let nodes: Vec<_> = nodes.iter().map(|name| (*name, multipath)).collect();
        Self::boot_each(options, &nodes).await
    }

    /// With nodes that each have native multipath or not.
    async fn boot_each(options: ApplianceOptions, nodes: &[(&str, bool)]) -> Self {
        let lab = Lab::new().unwrap();
        let appliance = Appliance::start(&lab, options).await.unwrap();
        let controller = ControllerProcess::start(&lab, &appliance, &[])
            .await
            .unwrap();
        let mut booted = Vec::new();
        for &(name, multipath) in nodes {
            let options = GuestOptions::named(name).multipath(multipath);
            let guest = Guest::boot(&lab, options).await.unwrap();
            let process = NodeProcess::start(&guest, name).await.unwrap();
            let node = Node {
                name: name.to_owned(),
                multipath,
                process,
                guest,
                formats: 0,
            };
            let parameter = "cat /sys/module/nvme_core/parameters/multipath";
            let set = if multipath { "Y" } else { "N" };
            assert_eq!(node.script(parameter).await, set);
            booted.push(node);
        }
        Self {
            controller,
            nodes: booted,
            appliance,
            lab,
        }
    }

    pub(crate) fn controller(&self) -> &Plugin {
        self.controller.plugin()
    }

    /// The first node.
    pub(crate) fn node(&self) -> &Node {
        &self.nodes[0]
    }

    /// The path of a volume's file on the appliance.
    pub(crate) async fn backing_file(&self, volume: &Volume) -> String {
        let script = format!(
            "find /mnt/appliance/pool -name '{}*' ! -name '*.whole' -type f",
            volume.id()
        );
        let found = self.appliance.guest().script(&script).await.unwrap();
        assert_eq!(found.lines().count(), 1, "{found}");
        found.trim().to_owned()
    }

    /// The checksum of a volume's file, read on the appliance.
    pub(crate) async fn backing_sum(&self, volume: &Volume) -> String {
        let script = format!("cksum <{}", self.backing_file(volume).await);
        self.appliance.guest().script(&script).await.unwrap()
    }

    /// Runs RouterOS commands as somebody else on the appliance.
    pub(crate) async fn routeros(&self, script: &str) {
        let request = json!({ "op": "exec", "script": script });
        let answer = self.appliance.control(&request).await.unwrap();
        assert_eq!(answer["ok"], json!(true), "{script}: {answer}");
        assert_eq!(answer["stdout"], json!(""), "{script}: {answer}");
    }

    /// Makes the appliance do what its control socket offers.
    pub(crate) async fn control(&self, request: &Value) {
        let answer = self.appliance.control(request).await.unwrap();
        assert_eq!(answer["ok"], json!(true), "{request}: {answer}");
    }

    /// The size of a volume's file, in bytes.
    pub(crate) async fn size(&self, volume: &Volume) -> i64 {
        let script = format!("stat -c %s {}", self.backing_file(volume).await);
        let size = self.appliance.guest().script(&script).await.unwrap();
        size.trim().parse().unwrap()
    }

    /// Connects a guest to a subsystem as a host of its own, past any driver; `host` is
    /// its NQN and its id.
    pub(crate) async fn connect_by_hand(&self, guest: &Guest, nqn: &str, host: (&str, &str)) {
        let options = format!(
            "transport=tcp,traddr={},trsvcid=4420,nqn={nqn},hostnqn={},hostid={},ctrl_loss_tmo=-1",
            self.appliance.address(),
            host.0,
            host.1
        );
        let script = format!("exec 9<>/dev/nvme-fabrics; printf %s '{options}' >&9; cat <&9");
        let reply = guest.script(&script).await.unwrap();
        assert!(reply.starts_with("instance="), "{reply}");
    }

    /// A machine that is no node of this cluster.
    pub(crate) async fn stranger(&self, name: &str) -> Guest {
        Guest::boot(&self.lab, GuestOptions::named(name))
            .await
            .unwrap()
    }

    /// Switches a volume's export by hand.
    pub(crate) async fn export(&self, volume: &Volume, on: bool) {
        let word = if on { "yes" } else { "no" };
        let command = format!(
            "/disk set [find slot=\"{}\"] nvme-tcp-export={word}",
            volume.id()
        );
        self.routeros(&command).await;
    }

    /// Asserts that nothing of any volume is left on nodes and appliance.
    pub(crate) async fn assert_clean(&self) {
        for node in &self.nodes {
            node.assert_clean().await;
        }
        let state = self.appliance.control(&json!({ "op": "state" })).await;
        let state = state.unwrap().to_string();
        assert!(!state.contains("pvc-"), "left on the appliance: {state}");
        let script = "find /mnt/appliance/pool -type f; ls /sys/kernel/config/nvmet/subsystems";
        let left = self.appliance.guest().script(script).await.unwrap();
        assert_eq!(left.trim(), "", "left on the appliance");
    }
}

fn with_switches(switches: &[&str]) -> ApplianceOptions {
    let switches = switches
        .iter()
        .flat_map(|switch| ["--variant".to_owned(), (*switch).to_owned()]);
    ApplianceOptions {
        arguments: switches.collect(),
        ..ApplianceOptions::default()
    }
}

impl Node {
    pub(crate) fn plugin(&self) -> &Plugin {
        self.process.plugin()
    }

    /// What a script in the guest writes, without white space around it.
    pub(crate) async fn script(&self, script: &str) -> String {
        let output = self.guest.script(script).await.unwrap();
        output.trim().to_owned()
    }

    /// The guest's clock, in seconds.
    pub(crate) async fn clock(&self) -> f64 {
        self.script("echo $EPOCHREALTIME").await.parse().unwrap()
    }

    /// Until the kernel has so many sessions, in whatever state.
    pub(crate) async fn await_controllers(&self, count: usize) {
        until(
            &format!("{count} sessions are left"),
            DEADLINE,
            async || {
                let script = "ls /sys/class/nvme 2>/dev/null | wc -l";
                Ok((self.script(script).await == count.to_string()).then_some(()))
            },
        )
        .await
        .unwrap();
    }

    /// Whether a script succeeds, and its error output.
    pub(crate) async fn attempt(&self, script: &str) -> (bool, String) {
        let output = self
            .guest
            .run(&["bash", "-euo", "pipefail", "-c", script])
            .await
            .unwrap();
        (output.success(), output.error_text())
    }

    /// Kills the plugin as a crash would and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.formats = self.formats().await;
        self.process.kill().await.unwrap();
        self.restart().await;
    }

    /// Starts the plugin after its end.
    pub(crate) async fn restart(&mut self) {
        self.process = NodeProcess::start(&self.guest, &self.name).await.unwrap();
    }

    /// The states of the sessions to a subsystem, one a line.
    pub(crate) async fn sessions(&self, nqn: &str) -> String {
        let script = format!(
            "for c in /sys/class/nvme/nvme*; do
               [ ! -e $c ] || [ \"$(cat $c/subsysnqn)\" != {nqn} ] || cat $c/state
             done"
        );
        self.script(&script).await
    }

    /// The page of the plugin's metrics.
    pub(crate) async fn metrics(&self) -> String {
        self.script("exec 9<>/dev/tcp/127.0.0.1/9808; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&9; cat <&9").await
    }

    /// How many filesystems the plugin has made since its start, by its own metric, and
    /// those before it that ended by [`Node::crash`].
    pub(crate) async fn formats(&self) -> u64 {
        let page = self.metrics().await;
        let formats: u64 = metrics::sum(&page, "rds_csi_formats_total", &[]).unwrap();
        self.formats + formats
    }

    /// Asserts that nothing of any volume is left here.
    pub(crate) async fn assert_clean(&self) {
        let script = format!(
            "set +e
             ls -d /sys/class/nvme/nvme* /sys/block/nvme* 2>/dev/null
             grep -e nvme -e kubernetes.io /proc/self/mountinfo
             find /var/lib/kubelet/plugins /var/lib/kubelet/pods -type b -o -type f -o -name mount 2>/dev/null
             find {} -type f
             true",
            self.guest.share().join("state").display()
        );
        // The engine takes back what it noted of an outage beside the calls.
        let mut left = self.script(&script).await;
        for _ in 0..50 {
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            left = self.script(&script).await;
        }
        assert_eq!(left, "", "left on {}", self.name);
    }
}

impl Drop for Cluster {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness captures it and shows it for a failed test"
    )]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut logs = vec![("controller", self.controller.output())];
        for node in &self.nodes {
            logs.push((&node.name, node.process.output()));
        }
        for (whose, log) in logs {
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("The log of {whose} ends:\n{}", tail.join("\n"));
        }
    }
}
