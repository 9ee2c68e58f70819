//! A pod that writes without end, and the proof that nothing it wrote was lost.
//!
//! It writes numbered blocks, each synced before its number goes into a journal that is
//! synced too: every number in the journal stands for a block that must be there. In a
//! filesystem both are files; a raw device has eight blocks and the last number behind them.
//! Before it writes, it compares what it finds, and it keeps where it went on from: whatever
//! was lost before it started could be written over by the time that anybody looks.

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
whole() { [ "$1" = "$(cat journal 2>/dev/null | wc -l)" ]; }
"#;
const RAW: &str = r#"
at=/dev/volume
last() { dd if=$at bs=4096 skip=256 count=1 2>/dev/null | tr -d '\0'; }
write() { head -c 65536 | dd of=$at bs=65536 seek="$1" iflag=fullblock conv=fsync,notrunc 2>/dev/null; }
read_back() { dd if=$at bs=65536 skip="$1" count=1 iflag=direct 2>/dev/null; }
keep() { echo "$1" | dd of=$at bs=4096 seek=256 conv=fsync,notrunc 2>/dev/null; }
whole() { true; }
"#;
/// Follows one of the two, as do the others. Of eight blocks the oldest may be the one after the
/// journal's end.
const COMPARE: &str = r#"
compare() {
  whole "$1"
  k=$(($1 > 7 ? $1 - 6 : 1))
  while [ "$k" -le "$1" ]; do
    yes "$k" | head -c 65536 >/tmp/expected
    read_back "$((k % 8))" | cmp - /tmp/expected
    k=$((k + 1))
  done
}
"#;
/// Follows that.
const WRITE: &str = r#"
trap 'exit 0' TERM
rm -f /tmp/stop /tmp/stopped
n=$(last)
n=${n:-0}
compare "$n"
echo "$n" >/tmp/began
while [ ! -e /tmp/stop ]; do
  n=$((n + 1))
  yes "$n" | write "$((n % 8))"
  keep "$n"
  sleep 0.5
done
touch /tmp/stopped
while :; do sleep 3600 & wait $!; done
"#;
/// Follows that too: from where the writer went on, and how far it has come.
const VERIFY: &str = r#"
touch /tmp/stop
tries=0
until [ -e /tmp/stopped ]; do tries=$((tries + 1)); [ "$tries" -lt 600 ]; sleep 0.2; done
n=$(last)
compare "$n"
echo "$(cat /tmp/began) $n"
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
    let script = format!("{}{COMPARE}{WRITE}", volume(claim));
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

/// Ends the writing and compares every block that should be there: the last number. The writer
/// must have found what had been synced before it started, up to `known` at least.
pub(crate) async fn verify(
    namespace: &Namespace,
    claim: &Claim,
    known: u64,
) -> anyhow::Result<u64> {
    let script = format!("{}{COMPARE}{VERIFY}", volume(claim));
    let numbers = namespace.sh(&claim.name, &script).await?;
    let name = &claim.name;
    let unread = || format!("{name}: {numbers:?}");
    let (began, last) = numbers.split_once(' ').with_context(unread)?;
    let began: u64 = began.parse().with_context(unread)?;
    ensure!(
        began >= known,
        "{name} went on from {began}, and {known} had been synced"
    );
    last.parse().with_context(unread)
}

/// How often the pod's container was started again.
pub(crate) async fn restarts(namespace: &Namespace, pod: &str) -> anyhow::Result<u64> {
    let pod = namespace.get("pod", pod).await?;
    let status = &pod["status"]["containerStatuses"][0];
    ensure!(status.is_object(), "no container has started: {pod}");
    Ok(status["restartCount"].as_u64().unwrap_or_default())
}
