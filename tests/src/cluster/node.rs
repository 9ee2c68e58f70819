//! A node: a guest with containerd and kubelet, which survives the loss of its power as
//! a machine does: its disk stays, everything else is gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::certificates::Authority;
use super::layout::NodeDescription;
use crate::guest::{Guest, GuestOptions, Process};
use crate::lab::Lab;
use crate::wait::until;

/// What kubelet, containerd and the pods of a test need.
const MEMORY_MEBIBYTES: u32 = 1536;
const DISK_MEBIBYTES: u64 = 8192;
const DEADLINE: Duration = Duration::from_secs(120);
const KUBELET: &str = "127.0.0.1:10250";
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// A node of the cluster.
#[derive(Debug)]
pub(super) struct Node {
    guest: Guest,
    setup: Setup,
    disk: PathBuf,
    kubelet: Mutex<Option<Process>>,
    imported: AtomicU32,
}

/// What a node needs from the outside.
#[derive(Debug)]
struct Setup {
    script: PathBuf,
    tools: PathBuf,
    gateway: String,
    pods: String,
    authority: PathBuf,
    kubeconfig: PathBuf,
}

impl Node {
    /// The name of a kept disk: one of another size is another disk.
    pub(super) fn disk_name() -> String {
        format!("node-{DISK_MEBIBYTES}.disk")
    }

    /// Boots a guest and starts containerd in it, on a copy of the disk
    /// `template` if there is one.
    ///
    /// # Errors
    /// The guest did not boot, or what runs in it failed.
    pub(super) async fn boot(
        lab: &Lab,
        authority: &Authority,
        name: &str,
        pods: &str,
        tools: &Path,
        template: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let gateway = lab
            .cluster_address()
            .context("this lab has no network for a cluster")?
            .to_string();
        let user = format!("system:node:{name}");
        let identity = authority.client(name, &user, Some("system:nodes"))?;
        let setup = Setup {
            script: script()?,
            tools: tools.to_owned(),
            pods: pods.to_owned(),
            authority: authority.file("ca.crt"),
            kubeconfig: authority.kubeconfig(name, &identity, &format!("https://{gateway}:443"))?,
            gateway,
        };
        let disk = lab.disk(name, DISK_MEBIBYTES)?;
        if let Some(template) = template {
            copy_sparse(template, &disk)?;
        }
        let options = GuestOptions::named(name)
            .memory(MEMORY_MEBIBYTES)
            .disk(&disk);
        let guest = Guest::boot(lab, options).await?;
        lab.route(pods, &guest)?;
        let node = Self {
            guest,
            setup,
            disk,
            kubelet: Mutex::default(),
            imported: AtomicU32::new(0),
        };
        node.prepare().await?;
        Ok(node)
    }

    /// Boots after a power cut, and starts containerd and kubelet again.
    ///
    /// # Errors
    /// It runs already, or something did not start: the guest is off again then.
    pub(super) async fn boot_again(&self) -> anyhow::Result<()> {
        ensure!(!self.guest.is_running(), "it runs already");
        let begun = self.begin().await;
        if begun.is_err() {
            // Half a node is none: who heals the cluster boots it again.
            self.guest.kill()?;
        }
        begun
    }

    async fn begin(&self) -> anyhow::Result<()> {
        self.guest.start().await?;
        self.prepare().await?;
        self.restart_kubelet().await
    }

    /// Starts kubelet where it ran before, and waits until it serves: it is asked for logs
    /// of pods, and to run something in them, from then on.
    ///
    /// # Errors
    /// It ended, or does not serve in time.
    pub(super) async fn restart_kubelet(&self) -> anyhow::Result<()> {
        self.start_kubelet().await?;
        until("kubelet serves", DEADLINE, async || {
            if !self.has_kubelet().await? {
                let log = super::kubectl::tail(&self.guest.share().join("kubelet.log"), 20);
                bail!("kubelet ended: {log}");
            }
            Ok(self.guest.tcp(KUBELET).await.ok().map(drop))
        })
        .await
    }

    /// Imports an archive of images.
    ///
    /// # Errors
    /// containerd refused it.
    pub(super) async fn import(&self, archive: &Path) -> anyhow::Result<()> {
        // By a name never used before: of a file that was replaced on the host, a guest
        // may still see the old one.
        let number = self.imported.fetch_add(1, Ordering::Relaxed);
        let copy = self.guest.share().join(format!("images-{number}.tar"));
        std::fs::copy(archive, &copy).with_context(|| format!("copying {}", archive.display()))?;
        let imported = self.import_visible(&copy).await;
        std::fs::remove_file(&copy).context("removing the copy of an archive")?;
        imported.with_context(|| format!("importing {}", archive.display()))
    }

    async fn import_visible(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = archive.display().to_string();
        let ctr = self.tool("ctr");
        let words = [&ctr, "--namespace=k8s.io", "images", "import", &archive];
        let output = self.guest.run_within(&words, DEADLINE).await?;
        ensure!(output.success(), "ctr: {}", output.error_text());
        // containerd does not: of images whose node lost its power soon after, names and
        // empty files would be left, and no container could start.
        let output = self.guest.run_within(&["sync"], DEADLINE).await?;
        ensure!(output.success(), "sync: {}", output.error_text());
        Ok(())
    }

    /// Keeps the disk as it is now for nodes to come, which need not import what is on it.
    ///
    /// # Errors
    /// The filesystem cannot be held still, or the copy failed.
    pub(super) async fn keep_disk(&self, template: &Path) -> anyhow::Result<()> {
        let part = template.with_extension("part");
        self.guest.script("fsfreeze --freeze /mnt/disk").await?;
        let copied = copy_sparse(&self.disk, &part);
        self.guest.script("fsfreeze --unfreeze /mnt/disk").await?;
        copied?;
        std::fs::rename(&part, template).with_context(|| format!("writing {}", template.display()))
    }

    /// Starts kubelet. Whether the API server answers does not matter.
    ///
    /// # Errors
    /// The guest does not answer.
    pub(super) async fn start_kubelet(&self) -> anyhow::Result<()> {
        let words = [
            &self.tool("kubelet"),
            "--config=/etc/kubernetes/kubelet.yaml",
            &format!("--kubeconfig={}", self.setup.kubeconfig.display()),
            &format!("--hostname-override={}", self.guest.name()),
            &format!("--node-ip={}", self.guest.cluster_address()),
            "-v=2",
        ];
        let process = self.spawn("kubelet", &words).await?;
        *self.kubelet() = Some(process);
        Ok(())
    }

    /// Whether kubelet runs.
    ///
    /// # Errors
    /// The guest does not answer.
    pub(super) async fn has_kubelet(&self) -> anyhow::Result<bool> {
        let words = ["pidof", "kubelet"];
        Ok(self.guest.run(&words).await?.success())
    }

    /// Ends kubelet, by SIGKILL. Its pods go on.
    ///
    /// # Errors
    /// It does not run, or the guest does not answer.
    pub(super) async fn kill_kubelet(&self) -> anyhow::Result<()> {
        let taken = self.kubelet().take();
        let process = taken.context("kubelet does not run")?;
        process.signal("KILL").await?;
        let ended = process.wait(DEADLINE).await?;
        ensure!(ended.is_some(), "kubelet outlived SIGKILL");
        Ok(())
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    pub(super) fn describe(&self) -> NodeDescription {
        NodeDescription {
            name: self.guest.name().to_owned(),
            agent: self.guest.agent().address(),
            address: self.guest.cluster_address(),
            share: self.guest.share().to_owned(),
        }
    }

    fn kubelet(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.kubelet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts and configures everything, and starts containerd.
    async fn prepare(&self) -> anyhow::Result<()> {
        let setup = &self.setup;
        let script = format!(
            "NODE_DISK=/dev/ubda NODE_GATEWAY={} NODE_PODS={} NODE_TOOLS={} NODE_CA={} {}",
            setup.gateway,
            setup.pods,
            setup.tools.display(),
            setup.authority.display(),
            setup.script.display(),
        );
        self.guest.script(&script).await?;
        let words = [
            &self.tool("containerd"),
            "--config=/etc/containerd/config.toml",
        ];
        let process = self.spawn("containerd", &words).await?;
        until("containerd answers", DEADLINE, async || {
            if let Some(status) = process.status().await? {
                bail!("containerd ended with {status:?}: {}", process.output());
            }
            Ok(self.guest.unix(CONTAINERD).await.ok().map(drop))
        })
        .await
    }

    fn tool(&self, name: &str) -> String {
        self.setup.tools.join(name).display().to_string()
    }

    /// Starts a program that finds the tools in its `PATH`.
    async fn spawn(&self, name: &str, words: &[&str]) -> anyhow::Result<Process> {
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.setup.tools.display()
        );
        Ok(self.guest.spawn(name, words, &[("PATH", &path)]).await?)
    }
}

/// The script that prepares a node, as guests see it.
fn script() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../hack/kubernetes/node")
        .canonicalize()
        .context("looking for hack/kubernetes/node")
}

/// Copies a disk without its holes.
#[expect(
    clippy::disallowed_methods,
    reason = "no library call copies a sparse file; it takes a second and cannot hang"
)]
fn copy_sparse(from: &Path, to: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new("cp")
        .arg("--sparse=always")
        .args([from, to])
        .output()
        .context("running cp")?;
    ensure!(
        output.status.success(),
        "copying {}: {}",
        from.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
