//! A pod that writes without end, and the proof that nothing it wrote was lost.
//!
//! It writes numbered blocks, each synced before its number goes into a journal that is
//! synced too: every number in the journal stands for a block that must be there. In a
//! filesystem both are files; a raw device has eight blocks and the last number behind them.

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::claim::{Claim, DEVICE, MOUNT, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::LONG;

/// What a script needs to know of a volume: where it is, the last number, how a block is
/// written and read, and how its number is kept. A filesystem replaces whole files.
const FILES: &str = r#"
cd /data
last() { tail -n 1 journal 2>/dev/null || true; }
write() { head -c 65536 >part; sync part; mv part "$1"; }
read_back() { cat "$1"; }
keep() { echo "$1" >>journal; sync journal; }
whole() { [ "$1" = "$(wc -l <journal)" ]; }
"#;
const RAW: &str = r#"
at=/dev/volume
last() { dd if=$at bs=4096 skip=256 count=1 2>/dev/null | tr -d '\0'; }
write() { head -c 65536 | dd of=$at bs=65536 seek="$1" iflag=fullblock conv=fsync,notrunc 2>/dev/null; }
read_back() { dd if=$at bs=65536 skip="$1" count=1 iflag=direct 2>/dev/null; }
keep() { echo "$1" | dd of=$at bs=4096 seek=256 conv=fsync,notrunc 2>/dev/null; }
whole() { true; }
"#;
/// Follows one of the two, as do the others.
const WRITE: &str = r#"
trap 'exit 0' TERM
rm -f /tmp/stop /tmp/stopped
n=$(last)
n=${n:-0}
while [ ! -e /tmp/stop ]; do
  n=$((n + 1))
  yes "$n" | write "$((n % 8))"
  keep "$n"
  sleep 0.5
done
touch /tmp/stopped
while :; do sleep 3600 & wait $!; done
"#;
/// Of eight blocks the oldest may be the one after the journal's end.
const VERIFY: &str = r#"
touch /tmp/stop
tries=0
until [ -e /tmp/stopped ]; do tries=$((tries + 1)); [ "$tries" -lt 600 ]; sleep 0.2; done
n=$(last)
whole "$n"
k=$((n > 7 ? n - 6 : 1))
while [ "$k" -le "$n" ]; do
  yes "$k" | head -c 65536 >/tmp/expected
  read_back "$((k % 8))" | cmp - /tmp/expected
  k=$((k + 1))
done
echo "$n"
"#;

/// Makes claims.
pub(crate) async fn apply(namespace: &Namespace, claims: &[Claim]) -> anyhow::Result<()> {
    let claims: Vec<Value> = claims.iter().map(Claim::manifest).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": claims});
    namespace.apply(&list).await
}

/// Starts pods that write, named as their claims, on these nodes in turn, and waits until
/// each has written.
pub(crate) async fn start(
    namespace: &Namespace,
    claims: &[Claim],
    nodes: &[&str],
) -> anyhow::Result<()> {
    let nodes = nodes.iter().cycle();
    let pods = claims.iter().zip(nodes);
    let pods: Vec<Value> = pods.map(|(claim, node)| writer(claim, node)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    namespace.apply(&list).await?;
    for claim in claims {
        namespace.running(&claim.name).await?;
        writes(namespace, claim).await?;
    }
    Ok(())
}

/// The manifest of such a pod.
fn writer(claim: &Claim, node: &str) -> Value {
    let mut pod = pod(&claim.name, Some(node), claim);
    let script = format!("{}{WRITE}", volume(claim));
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-euc", script]);
    pod
}

fn volume(claim: &Claim) -> String {
    if claim.volume_mode == "Block" {
        RAW.replace("/dev/volume", DEVICE)
    } else {
        FILES.replace("/data", MOUNT)
    }
}

/// The last number in the journal, 0 before there is any. It waits while the device is away.
pub(crate) async fn number(namespace: &Namespace, claim: &Claim) -> anyhow::Result<u64> {
    let script = format!("{}last", volume(claim));
    Ok(namespace
        .sh(&claim.name, &script)
        .await?
        .parse()
        .unwrap_or(0))
}

/// Waits until the pod has written more.
pub(crate) async fn writes(namespace: &Namespace, claim: &Claim) -> anyhow::Result<()> {
    let before = number(namespace, claim).await?;
    until(&format!("{} writes", claim.name), LONG, async || {
        let now = number(namespace, claim).await?;
        Ok((now > before).then_some(()))
    })
    .await
}

/// Ends the writing and compares every block that should be there; the last number.
pub(crate) async fn verify(namespace: &Namespace, claim: &Claim) -> anyhow::Result<u64> {
    let script = format!("{}{VERIFY}", volume(claim));
    let last = namespace.sh(&claim.name, &script).await?;
    last.parse()
        .with_context(|| format!("{}: {last:?}", claim.name))
}

/// How often the pod's container was started again.
pub(crate) async fn restarts(namespace: &Namespace, pod: &str) -> anyhow::Result<u64> {
    let pod = namespace.get("pod", pod).await?;
    let status = &pod["status"]["containerStatuses"][0];
    ensure!(status.is_object(), "no container has started: {pod}");
    Ok(status["restartCount"].as_u64().unwrap_or_default())
}
