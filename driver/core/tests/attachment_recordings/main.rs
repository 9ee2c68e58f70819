//! The attachment rules over what a real virt-controller, scheduler and attach-detach
//! controller did: four recordings, in the order in which etcd had the objects, and of each
//! object what the rules read. What they do not read (a machine's `status.migrationState` and
//! `status.activePods`, annotations) is left out, and nothing is shown here about it.
//!
//! The recordings were made without a driver, so nobody refused anything there and a third
//! attachment came about. Here each attachment is asked for when it is made and, if refused,
//! again after every event that follows, as the attach-detach controller does.
//!
//! A line is an event: seconds, kind, name, UID and what else the rules read of it. Nodes
//! were ready all the time, and a machine that has no phase is being made.

use std::collections::BTreeMap;

use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Node, Observations, Phase, Pod, Reading, Standing, Volume,
    VolumeAttachment,
};
use rds_csi_core::attachment::{Modes, Owner, Reason, Request, Role, Seat, Verdict, judge};
use rstest::rstest;

const NAMESPACE: &str = "default";
const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

#[derive(Default)]
struct Replay {
    pods: BTreeMap<String, Pod>,
    machines: BTreeMap<String, Machine>,
    migrations: BTreeMap<String, Migration>,
    attachments: BTreeMap<String, Standing>,
    /// Who was told what, at which second.
    told: Vec<String>,
}

impl Replay {
    fn event(&mut self, line: &str) {
        let fields: Vec<_> = line.split(' ').collect();
        match fields[..] {
            ["#", ..] => return,
            [_, "gone", "pod", name] => drop(self.pods.remove(name)),
            [_, "gone", "attachment", name] => drop(self.attachments.remove(name)),
            [_, "machine", name, uid, phase] => {
                let machine = machine(name, uid, phase);
                self.machines.insert(name.to_owned(), machine);
            }
            [_, "migration", name, ref rest @ ..] => {
                let migration = migration(name, rest);
                self.migrations.insert(name.to_owned(), migration);
            }
            [_, "attachment", name, ref rest @ ..] => {
                let standing = standing(name, rest);
                // The webhook is asked before there is an object, and says the same.
                let admitted = self.judge(&standing, Seat::Admission);
                self.attachments.insert(name.to_owned(), standing.clone());
                assert_eq!(word(&admitted), word(&self.judge(&standing, Seat::Driver)));
            }
            [_, "pod", name, ref rest @ ..] => {
                self.pods.insert(name.to_owned(), pod(name, rest));
            }
            _ => panic!("no event: {line}"),
        }
        self.attach(fields[0]);
    }

    /// Every wish that was not granted yet is asked for again.
    fn attach(&mut self, when: &str) {
        let waiting = self
            .attachments
            .values()
            .filter(|standing| !standing.granted);
        for standing in waiting.cloned().collect::<Vec<_>>() {
            let verdict = self.judge(&standing, Seat::Driver);
            self.tell(when, &standing, &verdict);
            if matches!(verdict, Verdict::Allow(_) | Verdict::AllowAsMigration(_)) {
                let name = &standing.attachment.name;
                let granted = Standing {
                    granted: true,
                    ..standing.clone()
                };
                self.attachments.insert(name.clone(), granted);
            }
        }
    }

    /// Notes an answer, unless it is the last one again.
    fn tell(&mut self, when: &str, standing: &Standing, verdict: &Verdict) {
        let attachment = &standing.attachment;
        let whose = format!("{} {} ", attachment.persistent_volume, attachment.node);
        let told = whose.clone() + &word(verdict);
        let last = self.told.iter().rfind(|line| line.contains(&whose));
        if last.is_none_or(|line| !line.ends_with(&told)) {
            self.told.push(format!("{when} {told}"));
        }
    }

    fn judge(&self, asked: &Standing, seat: Seat) -> Verdict {
        let volume = &asked.attachment.persistent_volume;
        let claim = volume.trim_start_matches("pv-").to_owned();
        let ready = Node {
            ready: true,
            ..Node::default()
        };
        let of_it = |standing: &&Standing| standing.attachment.persistent_volume == *volume;
        let seen = Observations {
            volume: Volume {
                persistent_volume: volume.clone(),
                claim: Some(Claim {
                    namespace: NAMESPACE.to_owned(),
                    name: claim,
                }),
                access_modes: vec!["ReadWriteMany".to_owned()],
                is_block: true,
                ..Volume::default()
            },
            attachments: self.attachments.values().filter(of_it).cloned().collect(),
            nodes: NODES
                .map(|node| (node.to_owned(), Reading::Complete(Some(ready))))
                .into(),
            pods: Reading::Complete(self.pods.values().cloned().collect()),
            kubevirt: Reading::Complete(KubeVirt::Present {
                machines: self.machines.values().cloned().collect(),
                migrations: self.migrations.values().cloned().collect(),
            }),
        };
        let Ok(now) = "2026-11-22T18:30:00Z".parse() else {
            panic!("no moment");
        };
        let request = Request {
            node: &asked.attachment.node,
            access: None,
            seat,
            modes: &Modes::default(),
            now: &now,
        };
        judge(&request, &seen).verdict
    }
}

fn given(field: &str) -> Option<&str> {
    (field != "-").then_some(field)
}

fn machine(name: &str, uid: &str, phase: &str) -> Machine {
    Machine {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        is_over: matches!(phase, "Succeeded" | "Failed"),
    }
}

fn migration(name: &str, fields: &[&str]) -> Migration {
    let [uid, machine, phase, leaving] = fields else {
        panic!("no migration: {fields:?}");
    };
    Migration {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: (*uid).to_owned(),
        machine: (*machine).to_owned(),
        phase: given(phase).unwrap_or_default().to_owned(),
        leaving: *leaving == "leaving",
        decentralised: None,
    }
}

fn standing(name: &str, fields: &[&str]) -> Standing {
    let [uid, node, volume, leaving] = fields else {
        panic!("no attachment: {fields:?}");
    };
    Standing {
        attachment: VolumeAttachment {
            name: name.to_owned(),
            uid: (*uid).to_owned(),
            node: (*node).to_owned(),
            persistent_volume: (*volume).to_owned(),
            attached: false,
            leaving: *leaving == "leaving",
            created: None,
        },
        granted: false,
    }
}

fn pod(name: &str, fields: &[&str]) -> Pod {
    let [uid, node, phase, leaving, owner, label, migration, claims] = fields else {
        panic!("no pod: {fields:?}");
    };
    let owner: Vec<_> = owner.split(':').collect();
    let owner = match owner[..] {
        [api_version, kind, uid] => Some(Owner {
            api_version,
            kind,
            uid,
        }),
        _ => None,
    };
    Pod {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: (*uid).to_owned(),
        node: given(node).unwrap_or_default().to_owned(),
        phase: Phase::parse(phase),
        leaving: *leaving == "leaving",
        role: Role::of(owner.as_ref(), |key| {
            (key == "kubevirt.io").then_some(*label)
        }),
        migration: given(migration).map(str::to_owned),
        claims: claims.split(',').map(str::to_owned).collect(),
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(Reason::Alone) => "alone".to_owned(),
        Verdict::AllowAsMigration(found) => format!(
            "{} from {} to {}",
            found.migration, found.source, found.target
        ),
        Verdict::Deny(denial) => denial.rule.to_string(),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::succeeds(
    include_str!("migration-succeeds.txt"),
    &[
        "2.1 pv-root node-a alone",
        "5.64 pv-root node-b default/mig1 from node-a to node-b",
    ]
)]
#[case::fails(
    include_str!("migration-fails.txt"),
    &[
        "1.46 pv-root node-a alone",
        "3.48 pv-root node-b default/mig1 from node-a to node-b",
    ]
)]
#[case::back_to_back(
    include_str!("two-migrations-back-to-back.txt"),
    &[
        "2.1 pv-root node-a alone",
        "4.63 pv-root node-b default/mig1 from node-a to node-b",
        "11.7 pv-root node-c two-nodes",
        "12.42 pv-root node-c default/mig2 from node-b to node-c",
    ]
)]
#[case::hot_plugged(
    include_str!("migration-with-hotplugged-volume.txt"),
    &[
        "1.57 pv-root node-b alone",
        "4.02 pv-data node-b alone",
        "9.47 pv-root node-a default/mig1 from node-b to node-a",
        "10.37 pv-data node-a default/mig1 from node-b to node-a",
    ]
)]
fn a_recording_is_judged_as_it_went(#[case] recording: &str, #[case] expected: &[&str]) {
    let mut replay = Replay::default();
    recording.lines().for_each(|line| replay.event(line));
    assert_eq!(replay.told, expected);
}
