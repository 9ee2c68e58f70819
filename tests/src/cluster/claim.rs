//! The manifests that almost every case needs: a claim, and a pod that uses it. Cases that need
//! more change the values.

use serde_json::{Value, json};

/// The image of test pods: busybox.
pub const IMAGE: &str = "rds-csi.test/busybox:1";
/// Where a pod's volume is, as a directory and as a device.
pub const MOUNT: &str = "/data";
/// See [`MOUNT`].
pub const DEVICE: &str = "/dev/volume";

/// A claim to be.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// The class.
    pub class: String,
    /// The access mode.
    pub access_mode: String,
    /// `Filesystem` or `Block`.
    pub volume_mode: String,
    /// The size, as in `64Mi`.
    pub size: String,
}

impl Claim {
    /// 64 MiB of ext4 for one node.
    #[must_use]
    pub fn filesystem(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: "rds-csi".to_owned(),
            access_mode: "ReadWriteOnce".to_owned(),
            volume_mode: "Filesystem".to_owned(),
            size: "64Mi".to_owned(),
        }
    }

    /// 64 MiB of raw device for one node.
    #[must_use]
    pub fn block(name: &str) -> Self {
        Self {
            class: "rds-csi-block".to_owned(),
            volume_mode: "Block".to_owned(),
            ..Self::filesystem(name)
        }
    }

    /// The same of another class.
    #[must_use]
    pub fn of_class(mut self, class: &str) -> Self {
        class.clone_into(&mut self.class);
        self
    }

    /// The same for another access mode.
    #[must_use]
    pub fn access(mut self, mode: &str) -> Self {
        mode.clone_into(&mut self.access_mode);
        self
    }

    /// The same of another size.
    #[must_use]
    pub fn size(mut self, size: &str) -> Self {
        size.clone_into(&mut self.size);
        self
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.name},
            "spec": {
                "accessModes": [self.access_mode],
                "volumeMode": self.volume_mode,
                "storageClassName": self.class,
                "resources": {"requests": {"storage": self.size}},
            },
        })
    }
}

/// The manifest of a pod that sleeps, with a claim at [`MOUNT`], or at [`DEVICE`] if it is
/// a block claim. Cases that need more change the value.
#[must_use]
pub fn pod(name: &str, node: Option<&str>, claim: &Claim) -> Value {
    let mut container = json!({
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        // A shell is the first process, so that a pod ends at once.
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
    });
    let (field, at) = if claim.volume_mode == "Block" {
        (
            "volumeDevices",
            json!([{"name": "volume", "devicePath": DEVICE}]),
        )
    } else {
        (
            "volumeMounts",
            json!([{"name": "volume", "mountPath": MOUNT}]),
        )
    };
    container[field] = at;
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{
                "name": "volume",
                "persistentVolumeClaim": {"claimName": claim.name},
            }],
        },
    });
    if let Some(node) = node {
        // By the scheduler, as a person would: nodeName would go round it.
        pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    }
    pod
}
