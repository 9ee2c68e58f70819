//! A recording of a real virt-controller, scheduler and attach-detach controller, played
//! object by object to a real API server.
//!
//! When they were made ([`rds_csi_tests::recording`]) nobody refused anything. Here each
//! attachment is asked for when it was made there; if the webhook refuses, it is made past it,
//! so that the driver has to say the same and grants it as soon as it may. UIDs are the API
//! server's to give, so that each one of a recording stands for another, and what a recording
//! names is named after it, as several are played at once.

use std::collections::BTreeMap;
use std::time::Duration;

use rds_csi_tests::cluster::mend::PAST;
use rds_csi_tests::recording::{Change, Event};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::objects::{Kind, MACHINE, MIGRATION, POD};
use crate::stand::{Stand, uid};

/// How long it may take until a migration is told: two looks at the cluster, and more on a
/// busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TWO_NODES: &str = "two is the most that a live migration needs";

/// What recordings name and others of them name, too.
const NAMES: [&str; 5] = ["vm1", "mig1", "mig2", "root", "data"];

pub(crate) struct Replay<'a> {
    stand: &'a Stand,
    /// What its names begin with.
    name: &'static str,
    /// The UIDs of objects by those in the recording.
    uids: BTreeMap<String, String>,
    /// By the name in the recording: disk and node.
    attachments: BTreeMap<String, (String, String)>,
    /// Who was refused by webhook and driver, and waits.
    waiting: Vec<(String, String)>,
    /// Who was told what, at which second.
    pub(crate) told: Vec<String>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(stand: &'a Stand, name: &'static str) -> Self {
        Self {
            stand,
            name,
            uids: BTreeMap::new(),
            attachments: BTreeMap::new(),
            waiting: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A line of the recording as it would have been here.
    pub(crate) fn here(&self, line: &str) -> String {
        let mut line = line.replace("\"node-", "\"alone-");
        for name in NAMES {
            line = line.replace(&format!("\"{name}\""), &format!("\"{}-{name}\"", self.name));
        }
        for (recorded, uid) in &self.uids {
            line = line.replace(recorded, uid);
        }
        line
    }

    /// Plays an event.
    pub(crate) async fn event(&mut self, event: Event) {
        let at = &event.at;
        match event.change {
            Change::New(object) => self.is_new(at, object).await,
            Change::Patch { kind, name, patch } => match kind.as_str() {
                "Pod" => self.pod(&name, patch).await,
                // Whether it comes true is not for the recording to say.
                "VolumeAttachment" => {}
                kind => {
                    self.stand
                        .objects
                        .change(kind_of(kind), &name, &patch)
                        .await;
                }
            },
            Change::Gone { kind, name } => match kind.as_str() {
                "Pod" => self.stand.pod_gone(&name).await,
                "VolumeAttachment" => self.gone(at, &name).await,
                kind => panic!("{kind} {name} is gone"),
            },
        }
    }

    async fn is_new(&mut self, at: &str, mut object: Value) {
        let kind = text(&object, "/kind");
        let recorded = text(&object, "/metadata/uid");
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in ["namespace", "uid", "creationTimestamp"] {
            metadata.remove(field);
        }
        let made = match kind.as_str() {
            "VolumeAttachment" => {
                let volume = text(&object, "/spec/source/persistentVolumeName");
                let disk = format!("{}-{}", self.name, volume.trim_start_matches("pv-"));
                let node = text(&object, "/spec/nodeName");
                self.asks(at, &disk, &node).await;
                let name = text(&object, "/metadata/name");
                self.attachments.insert(name, (disk, node));
                return;
            }
            "VirtualMachineInstanceMigration" => self.migration(at, object).await,
            "Pod" => {
                let spec = object["spec"].as_object_mut().unwrap();
                spec.insert("automountServiceAccountToken".to_owned(), json!(false));
                // No kubelet says that it has ended.
                spec.insert("terminationGracePeriodSeconds".to_owned(), json!(0));
                // The cluster's own does not bind it.
                spec.insert("schedulerName".to_owned(), json!("none"));
                self.stand.objects.make(POD, &object).await
            }
            kind => self.stand.objects.make(kind_of(kind), &object).await,
        };
        self.uids.insert(recorded, uid(&made));
    }

    /// A person who asks for a migration hears what is in its way. Here it goes on past the
    /// webhook, as the recording does.
    async fn migration(&mut self, at: &str, mut asked: Value) -> Value {
        let name = text(&asked, "/metadata/name");
        let before = self.stand.too_late().await;
        let mut made = self.stand.objects.ask(MIGRATION, &asked).await;
        // A webhook that answers too late lets pass any.
        let root = format!("{}-root", self.name);
        if made.is_ok() && self.stand.nodes_with(&root).await.len() > 1 {
            assert!(self.stand.too_late().await > before, "{at} {name}");
            self.stand.objects.delete(MIGRATION, &name, 0).await;
            made = Err(self.stand.migration_refusal(&asked).await);
        }
        if let Err(refusal) = &made {
            assert!(refusal.contains("the target would be a third"), "{refusal}");
            self.told.push(format!("{at} migration {name} two-nodes"));
            asked["metadata"]["labels"] = json!({PAST: "yes"});
            made = self.stand.objects.ask(MIGRATION, &asked).await;
        }
        made.unwrap()
    }

    /// Its scheduler, its kubelet and virt-controller say what is new of a pod.
    async fn pod(&self, name: &str, mut patch: Value) {
        let objects = &self.stand.objects;
        if let Some(node) = patch["spec"]["nodeName"].as_str() {
            objects.bind(name, node).await;
        }
        if patch["status"].is_object() {
            objects.report(POD, name, &patch["status"]).await;
        }
        let metadata = patch["metadata"].take();
        if metadata["labels"].is_object() {
            let labels = json!({"metadata": {"labels": metadata["labels"]}});
            objects.change(POD, name, &labels).await;
        }
        if metadata["deletionTimestamp"].is_string() {
            objects.delete(POD, name, 30).await;
        }
    }

    async fn asks(&mut self, when: &str, disk: &str, node: &str) {
        let before = self.stand.too_late().await;
        let mut asked = self.stand.ask(disk, node).await;
        // A webhook that answers too late has let pass what only the driver refuses.
        if asked.is_ok() && !self.stand.is_granted(disk, node).await {
            assert!(self.stand.too_late().await > before, "{when} {disk} {node}");
            self.stand.lets_go(disk, node).await;
            asked = Err(self.stand.refusal(disk, node).await);
        }
        match asked {
            Ok(()) => self.granted(when, disk, node).await,
            Err(refusal) if refusal.contains(TWO_NODES) => {
                self.told.push(format!("{when} {disk} {node} two-nodes"));
                self.stand.waits(disk, node, TWO_NODES).await;
                self.waiting.push((disk.to_owned(), node.to_owned()));
            }
            Err(refusal) => panic!("{when} {disk} {node}: {refusal}"),
        }
    }

    /// The driver has said yes, and people are told for which migration.
    async fn granted(&mut self, when: &str, disk: &str, node: &str) {
        self.stand.granted(disk, node).await;
        let nodes = self.stand.nodes_with(disk).await;
        let why = if nodes == [node] {
            "alone".to_owned()
        } else {
            self.hand_over(disk, node, &nodes).await
        };
        self.told.push(format!("{when} {disk} {node} {why}"));
    }

    /// For which migration a second node has a disk, by what people are told.
    async fn hand_over(&self, disk: &str, target: &str, nodes: &[String]) -> String {
        let source = nodes.iter().find(|node| *node != target).unwrap();
        let begin =
            format!("MigrationStarted: nodes {source} and {target} have the volume for migration ");
        let what = format!("{begin}…");
        let told = until(&what, PATIENCE, async || {
            let events = self.stand.events(disk).await;
            let mut told = events.iter().filter_map(|event| event.strip_prefix(&begin));
            Ok(told.next().map(str::to_owned))
        });
        let migration = told.await.unwrap();
        let name = migration.split('/').next_back().unwrap_or_default();
        format!("{name} from {source} to {target}")
    }

    async fn gone(&mut self, when: &str, name: &str) {
        let (disk, node) = self.attachments.remove(name).unwrap();
        self.stand.lets_go(&disk, &node).await;
        let (free, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(waits, _)| *waits == disk);
        self.waiting = others;
        for (disk, node) in free {
            self.granted(when, &disk, &node).await;
        }
    }
}

fn kind_of(kind: &str) -> Kind {
    match kind {
        "VirtualMachineInstance" => MACHINE,
        "VirtualMachineInstanceMigration" => MIGRATION,
        kind => panic!("no kind of a recording: {kind}"),
    }
}

fn text(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {pointer}: {object}"))
        .to_owned()
}
