//! Checks of manifests, from the text that goes in to the page that comes out.

use serde_json::{Value, json};

use super::*;

const CLASS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: rds-nvme}
provisioner: rds.csi.srvlab.io
";

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: app}
spec:
  storageClassName: rds-nvme
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
";

fn config(output: OutputFormat) -> CheckConfig {
    CheckConfig {
        driver: rds_csi_core::names::DriverName::default(),
        files: vec!["-".into()],
        storage_classes: Vec::new(),
        output,
        strict: false,
    }
}

fn human(input: &str) -> String {
    let mut out = Vec::new();
    run(
        &config(OutputFormat::Human),
        &mut input.as_bytes(),
        &mut out,
    );
    String::from_utf8(out).unwrap()
}

#[test]
fn a_finding_names_file_document_object_and_field() {
    let page = human(&format!("{CLASS}---{CLAIM}"));
    let lines: Vec<_> = page.lines().collect();
    assert!(
        lines[0].starts_with(
            "-:2 (PersistentVolumeClaim app/data): spec.accessModes[0]: ReadWriteMany needs"
        ),
        "{page}"
    );
    assert_eq!(lines[1], "2 objects checked, 1 refused, 0 warnings");
}

#[test]
fn json_has_the_same_facts() {
    let mut out = Vec::new();
    let input = format!("{CLAIM}---{CLASS}---\nkind: Deployment\n---\nx: [\n");
    run(&config(OutputFormat::Json), &mut input.as_bytes(), &mut out);
    let report: Value = serde_json::from_slice(&out).unwrap();
    for (key, count) in [
        ("checked", 2),
        ("refused", 1),
        ("warnings", 0),
        ("skipped", 1),
    ] {
        assert_eq!(report[key], count, "{key}");
    }
    let finding = &report["findings"][0];
    assert_eq!(
        (
            &finding["severity"],
            &finding["field"],
            &finding["document"]
        ),
        (&json!("denied"), &json!("spec.accessModes[0]"), &json!(1))
    );
    assert_eq!(report["errors"][0]["document"], 4);
}

#[test]
fn classes_of_what_is_not_offered_are_refused_in_each_version() {
    let page = human(
        "
apiVersion: storage.k8s.io/v1beta1
kind: VolumeAttributesClass
metadata: {name: fast}
driverName: rds.csi.srvlab.io
parameters: {iops: '1000'}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: nightly}
driver: rds.csi.srvlab.io
deletionPolicy: Delete
",
    );
    for part in [
        "parameters[iops]: ",
        "driver: rds.csi.srvlab.io offers no snapshots",
        "2 refused",
    ] {
        assert!(page.contains(part), "{page}");
    }
}

#[test]
fn a_claim_without_class_gets_the_default_of_the_manifests() {
    let default = CLASS.replace(
        "{name: rds-nvme}",
        "{name: rds-nvme, annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}}",
    );
    let claim = CLAIM.replace("  storageClassName: rds-nvme\n", "");
    assert!(human(&format!("{claim}---{default}")).contains("1 refused"));
    assert!(human(&format!("{claim}---{CLASS}")).contains("0 refused"));
}

#[test]
fn a_claim_whose_class_is_elsewhere_is_warned_about() {
    let page = human(CLAIM);
    assert!(
        page.contains("warning: storage class \"rds-nvme\" is not known"),
        "{page}"
    );
    assert!(
        page.ends_with("1 object checked, 0 refused, 1 warning\n"),
        "{page}"
    );
}

#[test]
fn what_an_api_server_would_not_read_is_refused() {
    let class = format!("{CLASS}parameters: {{nvmePort: 4420}}\n");
    let page = human(&class);
    assert!(
        page.contains("would not read this object") && page.contains("1 refused"),
        "{page}"
    );
    let number = CLAIM
        .replace("1Gi", "1073741824")
        .replace("ReadWriteMany", "ReadWriteOnce");
    assert!(human(&format!("{number}---{CLASS}")).contains("0 refused"));
}

#[test]
fn the_claims_that_a_stateful_set_will_make_are_judged_by_its_templates() {
    let set = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: app}
spec:
  volumeClaimTemplates:
  - metadata: {name: fine}
    spec: {storageClassName: rds-nvme, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1073741824}}}
  - metadata: {name: shared}
    spec: {storageClassName: rds-nvme, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
  - spec: {accessModes: ReadWriteOnce}
";
    let page = human(&format!("{CLASS}---{set}"));
    let lines: Vec<_> = page.lines().collect();
    let place = "-:2 (StatefulSet app/web): spec.volumeClaimTemplates";
    assert!(
        lines[0].starts_with(&format!(
            "{place}[1].spec.accessModes[0]: ReadWriteMany needs"
        )),
        "{page}"
    );
    assert!(
        lines[1].starts_with(&format!("{place}[2]: the API server would not read")),
        "{page}"
    );
    assert_eq!(lines[2], "2 objects checked, 1 refused, 0 warnings");
}

#[test]
fn a_stateful_set_without_claims_is_of_another_kind() {
    let page = human("apiVersion: apps/v1\nkind: StatefulSet\nspec: {volumeClaimTemplates: []}\n");
    assert_eq!(
        page,
        "0 objects checked, 0 refused, 0 warnings, 1 of other kinds skipped\n"
    );
}

#[test]
fn a_class_from_elsewhere_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("class.yaml");
    std::fs::write(&path, format!("{CLASS}parameters: {{nvmePort: 4420}}\n")).unwrap();
    let config = CheckConfig {
        storage_classes: vec![path],
        ..config(OutputFormat::Human)
    };
    let report = check(&config, &mut CLAIM.as_bytes());
    assert_eq!(report.errors.len(), 1);
    assert_eq!(report.errors[0].document, Some(1));
}
