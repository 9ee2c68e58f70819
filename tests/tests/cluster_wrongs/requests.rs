//! What is granted, as the roles of the release say it, and what was asked for, as the audit
//! log has it.

use std::collections::BTreeSet;
use std::fmt;

use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{AuditLog, Cluster};
use serde_json::Value;

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
    (
        "rds-csi-storage-profiles",
        "rds-csi-storage-profiles",
        "kubectl/",
    ),
];

/// One verb on one resource, by one role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) role: String,
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
pub(crate) struct Request {
    account: String,
    agent: String,
    resource: String,
    name: String,
    verb: String,
    pub(crate) is_allowed: bool,
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

    pub(crate) fn is_by(&self, role: &str) -> bool {
        USERS.iter().any(|(known, account, agent)| {
            *known == role && self.account == *account && self.agent.starts_with(agent)
        })
    }

    /// Whether the right covers it, whichever container of the account asked.
    pub(crate) fn is_within(&self, right: &Right) -> bool {
        let is_named = right.name.as_ref().is_none_or(|name| *name == self.name);
        right.resource == self.resource && right.verb == self.verb && is_named
    }
}

/// Whether one of the rights of its account covers a request.
pub(crate) fn is_granted(request: &Request, rights: &BTreeSet<Right>) -> bool {
    let mut rights = rights.iter().filter(|right| {
        let user = USERS.iter().find(|(role, ..)| *role == right.role);
        user.is_some_and(|(_, account, _)| *account == request.account)
    });
    rights.any(|right| request.is_within(right))
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

/// The product's requests that came into the audit log since it was last read.
pub(crate) fn requests(log: &mut AuditLog) -> anyhow::Result<BTreeSet<Request>> {
    Ok(log.pick(ACCOUNTS, Request::read)?.into_iter().collect())
}

/// What the roles of the release grant.
pub(crate) async fn rights(cluster: &Cluster) -> BTreeSet<Right> {
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
