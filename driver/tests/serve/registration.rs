//! The node plugin and kubelet: who learns of whom, when, and how often.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use csi_proto::pluginregistration::PluginInfo;
use csi_proto::v1::ProbeRequest;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use rds_csi_core::kind::Chain;
use rds_csi_driver::registration::RegistrationError;
use rds_csi_driver::serve::ServeError;
use rds_csi_driver::server::SocketError;
use tokio_util::sync::CancellationToken;

use crate::kubelet::Kubelet;
use crate::machine::{Machine, filesystem};
use crate::running::{Running, channel, soon, until};

/// A machine whose kubelet watches a directory.
struct Watched {
    machine: Machine,
    directory: PathBuf,
    socket: PathBuf,
    flags: [String; 2],
}

impl Watched {
    fn new() -> Self {
        let machine = Machine::new();
        let directory = machine.path("plugins_registry");
        fs::create_dir(&directory).unwrap();
        let endpoint = machine.path("csi.sock");
        Self {
            socket: directory.join("csi@rds.csi.srvlab.io-reg.sock"),
            flags: [
                format!("--registration-dir={}", directory.display()),
                format!("--kubelet-endpoint={}", endpoint.display()),
            ],
            directory,
            machine,
        }
    }

    fn flags(&self) -> [&str; 2] {
        self.flags.each_ref().map(String::as_str)
    }

    fn kubelet(&self) -> Kubelet {
        Kubelet::started(&self.directory)
    }

    /// A plugin that waits for kubelet.
    async fn start(&self) -> Running {
        let running = self.machine.start(&self.flags()).await;
        let reason = format!(
            "registration: not registered with kubelet: kubelet has not asked on {:?}\nserving: ok\n",
            self.socket
        );
        running.page("/readyz", 503, &reason).await;
        running
    }
}

async fn assert_ready(running: &Running) {
    let ready = running.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    assert!(
        ready.ends_with("registration: ok\nserving: ok\n"),
        "{ready}"
    );
}

#[tokio::test]
async fn kubelet_learns_of_the_plugin_and_forgets_it_at_its_end() {
    let watched = Watched::new();
    let mut kubelet = watched.kubelet();
    let running = watched.start().await;
    let mode = fs::metadata(&watched.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    kubelet.look().await.unwrap();
    let [driver] = &kubelet.drivers()[..] else {
        panic!("one driver, not {:?}", kubelet.drivers());
    };
    let info = PluginInfo {
        r#type: "CSIPlugin".to_owned(),
        name: "rds.csi.srvlab.io".to_owned(),
        endpoint: running.socket.display().to_string(),
        supported_versions: vec!["1.0.0".to_owned()],
    };
    assert_eq!((&driver.info, driver.node_id.as_str()), (&info, "node-1"));
    assert_ready(&running).await;
    for line in [
        "rds_csi_registrations_total{result=\"ok\"} 1",
        "rds_csi_rpc_total{rpc=\"GetInfo\",code=\"OK\"} 1",
        "rds_csi_rpc_total{rpc=\"NotifyRegistrationStatus\",code=\"OK\"} 1",
    ] {
        running.metric(line).await;
    }

    running.end().await.unwrap();
    assert_eq!(fs::read_dir(&watched.directory).unwrap().count(), 0);
    kubelet.look().await.unwrap();
    assert_eq!(kubelet.drivers(), []);
}

#[tokio::test]
async fn a_kubelet_that_restarts_is_answered_again_however_often() {
    let watched = Watched::new();
    let running = watched.start().await;
    for _ in 0..20 {
        let mut kubelet = watched.kubelet();
        kubelet.look().await.unwrap();
        assert_eq!(kubelet.drivers().len(), 1);
        assert_ready(&running).await;
    }
    running
        .metric("rds_csi_registrations_total{result=\"ok\"} 20")
        .await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_and_forgotten_once_kubelet_takes_the_plugin() {
    let watched = Watched::new();
    let running = watched.start().await;
    let mut kubelet = watched.kubelet();
    kubelet.api_server = Err("error updating CSINode: \"connection refused\"");
    for refusals in 1..3 {
        kubelet.look().await.unwrap_err();
        let ready = running.get("/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        let reason = "kubelet refused it: \"error updating CSINode: \\\"connection refused";
        assert!(ready.contains(reason), "{ready}");
        running
            .metric(&format!(
                "rds_csi_registrations_total{{result=\"refused\"}} {refusals}"
            ))
            .await;
    }
    // What it serves, it serves on.
    let mut client = IdentityClient::new(channel(&running.socket).await);
    client.probe(ProbeRequest {}).await.unwrap();
    running.page("/healthz", 200, "ok\n").await;

    kubelet.api_server = Ok(());
    kubelet.look().await.unwrap();
    assert_ready(&running).await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn what_a_killed_plugin_left_is_replaced_and_kubelet_asks_the_new_one() {
    let watched = Watched::new();
    drop(UnixListener::bind(&watched.socket).unwrap());
    let mut kubelet = watched.kubelet();
    let error = kubelet.look().await.unwrap_err();
    assert!(error.contains("dial failed"), "{error}");
    let running = watched.start().await;
    kubelet.look().await.unwrap();
    assert_ready(&running).await;
    running.end().await.unwrap();
}

/// How a plugin ends that cannot register itself.
async fn failure(watched: &Watched) -> (RegistrationError, String) {
    let mut running = watched.machine.start(&watched.flags()).await;
    let error = soon(running.ended()).await.unwrap_err();
    let text = Chain(&error).to_string();
    match error {
        ServeError::Registration(error) => (error, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_somebody_put_in_the_way_stays_and_ends_the_plugin() {
    let watched = Watched::new();
    fs::write(&watched.socket, "mine").unwrap();
    let (error, text) = failure(&watched).await;
    assert!(
        matches!(
            error,
            RegistrationError::Socket(SocketError::Foreign { .. })
        ),
        "{text}"
    );
    assert!(
        text.contains("reg.sock\" exists and is not a socket; remove it"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&watched.socket).unwrap(), "mine");
    assert!(!watched.machine.path("csi.sock").exists());
}

#[tokio::test]
async fn a_directory_that_kubelet_cannot_watch_is_not_made_up() {
    let watched = Watched::new();
    fs::remove_dir(&watched.directory).unwrap();
    let (error, text) = failure(&watched).await;
    assert!(
        matches!(error, RegistrationError::Directory { .. }),
        "{text}"
    );
    assert!(
        text.contains("mount kubelet's plugins_registry there"),
        "{text}"
    );
    assert!(!watched.directory.exists());
}

/// A listener that never answers stands in for the server, then the server is back.
#[tokio::test]
async fn no_kubelet_is_told_of_a_plugin_that_does_not_answer() {
    let watched = Watched::new();
    let config = watched.machine.config(&watched.flags());
    let stop = CancellationToken::new();
    let driver = watched.machine.bind(&config, &stop).await;
    let aside = watched.machine.path("aside");
    fs::rename(&config.endpoint, &aside).unwrap();
    let hanging = UnixListener::bind(&config.endpoint).unwrap();
    let running = Running::start(driver, &config.endpoint, stop);

    let reason = format!("{:?} gave no answer within 5s\n", config.endpoint);
    running.page("/healthz", 503, &reason).await;
    let ready = running.get("/readyz").await;
    assert!(
        ready.contains("the CSI socket has not answered yet"),
        "{ready}"
    );
    assert!(!watched.socket.exists());

    drop(hanging);
    fs::rename(&aside, &config.endpoint).unwrap();
    running.page("/healthz", 200, "ok\n").await;
    until(async || watched.socket.exists()).await;
    watched.kubelet().look().await.unwrap();
    assert_ready(&running).await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn at_the_end_kubelet_is_told_first_and_nobody_takes_the_rest_for_dead() {
    let watched = Watched::new();
    let Watched { machine, .. } = &watched;
    let delay = Duration::from_millis(700);
    machine.array.set_namespace_delay(&machine.nqn, delay);
    let running = watched.start().await;
    let mut client = NodeClient::new(channel(&running.socket).await);
    tokio::select! {
        answer = client.node_stage_volume(machine.stage(filesystem())) => panic!("{answer:?}"),
        () = until(async || !machine.host.connected().is_empty()) => {}
    }
    drop(client);
    running.stop.cancel();
    until(async || !watched.socket.exists()).await;
    running.page("/healthz", 200, "ok\n").await;
    running
        .page("/readyz", 503, "serving: shutting down\n")
        .await;
    assert_eq!(machine.host.mount_table(), [], "staging is still under way");
    running.end().await.unwrap();
    assert_eq!(machine.host.mount_table().len(), 1);
}
