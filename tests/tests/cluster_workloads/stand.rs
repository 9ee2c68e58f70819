//! What every case here begins and ends with: a namespace of its own on a cluster with the
//! product, and in the end an appliance that has forgotten every volume of it.
//!
//! Waiting is kubectl's where it can be: one process that watches, not one a poll.

use std::collections::BTreeSet;

use rds_csi_tests::cluster::claim::{Claim, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

/// How long kubectl waits; its runner ends it a little later.
const PATIENCE: &str = "--timeout=170s";

/// A namespace of a case.
pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: Namespace,
}

/// A claim's volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// The PersistentVolume.
    pub(crate) name: String,
    /// The disk item on the appliance.
    pub(crate) handle: String,
}

/// What the appliance has.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The slots of disk items.
    pub(crate) items: BTreeSet<String>,
    /// The paths of files.
    pub(crate) files: BTreeSet<String>,
}

impl Contents {
    /// Whether there is a disk item of the volume, and whether there is a file.
    pub(crate) fn of(&self, handle: &str) -> (bool, bool) {
        let file = self.files.iter().any(|path| path.contains(handle));
        (self.items.contains(handle), file)
    }
}

impl Stand {
    /// Makes the namespace, in a whole cluster that no other test uses.
    pub(crate) async fn open(name: &str) -> Self {
        let cluster = Cluster::whole().await.unwrap();
        Self::within(&cluster, name).await
    }

    /// Makes the namespace, in a whole cluster, beside tests like this one.
    pub(crate) async fn shared(name: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        Self::within(&cluster, name).await
    }

    /// Makes the namespace in a cluster that is whole already: seeing to that takes processors
    /// which the nodes need.
    pub(crate) async fn within(cluster: &Cluster, name: &str) -> Self {
        let namespace = Namespace::new(cluster, name).await.unwrap();
        Self {
            cluster: cluster.clone(),
            namespace,
        }
    }

    /// Applies several manifests at once.
    pub(crate) async fn apply(&self, manifests: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        self.namespace.apply(&list).await.unwrap();
    }

    /// Runs kubectl in the namespace; what goes wrong is told with all that is known.
    pub(crate) async fn kubectl(&self, words: &[&str]) -> String {
        match self.namespace.kubectl(words).await {
            Ok(text) => text,
            Err(error) => panic!("{error:#}\n{}", self.namespace.report().await),
        }
    }

    /// Waits by `kubectl wait` for a condition of objects such as `pod/name`.
    pub(crate) async fn wait(&self, condition: &str, objects: &[&str]) {
        let condition = format!("--for={condition}");
        let words = [&["wait", &condition, PATIENCE], objects].concat();
        // Once more, as starting a pod on a busy machine takes its time.
        if self.namespace.kubectl(&words).await.is_err() {
            self.kubectl(&words).await;
        }
    }

    /// Waits until pods run and are ready.
    pub(crate) async fn ready(&self, pods: &[&str]) {
        let pods: Vec<String> = pods.iter().map(|pod| format!("pod/{pod}")).collect();
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        self.wait("condition=Ready", &pods).await;
    }

    /// Runs a script in a pod: what it wrote.
    pub(crate) async fn sh(&self, pod: &str, script: &str) -> String {
        self.namespace.sh(pod, script).await.unwrap()
    }

    /// Deletes objects such as `pod/name` and waits until they are gone.
    pub(crate) async fn remove(&self, objects: &[&str]) {
        self.kubectl(&[&["delete", PATIENCE], objects].concat())
            .await;
    }

    /// Asks for another size of a claim.
    pub(crate) async fn grow(&self, claim: &str, size: &str) {
        let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let patch = patch.to_string();
        self.kubectl(&["patch", "pvc", claim, "--patch", &patch])
            .await;
    }

    /// The volume of a claim, once it is bound.
    pub(crate) async fn volume(&self, claim: &str) -> Volume {
        let name = self.namespace.bound(claim).await.unwrap();
        let volume = self.cluster.get(&["pv", &name]).await.unwrap();
        let handle = volume["spec"]["csi"]["volumeHandle"].as_str().unwrap();
        Volume {
            name,
            handle: handle.to_owned(),
        }
    }

    /// What the appliance has now, past SSH and the driver.
    pub(crate) async fn appliance(&self) -> Contents {
        let appliance = self.cluster.appliance();
        let mut answer = appliance.control(json!({"op": "state"})).await.unwrap();
        let state = answer["state"].take();
        let items = state["device"]["items"].as_array().unwrap().iter();
        let files = state["files"].as_array().unwrap().iter();
        Contents {
            items: items
                .map(|item| item["slot"].as_str().unwrap().to_owned())
                .collect(),
            files: files.map(Value::to_string).collect(),
        }
    }

    /// Waits until nothing of a volume is on the appliance.
    pub(crate) async fn gone_from_appliance(&self, handle: &str) {
        let what = format!("{handle} is gone from the appliance");
        let gone = until(&what, DEADLINE, async || {
            Ok((self.appliance().await.of(handle) == (false, false)).then_some(()))
        });
        gone.await.unwrap();
    }

    /// Waits for an event about an object that has all of these words.
    pub(crate) async fn told(&self, about: &str, words: &[&str]) -> String {
        let [first, others @ ..] = words else {
            panic!("nothing to wait for");
        };
        // The sidecars' and kubelet's pauses between attempts grow to minutes.
        let event = self.namespace.event(about, first, DEADLINE * 2).await;
        let event = match event {
            Ok(event) => event,
            Err(error) => panic!("{error:#}\n{}", self.namespace.report().await),
        };
        for word in others {
            assert!(event.contains(word), "no {word:?} in: {event}");
        }
        event
    }

    /// Removes the namespace. With the claims go their volumes: nothing of them is left on
    /// the appliance when this returns.
    pub(crate) async fn close(self) {
        let name = self.namespace.name();
        let all = self.cluster.get(&["pv"]).await.unwrap();
        let volumes = all["items"].as_array().unwrap().iter();
        // What a class retains is not ours to wait for.
        let ours = volumes.filter(|volume| {
            volume["spec"]["claimRef"]["namespace"] == name
                && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        });
        let handles: Vec<String> = ours
            .map(|volume| volume["spec"]["csi"]["volumeHandle"].as_str().unwrap())
            .map(str::to_owned)
            .collect();
        self.namespace.delete().await.unwrap();
        for handle in handles {
            self.gone_from_appliance(&handle).await;
        }
    }
}

/// A pod with a claim at a path, on one node or on any.
pub(crate) fn pod_at(name: &str, node: Option<&str>, claim: &Claim, path: &str) -> Value {
    let mut pod = pod(name, node, claim);
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([]);
    container["volumeDevices"] = json!([]);
    pod["spec"]["volumes"] = json!([]);
    with(pod, claim, path)
}

/// A pod with another claim at a path.
pub(crate) fn with(mut pod: Value, claim: &Claim, path: &str) -> Value {
    let name = &claim.name;
    push(
        &mut pod["spec"]["volumes"],
        json!({"name": name, "persistentVolumeClaim": {"claimName": name}}),
    );
    let container = &mut pod["spec"]["containers"][0];
    if claim.volume_mode == "Block" {
        push(
            &mut container["volumeDevices"],
            json!({"name": name, "devicePath": path}),
        );
    } else {
        mount(&mut pod, json!({"name": name, "mountPath": path}));
    }
    pod
}

/// Gives a pod's container another mount.
pub(crate) fn mount(pod: &mut Value, mount: Value) {
    push(&mut pod["spec"]["containers"][0]["volumeMounts"], mount);
}

/// Makes a pod's container run a script of busybox's shell, once: it fails with it.
pub(crate) fn run(pod: &mut Value, script: &str) {
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-euc", script]);
}

/// A pod with such claims, each at a place of its own: /ext4, /xfs and /dev/raw.
pub(crate) fn pod_with_all(name: &str, node: Option<&str>, claims: &[Claim; 3]) -> Value {
    let [ext4, xfs, raw] = claims;
    let pod = pod_at(name, node, ext4, "/ext4");
    with(with(pod, xfs, "/xfs"), raw, "/dev/raw")
}

/// A block claim whose volume goes with it.
pub(crate) fn raw(name: &str) -> Claim {
    Claim::block(name).of_class("rds-csi")
}

/// A pod with one claim, at the place that the two scripts below know.
pub(crate) fn pod_with(name: &str, node: Option<&str>, claim: &Claim) -> Value {
    let place = if is_raw(claim) { "/dev/raw" } else { "/data" };
    pod_at(name, node, claim, place)
}

/// A script that writes a word to the volume of such a pod, down to the appliance.
pub(crate) fn write_word(claim: &Claim, word: &str) -> String {
    if is_raw(claim) {
        format!("echo {word} | dd of=/dev/raw bs=512 conv=sync,fsync,notrunc 2>/dev/null")
    } else {
        format!("echo {word} >/data/file; sync")
    }
}

/// A script that reads the word again.
pub(crate) fn read_word(claim: &Claim) -> &'static str {
    if is_raw(claim) {
        "head -n 1 /dev/raw"
    } else {
        "cat /data/file"
    }
}

fn is_raw(claim: &Claim) -> bool {
    claim.volume_mode == "Block"
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}
