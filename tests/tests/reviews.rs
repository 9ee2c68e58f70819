//! The whole webhook between an API server that has attachments and migrations reviewed, over
//! TLS, and the one that it reads, over HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::net::SocketAddr;
use std::time::Duration;

use rds_csi_core::attachment::Modes;
use rds_csi_tests::api_server::objects::{launch, machine, node, wish};
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use rds_csi_tests::metrics;
use rds_csi_tests::webhook::{NAME, Reviews};
use rds_csi_webhook::config::{CertificateConfig, ClassSource, ServeConfig};
use rds_csi_webhook::serve::{ServeError, Webhook};
use rds_csi_webhook::server::Limits;
use rds_csi_webhook::tls::files::CertificateFiles;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

const PV: &str = "pv-root";
const SECOND: Duration = Duration::from_secs(1);

/// A webhook of this process; ends when it is dropped.
struct Running {
    reviews: SocketAddr,
    admin: SocketAddr,
    certificate: CertificateDer<'static>,
    _serving: JoinSet<Result<(), ServeError>>,
    _directory: TempDir,
}

impl Running {
    /// One that reads this cluster and has so long for a request.
    async fn start(api: &FakeApiServer, request: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let files = CertificateFiles {
            certificate: path("tls.crt"),
            key: path("tls.key"),
        };
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        let kubeconfig = FakeApiServer::kubeconfig(api.address());
        std::fs::write(path("kubeconfig"), kubeconfig).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let webhook = Webhook::prepare(ServeConfig {
            driver: "rds.csi.srvlab.io".parse().unwrap(),
            listen: loopback,
            admin_listen: loopback,
            certificate: CertificateConfig::Files(files),
            tls_reload_interval: Duration::from_secs(60),
            kubeconfig: Some(path("kubeconfig")),
            classes: ClassSource::Cluster,
            modes: Modes::default(),
            limits: Limits {
                request,
                ..Limits::default()
            },
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(10),
        });
        let webhook = webhook.await.unwrap();
        let (reviews, admin) = (webhook.review_address(), webhook.admin_address());
        let mut serving = JoinSet::new();
        serving.spawn(webhook.run(CancellationToken::new()));
        Self {
            reviews: reviews.unwrap(),
            admin: admin.unwrap(),
            certificate: pair.cert.der().clone(),
            _serving: serving,
            _directory: directory,
        }
    }

    /// The response to a wish to make an object of a kind of this group.
    async fn review(&self, group: &str, object: &Value) -> Value {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "operation": "CREATE", "namespace": "ns", "object": object,
                "kind": {"group": group, "version": "v1", "kind": object["kind"]},
            },
        });
        let reviews = Reviews::open(self.reviews, self.certificate.clone()).await;
        let answer = reviews.unwrap().review(&review.to_string()).await;
        answer.unwrap()["response"].clone()
    }

    /// A second node wants the volume.
    async fn attach(&self) -> Value {
        let attachment = json!({
            "kind": "VolumeAttachment", "metadata": {"name": "va-b"},
            "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": "node-b",
                "source": {"persistentVolumeName": PV}},
        });
        self.review("storage.k8s.io", &attachment).await
    }

    /// Somebody wants the machine to move.
    async fn migrate(&self) -> Value {
        let migration = json!({
            "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "move"},
            "spec": {"vmiName": "vm"},
        });
        self.review("kubevirt.io", &migration).await
    }

    async fn metrics(&self) -> String {
        metrics::page(self.admin, "/metrics").await.unwrap()
    }
}

/// A machine on `node-a` with its disk on a volume, and another one on `node-b` with the same.
async fn cluster(mode: &str) -> FakeApiServer {
    let api = FakeApiServer::start().await.unwrap();
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    api.put(&json!({
        "kind": "PersistentVolume", "metadata": {"name": PV},
        "spec": {
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"},
            "accessModes": [mode], "volumeMode": "Block",
            "claimRef": {"namespace": "ns", "name": "root"},
        },
        "status": {"phase": "Bound"},
    }));
    api.put(&json!({
        "kind": "PersistentVolumeClaim", "metadata": {"name": "root", "namespace": "ns"},
        "spec": {"volumeName": PV}, "status": {"phase": "Bound"},
    }));
    for (name, of) in [("node-a", "vm"), ("node-b", "another")] {
        node(&api, name, true);
        machine(&api, of);
        launch(&api, name, (of, "root"), None);
    }
    let disk = json!({"name": "disk0", "persistentVolumeClaim": {"claimName": "root"}});
    api.put(&json!({
        "kind": "VirtualMachineInstance", "metadata": {"name": "vm", "namespace": "ns"},
        "spec": {"volumes": [disk]},
    }));
    wish(&api, PV, "va-a", "node-a");
    let attached = json!({"attached": true});
    api.put(&json!({"kind": "VolumeAttachment", "metadata": {"name": "va-a"}, "status": attached}));
    api
}

/// Every request is answered in time, and all that a review needs are not.
#[tokio::test]
async fn a_review_that_a_slow_api_server_holds_up_is_answered_with_a_warning() {
    let api = cluster("ReadWriteOnce").await;
    let webhook = Running::start(&api, SECOND).await;
    api.fail("*", Fault::Slow(SECOND / 4), u32::MAX);
    let (attachment, migration) = tokio::join!(webhook.attach(), webhook.migrate());
    for answer in [attachment, migration] {
        assert_eq!(answer["allowed"], true, "{answer}");
        let said = "rds-csi cannot judge this now, the driver will: the API server is slow, 875ms were not enough";
        assert_eq!(answer["warnings"], json!([said]), "{answer}");
    }
    let page = webhook.metrics().await;
    for line in [
        "reviews_total{kind=\"VolumeAttachment\",operation=\"Create\",verdict=\"Warned\"} 1",
        "reviews_total{kind=\"VirtualMachineInstanceMigration\",operation=\"Create\",verdict=\"Warned\"} 1",
        "attachments_admitted_total 1",
    ] {
        assert!(page.contains(line), "{line} not in\n{page}");
    }
    assert!(!page.contains("rejected_requests_total{"), "{page}");

    api.heal();
    for answer in [webhook.attach().await, webhook.migrate().await] {
        assert_eq!(answer["allowed"], false, "{answer}");
    }
}

/// What a person reads of a disk that two machines share, by a word on the PersistentVolume.
#[rstest]
#[case::none(None, Some(""))]
#[case::holds(Some("2999-01-01T00:00:00Z two nodes of sql1"), None)]
#[case::over(
    Some("2020-01-01T00:00:00Z two nodes of sql1"),
    Some("; annotation shared-disk: the exception ended at 2020-01-01T00:00:00Z")
)]
#[case::no_reason(
    Some("2999-01-01T00:00:00Z"),
    Some(
        "; annotation shared-disk: no reason stands behind the moment at which the exception ends"
    )
)]
#[tokio::test]
async fn a_second_machine_is_let_in_by_an_exception_until_its_end(
    #[case] word: Option<&str>,
    #[case] refused: Option<&str>,
) {
    let api = cluster("ReadWriteMany").await;
    api.put(&json!({"kind": "PersistentVolume", "metadata": {"name": PV,
        "annotations": {"rds.csi.srvlab.io/shared-disk": word}}}));
    let webhook = Running::start(&api, Limits::default().request).await;
    let answer = webhook.attach().await;
    assert_eq!(answer["allowed"], refused.is_none(), "{answer}");
    assert_eq!(answer["warnings"], Value::Null, "{answer}");
    let message = answer["status"]["message"].as_str();
    let expected = refused.map(|why| {
        format!(
            "spec.nodeName: node node-a has the volume, and a second node gets it only for the live migration of the machine there: pod virt-launcher-another-node-b on node node-b is not for one, as it was not made for a migration{why} (Pod ns/virt-launcher-vm-node-a is in the way). It is free once the machine was stopped or has moved away. To see it: kubectl describe pod -n ns virt-launcher-vm-node-a"
        )
    });
    assert_eq!(message, expected.as_deref());
}
