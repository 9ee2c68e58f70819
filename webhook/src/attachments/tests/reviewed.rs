//! Attachments and migrations as an API server has them reviewed: what is answered, counted
//! and logged.

use std::fs::File;

use rds_csi_core::attachment::Rule;

use super::*;
use crate::metrics::Metrics;
use crate::review::Reviewer;
use crate::storage_classes::StorageClassStore;

/// What this thread logs at the level of an installation.
struct Log {
    file: tempfile::NamedTempFile,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    fn begin() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer: Arc<File> = Arc::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(writer)
            .finish();
        Self {
            file,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).unwrap()
    }
}

/// A reviewer that holds its rules by these modes, and what it counts.
fn reviewer(cluster: &Arc<FakeCluster>, modes: Modes) -> (Reviewer, Metrics) {
    let (driver, metrics) = (DriverName::default(), Metrics::default());
    let (watched, live) = (cluster.clone(), cluster.clone());
    let rules = AttachmentRules::new(watched, live, driver.clone(), modes, LIMIT);
    let reviewer = Reviewer::new(driver, StorageClassStore::default(), metrics.clone());
    (reviewer.with_attachments(rules), metrics)
}

/// A wish to make an object of a kind, by group, version and name.
fn review([group, version, kind]: [&str; 3], object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "vms", "object": object,
            "kind": {"group": group, "version": version, "kind": kind},
        },
    })
}

/// The response to a review.
async fn ask(reviewer: &Reviewer, review: &Value) -> Value {
    let answer = reviewer.review(review.to_string().as_bytes()).await;
    serde_json::to_value(answer.unwrap()).unwrap()["response"].clone()
}

const OURS: &str = "rds.csi.srvlab.io";
const ATTACHMENT: [&str; 3] = ["storage.k8s.io", "v1", "VolumeAttachment"];

fn migration_of(version: &str) -> [&str; 3] {
    ["kubevirt.io", version, "VirtualMachineInstanceMigration"]
}

fn wish(node: &str, attacher: &str) -> Value {
    json!({
        "metadata": {"name": "va-new"},
        "spec": {"attacher": attacher, "nodeName": node, "source": {"persistentVolumeName": PV}},
    })
}

fn warnings(answer: &Value) -> usize {
    answer["warnings"].as_array().map_or(0, Vec::len)
}

/// `audit` is silent to the author and to nobody else.
#[rstest]
#[case::told(Mode::Warn, 1)]
#[case::not_told(Mode::Audit, 0)]
#[tokio::test]
async fn what_a_relaxed_rule_lets_pass_is_counted_and_logged(
    #[case] mode: Mode,
    #[case] told: usize,
) {
    let cluster = cluster("ReadWriteMany");
    cluster.run(Pod {
        role: Role::Other,
        ..pod("b", None)
    });
    cluster.wish("va-old", "c", ANOTHER);
    cluster.wish("va-older", "d", ANOTHER);
    cluster.attach("c");
    cluster.attach("d");
    cluster.machine("vms", "web", &[disk("disk1", "data")]);
    let modes = Modes::default()
        .with(Rule::SameMachine, mode)
        .with(Rule::TwoNodes, mode);
    let (reviewer, metrics) = reviewer(&cluster, modes);
    let log = Log::begin();

    let answer = ask(&reviewer, &review(ATTACHMENT, &wish("b", OURS))).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert_eq!(warnings(&answer), told, "{answer}");
    let answer = ask(&reviewer, &review(migration_of("v1"), &moves_web())).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert_eq!(warnings(&answer), told, "{answer}");

    let (page, log) = (metrics.encode().unwrap(), log.text());
    for (rule, why) in [
        ("same-machine", "live migration of the machine there"),
        ("two-nodes", "disk disk1: nodes c and d have its volume"),
    ] {
        let mode = mode.as_str();
        let series = format!("attachment_rules_relaxed_total{{rule=\"{rule}\",mode=\"{mode}\"}} 1");
        assert!(page.contains(&series), "{series} not in\n{page}");
        let is_it = |line: &str| {
            line.contains(&format!("rule={rule} mode=\"{mode}\"")) && line.contains(why)
        };
        assert!(log.lines().any(is_it), "{rule}: {why} not in\n{log}");
    }
}

#[tokio::test]
async fn what_an_enforced_rule_refuses_is_not_counted_as_relaxed() {
    let cluster = cluster("ReadWriteOnce");
    let (reviewer, metrics) = reviewer(&cluster, Modes::default());
    let answer = ask(&reviewer, &review(ATTACHMENT, &wish("b", OURS))).await;
    assert_eq!(answer["allowed"], false, "{answer}");
    let page = metrics.encode().unwrap();
    assert!(!page.contains("relaxed_total{"), "{page}");
}

/// What is read of a migration is the same in every version of KubeVirt.
#[rstest]
#[tokio::test]
async fn a_migration_is_judged_in_whichever_version_it_comes(
    #[values("v1", "v1alpha3", "v2beta1")] version: &str,
) {
    let cluster = cluster("ReadWriteOnce");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let (reviewer, _) = reviewer(&cluster, Modes::default());
    let mut object = moves_web();
    object["apiVersion"] = json!(format!("kubevirt.io/{version}"));
    let answer = ask(&reviewer, &review(migration_of(version), &object)).await;
    assert_eq!(answer["allowed"], false, "{answer}");
    let causes = &answer["status"]["details"]["causes"];
    assert_eq!(causes[0]["field"], "spec.vmiName", "{answer}");
}

/// What is counted is compared with what the driver grants.
#[tokio::test]
async fn attachments_are_counted_that_may_come_to_be() {
    let cluster = cluster("ReadWriteOnce");
    let (reviewer, metrics) = reviewer(&cluster, Modes::default());
    let counted = async |review: &Value| {
        ask(&reviewer, review).await;
        let page = metrics.encode().unwrap();
        let series = |line: &str| {
            let count = line.strip_prefix("rds_csi_webhook_attachments_admitted_total ")?;
            count.parse::<u32>().ok()
        };
        page.lines().find_map(series).unwrap()
    };
    let fine = review(ATTACHMENT, &wish("a", OURS));
    let with = |key: &str, value: Value| {
        let mut changed = fine.clone();
        changed["request"][key] = value;
        changed
    };
    assert_eq!(counted(&with("dryRun", json!(true))).await, 0);
    assert_eq!(counted(&with("operation", json!("UPDATE"))).await, 0);
    assert_eq!(
        counted(&with("object", wish("b", OURS))).await,
        0,
        "refused"
    );
    let others = wish("a", "other.example");
    assert_eq!(counted(&with("object", others)).await, 0);
    let migration = review(migration_of("v1"), &moves_web());
    assert_eq!(counted(&migration).await, 0);
    assert_eq!(counted(&fine).await, 1);
    // Nobody can say, and it may come to be all the same.
    cluster.fail(cluster.calls(), Fault::Before);
    cluster.fail(cluster.calls() + 1, Fault::Before);
    assert_eq!(counted(&fine).await, 2);
}
