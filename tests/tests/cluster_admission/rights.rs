//! Who of the product asked the API server for what, held against the roles of the
//! release: nothing was asked for that is not granted, and what is granted was used or has
//! a reason.
//!
//! The audit log is that of the cluster since its start, so of all tests before this one.

use std::collections::BTreeSet;
use std::fmt;

use rds_csi_core::names::event;
use rds_csi_tests::cluster::kubevirt;
use rds_csi_tests::cluster::namespace::{Claim, Namespace, pod};
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::{LONG, await_refusal, close, open};

const ACCOUNTS: &str = "system:serviceaccount:rds-csi:";

/// Roles, and who uses them: an account, and what the program calls itself. All containers
/// of a pod have one account.
const USERS: &[(&str, &str, &str)] = &[
    ("rds-csi-driver", "rds-csi-controller", "rds-csi-driver/"),
    (
        "rds-csi-provisioner",
        "rds-csi-controller",
        "csi-provisioner/",
    ),
    ("rds-csi-attacher", "rds-csi-controller", "csi-attacher/"),
    ("rds-csi-resizer", "rds-csi-controller", "csi-resizer/"),
    ("rds-csi-controller", "rds-csi-controller", "csi-"),
    ("rds-csi-node", "rds-csi-node", "rds-csi-driver/"),
    ("rds-csi-webhook", "rds-csi-webhook", ""),
];

/// Rights that no test brings about, and why they are granted all the same.
const RARE: &[(&str, &str, &str, &str)] = &[
    (
        "rds-csi-provisioner",
        "persistentvolumeclaims",
        "update",
        "a claim that waited for its pod is given back to the scheduler when space ran out",
    ),
    (
        "rds-csi-resizer",
        "events",
        "patch",
        "an event that comes again, such as of a resize that fails twice in the same words",
    ),
];

/// One verb on one resource, by one role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    role: String,
    resource: String,
    /// The one object, where the role names it.
    name: Option<String>,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.role, self.verb, self.resource)?;
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// One request of the product, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    account: String,
    agent: String,
    resource: String,
    name: String,
    verb: String,
    is_allowed: bool,
}

impl Request {
    /// None where a line is about somebody else, or about no resource: versions and health
    /// are everybody's.
    fn read(line: &Value) -> Option<Self> {
        let account = line["user"]["username"].as_str()?.strip_prefix(ACCOUNTS)?;
        let target = line["objectRef"].as_object()?;
        let field = |name: &str| target.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("resource").is_empty() {
            return None;
        }
        let decision = &line["annotations"]["authorization.k8s.io/decision"];
        Some(Self {
            account: account.to_owned(),
            agent: line["userAgent"].as_str().unwrap_or_default().to_owned(),
            resource: resource(field("apiGroup"), field("resource"), field("subresource")),
            name: field("name").to_owned(),
            verb: line["verb"].as_str()?.to_owned(),
            is_allowed: decision == "allow",
        })
    }

    fn is_by(&self, role: &str) -> bool {
        USERS.iter().any(|(known, account, agent)| {
            *known == role && self.account == *account && self.agent.starts_with(agent)
        })
    }

    /// Whether the right covers it, whichever container of the account asked.
    fn is_within(&self, right: &Right) -> bool {
        let is_named = right.name.as_ref().is_none_or(|name| *name == self.name);
        right.resource == self.resource && right.verb == self.verb && is_named
    }
}

fn resource(group: &str, resource: &str, part: &str) -> String {
    let mut text = resource.to_owned();
    if !part.is_empty() {
        text = format!("{text}/{part}");
    }
    if !group.is_empty() {
        text = format!("{text}.{group}");
    }
    text
}

/// The requests in the audit log from a line on.
fn requests(cluster: &Cluster, from: usize) -> anyhow::Result<BTreeSet<Request>> {
    let log = cluster.audit()?;
    Ok(log.iter().skip(from).filter_map(Request::read).collect())
}

/// What the roles of the release grant.
async fn rights(cluster: &Cluster) -> BTreeSet<Right> {
    let words = [
        "clusterroles,roles",
        "--namespace",
        NAMESPACE,
        "--selector=app.kubernetes.io/name=rds-csi",
    ];
    let roles = cluster.get(&words).await.unwrap();
    let mut rights = BTreeSet::new();
    for role in roles["items"].as_array().unwrap() {
        for rule in role["rules"].as_array().unwrap() {
            rights.extend(of_rule(role["metadata"]["name"].as_str().unwrap(), rule));
        }
    }
    rights
}

fn of_rule(role: &str, rule: &Value) -> Vec<Right> {
    let texts = |field: &str| -> Vec<String> {
        let all = rule[field].as_array().into_iter().flatten();
        all.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let names = texts("resourceNames");
    let names: Vec<Option<String>> = if names.is_empty() {
        vec![None]
    } else {
        names.into_iter().map(Some).collect()
    };
    let mut rights = Vec::new();
    for group in texts("apiGroups") {
        for kind in texts("resources") {
            for name in &names {
                rights.extend(texts("verbs").into_iter().map(|verb| Right {
                    role: role.to_owned(),
                    resource: resource(&group, &kind, ""),
                    name: name.clone(),
                    verb,
                }));
            }
        }
    }
    rights
}

/// A node loses the device and gets it back, and tells the claim of both.
async fn an_outage(cluster: &Cluster, namespace: &Namespace, name: &str) {
    let pod = namespace.get("pod", name).await.unwrap();
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let node = cluster.node(node).unwrap();
    node.cut_appliance().await.unwrap();
    let lost = namespace.event(name, event::CONNECTION_FAILURE, LONG).await;
    node.restore().await.unwrap();
    lost.unwrap();
    let back = namespace.event(name, event::CONNECTION_RECOVERY, LONG);
    back.await.unwrap();
}

/// A machine with its disk begins to move, and the claim is told.
async fn a_migration(cluster: &Cluster, namespace: &Namespace) {
    kubevirt::install(cluster).await.unwrap();
    let disk = Claim::block("disk").access("ReadWriteMany");
    namespace.apply(&disk.manifest()).await.unwrap();
    namespace.bound("disk").await.unwrap();
    let uid = async |kind: &str, name: &str| {
        let object = namespace.get(kind, name).await.unwrap();
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    namespace
        .apply(&kubevirt::machine("vm", &[&disk]))
        .await
        .unwrap();
    let machine = uid("vmi", "vm").await;
    let machine = ("vm", machine.as_str());
    let source = kubevirt::launcher("source", "node-a", &disk, machine, None);
    namespace.apply(&source).await.unwrap();
    namespace.running("source").await.unwrap();
    let migration = kubevirt::migration("move", "vm", "Scheduling");
    namespace.apply(&migration).await.unwrap();
    let migration = uid("vmim", "move").await;
    let target = kubevirt::launcher("target", "node-b", &disk, machine, Some(&migration));
    namespace.apply(&target).await.unwrap();
    namespace.running("target").await.unwrap();
    let told = namespace.event("disk", event::MIGRATION_STARTED, LONG);
    told.await.unwrap();
    for pod in ["source", "target"] {
        namespace.remove("pod", pod).await.unwrap();
    }
}

/// A volume's whole life, and what goes wrong in it: every program does what it is for.
async fn a_whole_life(cluster: &Cluster, namespace: &Namespace) {
    let claim = Claim::filesystem("life");
    namespace.apply(&claim.manifest()).await.unwrap();
    let volume = namespace.bound("life").await.unwrap();
    namespace.apply(&pod("life", None, &claim)).await.unwrap();
    namespace.running("life").await.unwrap();
    an_outage(cluster, namespace, "life").await;
    let patch = json!({"spec": {"resources": {"requests": {"storage": "128Mi"}}}}).to_string();
    let grow = ["patch", "pvc", "life", "--patch", &patch];
    namespace.kubectl(&grow).await.unwrap();
    until("the claim has grown", LONG, async || {
        let claim = namespace.get("pvc", "life").await?;
        Ok((claim["status"]["capacity"]["storage"] == "128Mi").then_some(()))
    })
    .await
    .unwrap();
    // Refused twice in the same words, which is one event that counts.
    let huge = Claim::filesystem("huge").size("4Ti").manifest();
    namespace.apply(&huge).await.unwrap();
    until("a second attempt was refused", LONG, async || {
        let events = cluster
            .get(&["events", "--namespace", namespace.name()])
            .await?;
        let mut all = events["items"].as_array().into_iter().flatten();
        let again = all.any(|event| {
            event["reason"] == "ProvisioningFailed" && event["count"].as_u64() > Some(1)
        });
        Ok(again.then_some(()))
    })
    .await
    .unwrap();
    namespace.remove("pod", "life").await.unwrap();
    namespace.remove("pvc", "life").await.unwrap();
    let volume = format!("pv/{volume}");
    let gone = ["wait", "--for=delete", &volume, "--timeout=170s"];
    cluster.kubectl(&gone).await.unwrap();
}

async fn a_new_certificate(cluster: &Cluster) {
    let product = Namespace::named(cluster, NAMESPACE);
    product
        .remove("secret", "rds-csi-webhook-tls")
        .await
        .unwrap();
    until("the webhook has made its Secret", DEADLINE, async || {
        product.find("secret", "rds-csi-webhook-tls").await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn every_right_is_used_or_has_a_reason_and_nothing_else_was_ever_asked_for() {
    let (cluster, namespace) = open("admission-rights").await;
    let from = cluster.audit().unwrap().len();
    a_new_certificate(&cluster).await;
    a_whole_life(&cluster, &namespace).await;
    a_migration(&cluster, &namespace).await;
    await_refusal(&namespace).await;
    let rights = rights(&cluster).await;

    // Refused requests of earlier tests may be of pods that outlived their roles, at an
    // uninstallation or a change of mode; what they asked for is granted all the same.
    let all = requests(&cluster, 0).unwrap();
    let recent = requests(&cluster, from).unwrap();
    let is_granted = |request: &&Request| {
        let mut rights = rights.iter().filter(|right| {
            let user = USERS.iter().find(|(role, ..)| *role == right.role);
            user.is_some_and(|(_, account, _)| *account == request.account)
        });
        rights.any(|right| request.is_within(right))
    };
    let beyond: Vec<_> = all.iter().filter(|request| !is_granted(request)).collect();
    assert!(beyond.is_empty(), "asked for and not granted: {beyond:#?}");
    let refused: Vec<_> = recent
        .iter()
        .filter(|request| !request.is_allowed)
        .collect();
    assert!(refused.is_empty(), "granted and refused: {refused:#?}");

    let used = |right: &&Right| {
        let mut mine = all.iter().filter(|request| request.is_by(&right.role));
        mine.any(|request| request.is_allowed && request.is_within(right))
    };
    let idle: BTreeSet<String> = rights
        .iter()
        .filter(|right| !used(right))
        .map(Right::to_string)
        .collect();
    let rare: BTreeSet<String> = RARE
        .iter()
        .map(|(role, resource, verb, _)| format!("{role}: {verb} {resource}"))
        .collect();
    let without_reason: Vec<_> = idle.difference(&rare).collect();
    assert!(
        without_reason.is_empty(),
        "granted and never used: {without_reason:#?}"
    );
    let granted: BTreeSet<String> = rights.iter().map(Right::to_string).collect();
    assert!(rare.is_subset(&granted), "reasons for nothing: {rare:?}");
    println!(
        "{} rights, of which used: {}",
        rights.len(),
        rights.len() - idle.len()
    );
    for (role, resource, verb, reason) in RARE {
        println!("not used here: {role}: {verb} {resource}: {reason}");
    }
    close(&cluster, namespace).await;
}
