//! etcd, API server, controller manager and scheduler, as processes of the lab.
//!
//! They are real but lonely: one of each, so no leader election, and etcd does not wait
//! for disks. There is no kube-proxy: the only Service whose address works is
//! `kubernetes`, since that address is the API server's own, and the API server calls
//! webhooks at the addresses of pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use super::certificates::Authority;
use super::kubectl::Kubectl;
use super::layout::State;
use crate::child::ChildProcess;
use crate::lab::Lab;

/// The range of Services and its first address, which is the Service `kubernetes`.
const SERVICES: &str = "10.96.0.0/16";
const KUBERNETES: &str = "10.96.0.1";
const ETCD: &str = "http://127.0.0.1:2379";
const DEADLINE: Duration = Duration::from_secs(120);

/// The programs, in the order in which they start.
pub(super) const PARTS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The running control plane.
#[derive(Debug)]
pub(super) struct ControlPlane {
    commands: Vec<Vec<String>>,
    running: Mutex<[Option<ChildProcess>; PARTS.len()]>,
    state: State,
    programs: Programs,
    kubectl: Kubectl,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// The folder of what hack/kubernetes/tools/build built.
    pub(super) tools: PathBuf,
    pub(super) etcd: PathBuf,
}

impl Programs {
    fn path(&self, name: &str) -> PathBuf {
        if name == "etcd" {
            self.etcd.clone()
        } else {
            self.tools.join(name)
        }
    }
}

impl ControlPlane {
    /// Starts all parts and waits until the API server is ready.
    ///
    /// # Errors
    /// A part did not start, or ended: the end of its log is in the error.
    pub(super) async fn start(
        lab: &Lab,
        authority: &Authority,
        state: &State,
        programs: &Programs,
    ) -> anyhow::Result<Self> {
        lab.add_address(&format!("{KUBERNETES}/32"))?;
        // Pods of one node reach those of the other through here.
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("turning on forwarding")?;
        let api = lab
            .cluster_address()
            .context("this lab has no network for a cluster")?
            .to_string();
        let plane = Self {
            commands: commands(authority, state, &api)?,
            running: Mutex::default(),
            state: state.clone(),
            programs: programs.clone(),
            kubectl: Kubectl::new(programs.tools.join("kubectl"), state),
        };
        for part in PARTS {
            plane.start_part(part).await?;
        }
        Ok(plane)
    }

    /// Starts a part that does not run and waits until it can be worked with.
    ///
    /// # Errors
    /// It runs already, or did not become ready.
    pub(super) async fn start_part(&self, name: &str) -> anyhow::Result<()> {
        let index = index(name)?;
        let arguments = self
            .commands
            .get(index)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let log = self.state.log(name);
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = running.get_mut(index).context("no such part")?;
            ensure!(slot.is_none(), "{name} runs already");
            *slot = Some(ChildProcess::start_at(
                name,
                &self.programs.path(name),
                arguments,
                &log,
            )?);
        }
        if name == "kube-apiserver" {
            self.await_api().await?;
        }
        Ok(())
    }

    /// Ends a part, by SIGKILL.
    ///
    /// # Errors
    /// There is no such part, or it does not run.
    pub(super) fn kill_part(&self, name: &str) -> anyhow::Result<()> {
        let index = index(name)?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = running.get_mut(index).and_then(Option::take);
        taken
            .map(drop)
            .with_context(|| format!("{name} does not run"))
    }

    /// Sends a signal to a part, named as in `STOP` and `CONT`.
    ///
    /// # Errors
    /// There is no such part, or it does not run.
    pub(super) fn signal_part(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        let index = index(name)?;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let child = running.get(index).and_then(Option::as_ref);
        child
            .with_context(|| format!("{name} does not run"))?
            .signal(signal)
    }

    /// The process id of a part, if it runs.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let child = running.get(index(name).ok()?)?.as_ref()?;
        child.is_running().then(|| child.pid())
    }

    async fn await_api(&self) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let Err(error) = self.kubectl.run(&["get", "--raw", "/readyz"]).await else {
                return Ok(());
            };
            if self.pid("kube-apiserver").is_none() || tokio::time::Instant::now() > end {
                let log = super::kubectl::tail(&self.state.log("kube-apiserver"), 20);
                return Err(error)
                    .context(log)
                    .context("the API server is not ready");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn index(name: &str) -> anyhow::Result<usize> {
    match PARTS.iter().position(|&part| part == name) {
        Some(index) => Ok(index),
        None => bail!(
            "the control plane has no part {name:?}; there are: {}",
            PARTS.join(", ")
        ),
    }
}

/// What each part is started with, in the order of [`PARTS`].
fn commands(authority: &Authority, state: &State, api: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let local = format!("https://{api}:443");
    let config = |name: &str, user: &str, group| {
        let identity = authority.client(name, user, group)?;
        authority.kubeconfig(name, &identity, &local)
    };
    config("admin", "lab-admin", Some("system:masters"))?;
    let manager = config(
        "kube-controller-manager",
        "system:kube-controller-manager",
        None,
    )?;
    let scheduler = config("kube-scheduler", "system:kube-scheduler", None)?;
    Ok(vec![
        etcd(state),
        api_server(authority, state, api)?,
        controller_manager(authority, state, &manager),
        vec![
            format!("--kubeconfig={}", scheduler.display()),
            format!("--cert-dir={}", state.path("kube-scheduler").display()),
            "--authentication-skip-lookup=true".to_owned(),
            "--leader-elect=false".to_owned(),
        ],
    ])
}

fn etcd(state: &State) -> Vec<String> {
    let peer = "http://127.0.0.1:2380";
    vec![
        "--name=lab".to_owned(),
        format!("--data-dir={}", state.path("etcd").display()),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=lab={peer}"),
    ]
}

fn api_server(authority: &Authority, state: &State, api: &str) -> anyhow::Result<Vec<String>> {
    let hosts = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "127.0.0.1",
        KUBERNETES,
        api,
    ];
    let server = authority.server("kube-apiserver", &hosts)?;
    let kubelets = authority.client("kube-apiserver-kubelet", "kube-apiserver-kubelet", None)?;
    let policy = state.path("audit-policy.json");
    let rules = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    fs::write(&policy, rules.to_string()).context("writing the audit policy")?;
    let file = |name: &str| authority.file(name).display().to_string();
    Ok(vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={api}"),
        "--secure-port=443".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--enable-aggregator-routing=true".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--tls-cert-file={}", server.certificate.display()),
        format!("--tls-private-key-file={}", server.key.display()),
        format!("--client-ca-file={}", file("ca.crt")),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!(
            "--kubelet-client-certificate={}",
            kubelets.certificate.display()
        ),
        format!("--kubelet-client-key={}", kubelets.key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", state.path("audit.log").display()),
        // One file for ever: what was asked for before a rotation could not be judged.
        "--audit-log-maxsize=0".to_owned(),
        "--profiling=false".to_owned(),
    ])
}

fn controller_manager(authority: &Authority, state: &State, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!(
            "--cert-dir={}",
            state.path("kube-controller-manager").display()
        ),
        format!("--root-ca-file={}", authority.file("ca.crt").display()),
        format!(
            "--service-account-private-key-file={}",
            authority.file("sa.key").display()
        ),
        "--authentication-skip-lookup=true".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        // The lab itself gives pods their subnets and routes.
        "--controllers=*,-node-ipam-controller,-node-route-controller,-service-lb-controller"
            .to_owned(),
    ]
}
