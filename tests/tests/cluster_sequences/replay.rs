//! A recording of a real virt-controller, scheduler and attach-detach controller, played
//! object by object to a real API server.
//!
//! The recordings are those of `driver/core/tests/attachment_recordings`, which says how they
//! are written. There nobody refused anything. Here each attachment is asked for when it was
//! made there; if the webhook refuses, it is made past it, so that the driver has to say the
//! same and grants it as soon as it may. UIDs are the API server's to give, so that each one
//! of a recording stands for another.

use std::collections::BTreeMap;
use std::time::Duration;

use rds_csi_tests::cluster::kubevirt::migration;
use rds_csi_tests::cluster::mend::PAST;
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::objects::{MACHINE, MIGRATION, POD};
use crate::stand::{Machine, PodToBe, Stand, uid};

/// How long it may take until a migration is told: two looks at the cluster, and more on a
/// busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TWO_NODES: &str = "two is the most that a live migration needs";

pub(crate) struct Replay<'a> {
    stand: &'a Stand,
    /// What the names of its machine, migrations and disks begin with: several recordings
    /// are played at once.
    name: &'static str,
    /// The UIDs of objects by those in the recording.
    uids: BTreeMap<String, String>,
    /// The names of objects by their UIDs in the recording.
    names: BTreeMap<String, String>,
    /// Of pods that are there: node and phase.
    pods: BTreeMap<String, (String, String)>,
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
            names: BTreeMap::new(),
            pods: BTreeMap::new(),
            attachments: BTreeMap::new(),
            waiting: Vec::new(),
            told: Vec::new(),
        }
    }

    fn named(&self, recorded: &str) -> String {
        format!("{}-{recorded}", self.name)
    }

    /// Plays an event.
    pub(crate) async fn event(&mut self, line: &str) {
        let line = line.replace("node-", "alone-");
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["#", ..] => {}
            [_, "machine", name, uid, phase] => {
                let name = self.named(name);
                self.machine(&name, uid, phase).await;
            }
            [when, "migration", name, uid, machine, phase, "stays"] => {
                let (name, machine) = (self.named(name), self.named(machine));
                self.migration(when, &name, (uid, &machine, phase)).await;
            }
            [_, "pod", name, ref rest @ ..] => self.pod(name, rest).await,
            [_, "gone", "pod", name] => {
                self.stand.pod_gone(name).await;
                self.pods.remove(name);
            }
            [when, "attachment", name, _, node, volume, "stays"] => {
                let disk = self.named(volume.trim_start_matches("pv-"));
                self.asks(when, &disk, node).await;
                self.attachments
                    .insert(name.to_owned(), (disk, node.to_owned()));
            }
            [when, "gone", "attachment", name] => self.gone(when, name).await,
            _ => panic!("no event: {line}"),
        }
    }

    fn is_new(&self, recorded: &str) -> bool {
        !self.uids.contains_key(recorded)
    }

    fn met(&mut self, recorded: &str, name: &str, uid: String) {
        self.uids.insert(recorded.to_owned(), uid);
        self.names.insert(recorded.to_owned(), name.to_owned());
    }

    async fn machine(&mut self, name: &str, recorded: &str, phase: &str) {
        if self.is_new(recorded) {
            let root = self.named("root");
            let Machine { uid, .. } = self.stand.machine(name, &[&root]).await;
            self.met(recorded, name, uid);
        }
        self.phase(MACHINE, name, phase).await;
    }

    async fn phase(&self, kind: crate::objects::Kind, name: &str, phase: &str) {
        let phase = phase.trim_start_matches('-');
        let fields = json!({"status": {"phase": phase}});
        self.stand.objects.change(kind, name, &fields).await;
    }

    /// A person who asks for a migration hears what is in its way. Here it goes on past the
    /// webhook, as the recording does.
    async fn migration(&mut self, when: &str, name: &str, rest: (&str, &str, &str)) {
        let (recorded, machine, phase) = rest;
        if self.is_new(recorded) {
            let mut asked = migration(name, machine, "");
            let mut made = self.stand.objects.ask(MIGRATION, &asked).await;
            if made.is_ok() && !self.waits_for_none(machine).await {
                self.stand.objects.delete(MIGRATION, name, 0).await;
                made = Err(self.stand.migration_refusal(&asked).await);
            }
            if let Err(refusal) = &made {
                assert!(refusal.contains("the target would be a third"), "{refusal}");
                self.told.push(format!("{when} migration {name} two-nodes"));
                asked["metadata"]["labels"] = json!({PAST: "yes"});
                made = self.stand.objects.ask(MIGRATION, &asked).await;
            }
            let made = made.unwrap();
            self.met(recorded, name, uid(&made));
        }
        self.phase(MIGRATION, name, phase).await;
    }

    /// Whether no disk of the machine is with two nodes, so that its next migration is let
    /// pass: a webhook that answers too late lets pass any.
    async fn waits_for_none(&self, machine: &str) -> bool {
        let root = machine.replace("vm1", "root");
        self.stand.nodes_with(&root).await.len() < 2
    }

    async fn pod(&mut self, name: &str, fields: &[&str]) {
        let [
            recorded,
            node,
            phase,
            leaving,
            owner,
            label,
            migration,
            disks,
        ] = fields
        else {
            panic!("no pod: {fields:?}");
        };
        if self.is_new(recorded) {
            let owner: Vec<&str> = owner.split(':').collect();
            let [_, kind, owner] = owner[..] else {
                panic!("no owner: {owner:?}");
            };
            let mut labels = json!({"kubevirt.io": label});
            if let Some(migration) = self.uids.get(*migration) {
                labels["kubevirt.io/migrationJobUID"] = json!(migration);
            }
            let disks: Vec<String> = disks.split(',').map(|disk| self.named(disk)).collect();
            let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
            let pod = PodToBe {
                name,
                disks: &disks,
                labels,
                owner: Some((kind, &self.names[owner], &self.uids[owner])),
                ..PodToBe::default()
            };
            let uid = self.stand.pod(&pod).await;
            self.met(recorded, name, uid);
            let fresh = ("-".to_owned(), "Pending".to_owned());
            self.pods.insert((*name).to_owned(), fresh);
        }
        let now = ((*node).to_owned(), (*phase).to_owned());
        let before = self.pods.insert((*name).to_owned(), now.clone()).unwrap();
        if before.0 != now.0 {
            self.stand.objects.bind(name, node).await;
        }
        if before.1 != now.1 {
            self.stand.pod_is(name, phase).await;
        }
        if *leaving == "leaving" {
            self.stand.objects.delete(POD, name, 30).await;
        }
    }

    async fn asks(&mut self, when: &str, disk: &str, node: &str) {
        let mut asked = self.stand.ask(disk, node).await;
        // A webhook that answers too late has let pass what only the driver refuses.
        if asked.is_ok() && !self.stand.is_granted(disk, node).await {
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
