//! What the Go driver has left: objects in the cluster, items on the device, and data.
//!
//! That driver's commands on the device had the shape that is here. It wrote no comment, set
//! no property that it did not need, named slots by 40 characters, and connected under the
//! identity of the node's image.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use serde_json::{Value, json};

/// The Go driver's directory, which is not that of the chart.
pub(crate) const DIRECTORY: &str = "/storage-pool/metal-csi";
pub(crate) const CLASS: &str = "rds-nvme-tcp";
pub(crate) const NAMESPACE: &str = "takeover";
pub(crate) const FILES: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
pub(crate) const RAW: &str = "pvc-7b1de0a4-9d43-4b7e-8a5c-3f6f2f1f0a11";
/// Finds the device of a subsystem, `NQN`, as `nvme connect` makes it, and does something
/// with it, then ends the session as `nvme disconnect` does.
const BY_HAND: &str = r#"
set -eu
exec 9<>/dev/nvme-fabrics
printf %s 'transport=tcp,traddr=ADDRESS,trsvcid=4420,nqn=NQN,ctrl_loss_tmo=-1,reconnect_delay=5' >&9
cat <&9 >/dev/null
exec 9>&-
for controller in /sys/class/nvme/nvme*; do
  [ "$(cat $controller/subsysnqn)" != NQN ] || break
done
device=
while [ ! -b "$device" ]; do
  device=/dev/$(ls $controller | sed -n 's/^\(nvme[0-9]*\)c[0-9]*\(n[0-9]*\)$/\1\2/p;/^nvme[0-9]*n[0-9]*$/p' | head -n 1)
  sleep 0.1
done
DO
echo 1 >$controller/delete_controller
"#;

fn nqn(id: &str) -> String {
    format!("nqn.2000-02.com.mikrotik:{id}")
}

/// The claim that a volume of these is bound to.
pub(crate) fn claim(id: &str) -> Claim {
    let claim = if id == RAW {
        Claim::block("raw").access("ReadWriteMany")
    } else {
        Claim::filesystem("files")
    };
    claim.of_class(CLASS).size("1Gi")
}

/// The class of that driver, with the parameters that it knew.
fn class(address: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS},
        "provisioner": "rds.csi.srvlab.io", "allowVolumeExpansion": true,
        "parameters": {"nvmeAddress": address, "nvmePort": "4420", "volumePath": DIRECTORY},
    })
}

/// A PersistentVolume as external-provisioner wrote it for that driver, which left its own
/// annotations there.
fn volume(id: &str, addresses: (&str, &str)) -> Value {
    let claim = claim(id);
    let mut source = json!({
        "driver": "rds.csi.srvlab.io",
        "volumeHandle": id,
        "volumeAttributes": {
            "rdsAddress": addresses.0,
            "nvmeAddress": addresses.1,
            "nvmePort": "4420",
            "nqn": nqn(id),
            "volumePath": DIRECTORY,
            "ctrlLossTmo": "-1",
            "reconnectDelay": "5",
            "keepAliveTmo": "0",
            "migrationTimeoutSeconds": "300",
            "storage.kubernetes.io/csiProvisionerIdentity": "1763000000000-8081-rds.csi.srvlab.io",
        },
    });
    if id == FILES {
        source["fsType"] = json!("ext4");
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": id,
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "rds.csi.srvlab.io",
                "volume.kubernetes.io/provisioner-deletion-secret-name": "",
                "volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
                "rds.csi.srvlab.io/attached-node": "r640",
                "rds.csi.srvlab.io/attached-at": "2026-02-04T10:30:45Z",
            },
            "finalizers": ["external-provisioner.volume.kubernetes.io/finalizer",
                "kubernetes.io/pv-protection"],
        },
        "spec": {
            "accessModes": [claim.access_mode], "volumeMode": claim.volume_mode,
            "capacity": {"storage": "1Gi"}, "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": NAMESPACE, "name": claim.name},
            "csi": source,
        },
    })
}

/// Asks the device by a script of its own language, as that driver did.
async fn routeros(cluster: &Cluster, script: &str) -> String {
    let request = json!({"op": "exec", "script": script});
    let answer = cluster.appliance().control(request).await.unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    answer["stdout"].as_str().unwrap().to_owned()
}

/// Makes a volume on the device by that driver's command.
async fn add(cluster: &Cluster, id: &str) {
    let limit = async |value: &str| {
        let request = json!({"op": "variant", "name": "slot-limit", "value": value});
        let answer = cluster.appliance().control(request).await.unwrap();
        assert_eq!(answer["ok"], true, "{answer}");
    };
    // Its device took slots of 40 characters; a newer one has them from before.
    limit("accept").await;
    let nqn = nqn(id);
    let add = format!(
        "/disk add type=file file-path={DIRECTORY}/{id}.img file-size=1G slot={id} \
         nvme-tcp-export=yes nvme-tcp-server-port=4420 nvme-tcp-server-nqn={nqn}"
    );
    let said = routeros(cluster, &add).await;
    limit("reject").await;
    assert_eq!(said.trim(), "", "{add}");
}

/// Removes what an earlier run has left of the volumes, whose names are always the same.
pub(crate) async fn remove_leftovers(cluster: &Cluster) {
    let volumes = [FILES, RAW].map(|id| format!("pv/{id}"));
    let mut words = vec!["delete", "--ignore-not-found", "--timeout=150s"];
    words.extend(volumes.iter().map(String::as_str));
    cluster.kubectl(&words).await.unwrap();
    for id in [FILES, RAW] {
        let file = format!("{}/{id}.img", DIRECTORY.trim_start_matches('/'));
        for remove in [
            format!("/disk remove [find slot={id}]"),
            format!("/file remove [find name=\"{file}\"]"),
        ] {
            assert_eq!(routeros(cluster, &remove).await.trim(), "", "{remove}");
        }
        assert_eq!(on_device(cluster, id).await, (None, false));
    }
}

/// Does something on a node with the device of a volume, by a session of its own.
async fn by_hand(cluster: &Cluster, id: &str, script: &str) -> String {
    let address = cluster.appliance().description().nvme.to_string();
    let script = BY_HAND
        .replace("ADDRESS", &address)
        .replace("NQN", &nqn(id))
        .replace("DO", script);
    let node = cluster.node("node-a").unwrap();
    let output = node.run(&["timeout", "60", "bash", "-c", &script]).await;
    let output = output.unwrap();
    assert!(output.success(), "{}", output.error_text());
    output.text()
}

/// Everything as it was when that driver was removed, with something written to each volume:
/// the sums of that.
pub(crate) async fn installed_before(cluster: &Cluster, namespace: &Namespace) -> [String; 2] {
    let device = cluster.appliance();
    let description = device.description();
    let (ssh, nvme) = (
        description.ssh.ip().to_string(),
        description.nvme.to_string(),
    );
    cluster.apply(&class(&nvme).to_string()).await.unwrap();
    for id in [FILES, RAW] {
        add(cluster, id).await;
    }
    let files = "mkfs.ext4 -F -q $device; mkdir -p /mnt/before; mount $device /mnt/before
        head -c 8M /dev/urandom >/mnt/before/data; md5sum </mnt/before/data
        umount /mnt/before";
    let raw = "dd if=/dev/urandom of=$device bs=1M count=8 oflag=direct status=none
        dd if=$device bs=1M count=8 iflag=direct status=none | md5sum";
    let sums = [
        by_hand(cluster, FILES, files).await.trim().to_owned(),
        by_hand(cluster, RAW, raw).await.trim().to_owned(),
    ];
    for id in [FILES, RAW] {
        cluster
            .apply(&volume(id, (&ssh, &nvme)).to_string())
            .await
            .unwrap();
        let mut claim = claim(id).manifest();
        claim["spec"]["volumeName"] = json!(id);
        namespace.apply(&claim).await.unwrap();
        assert_eq!(namespace.bound(name(id)).await.unwrap(), id);
    }
    sums
}

pub(crate) fn name(id: &str) -> &'static str {
    if id == RAW { "raw" } else { "files" }
}

/// What is on the device of a volume: its item, and whether there is a file.
pub(crate) async fn on_device(cluster: &Cluster, id: &str) -> (Option<Value>, bool) {
    let request = json!({"op": "state"});
    let mut answer = cluster.appliance().control(request).await.unwrap();
    let state = answer["state"].take();
    let mut items = state["device"]["items"].as_array().unwrap().iter();
    let mut files = state["files"].as_array().unwrap().iter();
    let item = items.find(|item| item["slot"] == id).cloned();
    let file = files.any(|file| file.to_string().contains(id));
    (item, file)
}
