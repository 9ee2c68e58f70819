//! Storage classes from an API server.

use rds_csi_webhook::config::ClassSource;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::{ApiServer, kubeconfig};
use crate::client::Protocol;
use crate::harness::{Running, claim, eventually};

#[tokio::test]
async fn classes_are_followed_from_an_api_server_that_comes_late_and_goes_away() {
    // A port that nobody listens on yet.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let directory = tempfile::tempdir().unwrap();
    let path = kubeconfig(directory.path(), address);
    let running = Running::with(|config| {
        config.classes = ClassSource::Cluster;
        config.kubeconfig = Some(path);
    })
    .await;
    let shared = claim("ReadWriteMany", "Filesystem");
    let ask = async || {
        let mut client = running.client(Protocol::Http1).await;
        client.review(&shared).await.unwrap()
    };

    let answer = ask().await;
    assert_eq!(answer["allowed"], true);
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("not read yet"), "{warning}");
    let not_ready = (503, "the storage classes are not read yet".to_owned());
    assert_eq!(running.admin("/readyz").await, not_ready);
    eventually("the failure is counted", async || {
        running.metrics.watch_errors.get() > 0
    })
    .await;

    let api = ApiServer::new();
    api.add_class("other");
    let mut serving = JoinSet::new();
    serving.spawn(api.clone().serve(TcpListener::bind(address).await.unwrap()));
    eventually("it is ready", async || {
        running.admin("/readyz").await.0 == 200
    })
    .await;
    assert_eq!(ask().await["allowed"], true, "the class is not known");

    eventually("the class is watched", async || api.is_watched()).await;
    api.cut_watches();
    api.add_class("rds-nvme");
    eventually("the claim is refused", async || {
        ask().await["allowed"] == false
    })
    .await;
    running.finish().await.unwrap();
}
