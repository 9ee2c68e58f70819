//! What a person is told, by `kubectl describe`, when a volume cannot be had: the cause,
//! and what to do.

use rds_csi_tests::cluster::claim::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, Volume, pod_at};

/// The claims whose volumes something is done to behind everybody's back.
const LOST: &str = "lost";
const FOREIGN: &str = "foreign";
const EMPTIED: &str = "emptied";
/// The claim that shall grow beyond the device.
const GROWN: &str = "grown";

/// A pod with a volume that no claim protects.
fn inline_pod() -> Value {
    let mut pod = pod_at(
        "inline",
        Some("node-b"),
        &Claim::filesystem("none"),
        "/data",
    );
    pod["spec"]["volumes"][0] =
        json!({"name": "none", "csi": {"driver": "rds.csi.srvlab.io", "fsType": "ext4"}});
    pod
}

/// Takes a volume's disk item away, as somebody at the appliance would.
async fn remove_item(stand: &Stand, volume: &Volume) {
    let script = format!("/disk remove [find slot={}]", volume.handle);
    let request = json!({"op": "exec", "script": script});
    stand.cluster.appliance().control(request).await.unwrap();
    assert_eq!(stand.appliance().await.of(&volume.handle), (false, true));
}

/// Writes over a volume's file on the appliance: its first mebibytes.
async fn write_over(stand: &Stand, volume: &Volume, input: &str, mebibytes: u32) {
    let script = format!(
        "for file in $(find /mnt/appliance/pool -name '*{}*' -type f); do
             dd if={input} of=$file bs=1M count={mebibytes} conv=fsync,notrunc; echo done
         done",
        volume.handle
    );
    let ran = stand.cluster.appliance().run(&["sh", "-ec", &script]).await;
    let ran = ran.unwrap();
    assert_eq!(ran.text().trim(), "done", "{}", ran.error_text());
}

#[tokio::test]
async fn whatever_keeps_a_pod_from_its_volume_is_told_with_cause_and_next_step() {
    let stand = Stand::open("work-messages").await;
    let claims = [LOST, FOREIGN, EMPTIED, GROWN].map(Claim::filesystem);
    let huge = Claim::filesystem("huge").size("4Ti");
    let mut objects: Vec<Value> = claims.iter().map(Claim::manifest).collect();
    objects.extend([huge.manifest(), inline_pod()]);
    let [lost, foreign, emptied, _] = &claims;
    objects.push(pod_at("user", Some("node-b"), emptied, "/data"));
    stand.apply(&objects).await;
    let volumes = [stand.volume(LOST).await, stand.volume(FOREIGN).await];
    remove_item(&stand, &volumes[0]).await;
    write_over(&stand, &volumes[1], "/dev/urandom", 1).await;
    stand.volume(GROWN).await;
    stand.grow(GROWN, "4Ti").await;
    let pods = [lost, foreign].map(|claim| pod_at(&claim.name, Some("node-a"), claim, "/data"));
    stand.apply(&pods).await;

    // A volume that was used and is blank now has lost something: nobody formats it.
    let used = stand.volume(EMPTIED).await;
    stand.ready(&["user"]).await;
    stand.sh("user", "echo precious >/data/file; sync").await;
    let noted = r"jsonpath={.metadata.annotations.rds\.csi\.srvlab\.io/first-used}";
    stand.wait(noted, &[&format!("pv/{}", used.name)]).await;
    stand.remove(&["pod/user"]).await;
    write_over(&stand, &used, "/dev/zero", 64).await;
    stand
        .apply(&[pod_at(EMPTIED, Some("node-a"), emptied, "/data")])
        .await;

    let told = [
        (
            "huge",
            ["ProvisioningFailed", "left to promise", "ask for less"],
        ),
        (
            GROWN,
            ["VolumeResizeFailed", "left to promise", "ask for less"],
        ),
        (
            "lost",
            [
                "FailedAttachVolume",
                "does not exist on the device",
                "disk item",
            ],
        ),
        (
            "foreign",
            ["FailedMount", "is not blank", "delete the claim"],
        ),
        (
            "emptied",
            ["FailedMount", "its data is missing", "Check the pool"],
        ),
        ("inline", ["FailedMount", "Ephemeral", "Persistent"]),
    ];
    for (object, words) in told {
        stand.told(object, &words).await;
    }
    stand.close().await;
}
