//! The attachment rules over what a real control plane did: four recordings, object by object
//! in an API server over real HTTP, judged by what the driver reads of it.
//!
//! Nobody refused anything when they were made, and a third attachment came about. Here each
//! attachment is asked for when it is made and, if refused, again after every event that
//! follows, as the attach-detach controller does.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::sync::Arc;

use rds_csi_cluster::{ApiServer, Look, Reader as _, attachments_of, observed};
use rds_csi_core::attachment::exception::Moment;
use rds_csi_core::attachment::grant::{Grant, VolumeAttachment};
use rds_csi_core::attachment::{Modes, Reason, Request, Seat, Verdict};
use rds_csi_core::names::{DriverName, annotation};
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::node;
use rds_csi_tests::recording::{BACK_TO_BACK, Change, Event, FAILS, HOT_PLUGGED, SUCCEEDS};
use rstest::rstest;
use serde_json::{Value, json};

const DISKS: [(&str, &str, &str); 2] = [
    ("pv-root", "root", "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("pv-data", "data", "pvc-baaaaaaaaaaaaaaaaaaaaaaaaa"),
];

struct Replay {
    api: FakeApiServer,
    client: Arc<ApiServer>,
    driver: DriverName,
    /// Who was told what, at which second.
    told: Vec<String>,
}

impl Replay {
    async fn start() -> Self {
        let api = FakeApiServer::start().await.unwrap();
        api.know_kubevirt(&[
            "virtualmachineinstances",
            "virtualmachineinstancemigrations",
        ]);
        for name in ["node-a", "node-b", "node-c"] {
            node(&api, name, true);
        }
        for (name, claim, handle) in DISKS {
            api.put(&json!({
                "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteMany"], "volumeMode": "Block",
                    "claimRef": {"namespace": "default", "name": claim},
                    "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": handle}},
                "status": {"phase": "Bound"},
            }));
        }
        let client = FakeApiServer::client(api.address()).await.unwrap();
        Self {
            api,
            client,
            driver: DriverName::default(),
            told: Vec::new(),
        }
    }

    async fn event(&mut self, event: Event) {
        match event.change {
            Change::New(object) if object["kind"] == "VolumeAttachment" => {
                self.asks(object).await;
            }
            Change::New(object) => self.api.put(&object),
            // Whether it comes true is not for the recording to say.
            Change::Patch { kind, .. } if kind == "VolumeAttachment" => {}
            Change::Patch {
                kind,
                name,
                mut patch,
            } => {
                patch["kind"] = json!(kind);
                patch["metadata"]["name"] = json!(name);
                patch["metadata"]["namespace"] = json!("default");
                self.api.put(&patch);
            }
            Change::Gone { kind, name } if kind == "VolumeAttachment" => {
                self.api.delete("volumeattachments", &name);
            }
            Change::Gone { kind, name } => {
                let resource = kind.to_lowercase() + "s";
                self.api.delete(&resource, &format!("default/{name}"));
            }
        }
        self.attach(&event.at).await;
    }

    /// The webhook is asked before there is an object, and says what the driver then does.
    async fn asks(&mut self, mut object: Value) {
        object["status"] = json!({"attached": false});
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        let volume = text("/spec/source/persistentVolumeName");
        let node = text("/spec/nodeName");
        let admitted = self.judge(&volume, &node, Seat::Admission).await;
        self.api.put(&object);
        let granted = self.judge(&volume, &node, Seat::Driver).await;
        assert_eq!(word(&admitted), word(&granted), "{volume} {node}");
    }

    /// Every wish that was not granted yet is asked for again.
    async fn attach(&mut self, at: &str) {
        for wish in self.client.volume_attachments().await.unwrap() {
            if wish.attached {
                continue;
            }
            let verdict = self
                .judge(&wish.persistent_volume, &wish.node, Seat::Driver)
                .await;
            self.tell(at, &wish, &verdict);
            if matches!(verdict, Verdict::Allow(_) | Verdict::AllowAsMigration(_)) {
                self.grant(&wish).await;
            }
        }
    }

    /// It is written down, and comes true.
    async fn grant(&self, wish: &VolumeAttachment) {
        let volume = self.client.persistent_volume(&wish.persistent_volume).await;
        let volume = volume.unwrap().unwrap();
        let all = self.client.volume_attachments().await.unwrap();
        let id = volume.handle.parse().unwrap();
        let attachments = attachments_of(&self.driver, &id, &volume, &all);
        let Grant::Write(record) =
            observed(&self.driver, &volume, &attachments).grant(&wish.node, None, false)
        else {
            panic!("{} was granted before", wish.name);
        };
        let key = self.driver.annotation(annotation::GRANTED);
        self.api.put(&json!({"kind": "PersistentVolume", "metadata":
            {"name": volume.name, "annotations": {key: record.to_string()}}}));
        self.api.put(
            &json!({"kind": "VolumeAttachment", "metadata": {"name": wish.name},
            "status": {"attached": true}}),
        );
    }

    /// Notes an answer, unless it is the last one again.
    fn tell(&mut self, at: &str, wish: &VolumeAttachment, verdict: &Verdict) {
        let whose = format!("{} {} ", wish.persistent_volume, wish.node);
        let told = whose.clone() + &word(verdict);
        let last = self.told.iter().rfind(|line| line.contains(&whose));
        if last.is_none_or(|line| !line.ends_with(&told)) {
            self.told.push(format!("{at} {told}"));
        }
    }

    async fn judge(&self, volume: &str, node: &str, seat: Seat) -> Verdict {
        let volume = self
            .client
            .persistent_volume(volume)
            .await
            .unwrap()
            .unwrap();
        let all = self.client.volume_attachments().await.unwrap();
        let id = volume.handle.parse().unwrap();
        let mut look = Look::of(&*self.client, &self.driver, &id, &volume, &all);
        let request = Request {
            node,
            access: None,
            seat,
            modes: &Modes::default(),
            now: &Moment::last(),
        };
        look.judge(&request).await.verdict
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
    SUCCEEDS,
    &[
        "2.1 pv-root node-a alone",
        "5.64 pv-root node-b default/mig1 from node-a to node-b",
    ]
)]
#[case::fails(
    FAILS,
    &[
        "1.46 pv-root node-a alone",
        "3.48 pv-root node-b default/mig1 from node-a to node-b",
    ]
)]
#[case::back_to_back(
    BACK_TO_BACK,
    &[
        "2.1 pv-root node-a alone",
        "4.63 pv-root node-b default/mig1 from node-a to node-b",
        "11.7 pv-root node-c two-nodes",
        "12.42 pv-root node-c default/mig2 from node-b to node-c",
    ]
)]
#[case::hot_plugged(
    HOT_PLUGGED,
    &[
        "1.57 pv-root node-b alone",
        "4.02 pv-data node-b alone",
        "9.47 pv-root node-a default/mig1 from node-b to node-a",
        "10.37 pv-data node-a default/mig1 from node-b to node-a",
    ]
)]
#[tokio::test]
async fn a_recording_is_judged_as_it_went(#[case] recording: &str, #[case] expected: &[&str]) {
    let mut replay = Replay::start().await;
    for line in recording.lines() {
        if let Some(event) = Event::read(line).unwrap() {
            replay.event(event).await;
        }
    }
    assert_eq!(replay.told, expected);
}
