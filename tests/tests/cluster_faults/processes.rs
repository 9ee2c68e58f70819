//! The product's processes, found and killed on the nodes as the kernel does it: without
//! a word to anybody.

use rds_csi_tests::cluster::Cluster;

/// A process on a node.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    node: String,
    pid: String,
}

/// The processes of controllers.
pub(crate) async fn controllers(cluster: &Cluster) -> anyhow::Result<Vec<Process>> {
    matching(cluster, "^[^ ]*rds-csi-driver controller ").await
}

/// The processes of webhooks.
pub(crate) async fn webhooks(cluster: &Cluster) -> anyhow::Result<Vec<Process>> {
    matching(cluster, "^[^ ]*rds-csi-webhook serve").await
}

async fn matching(cluster: &Cluster, pattern: &str) -> anyhow::Result<Vec<Process>> {
    let mut found = Vec::new();
    for node in cluster.node_names() {
        let output = cluster.node(node)?.run(&["pgrep", "-f", pattern]).await?;
        found.extend(output.text().lines().map(|pid| Process {
            node: node.to_owned(),
            pid: pid.trim().to_owned(),
        }));
    }
    Ok(found)
}

impl Process {
    /// The node that it runs on.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Sends SIGKILL; whether there was anything left to kill.
    pub(crate) async fn kill(&self, cluster: &Cluster) -> anyhow::Result<bool> {
        let node = cluster.node(&self.node)?;
        let output = node.run(&["kill", "-KILL", &self.pid]).await?;
        Ok(output.success())
    }
}

/// A reproducible sequence of choices (SplitMix64), whose seed is printed.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The seed in `RDS_CSI_SEED`, or a new one.
    #[expect(clippy::print_stdout, reason = "who repeats a run needs its seed")]
    pub(crate) fn from_environment() -> Self {
        let given = std::env::var("RDS_CSI_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap_or_default().as_secs()
        });
        println!("seed: RDS_CSI_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }
}
