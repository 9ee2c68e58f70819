//! The webhook is asked over TLS, as an API server asks.

use anyhow::{Context as _, Result, ensure};
use rds_csi_tests::webhook::WebhookProcess;
use serde_json::{Value, json};

use crate::story::Story;

const CLASS: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: rds-nvme
provisioner: rds.csi.srvlab.io
"#;

pub(crate) async fn chapter(story: &mut Story) -> Result<()> {
    story.chapter("Claims at the door");
    let webhook = WebhookProcess::start(CLASS).await?;
    story.step(&format!(
        "rds-csi-webhook serves reviews over TLS at {}",
        webhook.address()
    ));
    let answer = webhook
        .review(&claim("shared-files", "ReadWriteMany", "Filesystem"))
        .await?;
    ensure!(
        answer["allowed"] == json!(false),
        "a shared filesystem was allowed: {answer}"
    );
    story.step("ReadWriteMany on a filesystem: refused");
    Story::detail(
        answer["status"]["message"]
            .as_str()
            .context("a refusal without a message")?,
    );
    for (name, access, mode) in [
        ("vm-disk", "ReadWriteMany", "Block"),
        ("database", "ReadWriteOnce", "Filesystem"),
    ] {
        let answer = webhook.review(&claim(name, access, mode)).await?;
        ensure!(
            answer["allowed"] == json!(true),
            "{access} {mode} was refused: {answer}"
        );
        story.step(&format!("{access} on {mode}: allowed"));
    }
    webhook.stop().await
}

fn claim(name: &str, access: &str, mode: &str) -> Value {
    let object = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "accessModes": [access],
            "volumeMode": mode,
            "storageClassName": "rds-nvme",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": format!("demo-{name}"),
            "kind": { "group": "", "version": "v1", "kind": "PersistentVolumeClaim" },
            "resource": { "group": "", "version": "v1", "resource": "persistentvolumeclaims" },
            "name": name,
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": { "username": "demo" },
            "dryRun": false,
            "object": object,
        },
    })
}
