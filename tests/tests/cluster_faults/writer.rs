//! A pod that writes without end, and the proof that nothing it wrote was lost.
//!
//! It writes numbered blocks, each synced before its number goes into a journal that is
//! synced too: every number in the journal stands for a block that must be there.

use anyhow::ensure;
use rds_csi_tests::cluster::namespace::{Claim, MOUNT, Namespace, pod};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::LONG;

const SCRIPT: &str = r#"
trap 'exit 0' TERM
cd "$1"
rm -f stop stopped
n=$(tail -n 1 journal 2>/dev/null || echo 0)
while [ ! -e stop ]; do
  n=$((n + 1))
  yes "$n" | head -c 65536 >part
  sync part
  mv part "$((n % 8))"
  echo "$n" >>journal
  sync journal
  sleep 0.5
done
touch stopped
while :; do sleep 3600 & wait $!; done
"#;

/// Of eight blocks the oldest may be the one after the journal's end.
const VERIFY: &str = r#"
touch stop
tries=0
until [ -e stopped ]; do tries=$((tries + 1)); [ "$tries" -lt 600 ]; sleep 0.2; done
n=$(tail -n 1 journal)
[ "$n" = "$(wc -l <journal)" ]
k=$((n > 7 ? n - 6 : 1))
while [ "$k" -le "$n" ]; do
  yes "$k" | head -c 65536 | cmp - "$((k % 8))"
  k=$((k + 1))
done
echo "$n"
"#;

/// The manifest of such a pod.
pub(crate) fn writer(name: &str, node: Option<&str>, claim: &Claim) -> Value {
    let mut pod = pod(name, node, claim);
    let command = json!(["sh", "-euc", SCRIPT, "writer", MOUNT]);
    pod["spec"]["containers"][0]["command"] = command;
    pod
}

/// The last number in the journal, 0 before there is any. It waits while the device is away.
pub(crate) async fn number(namespace: &Namespace, pod: &str) -> anyhow::Result<u64> {
    let script = format!("tail -n 1 {MOUNT}/journal 2>/dev/null || true");
    Ok(namespace.sh(pod, &script).await?.parse().unwrap_or(0))
}

/// Waits until the pod has written more.
pub(crate) async fn writes(namespace: &Namespace, pod: &str) -> anyhow::Result<()> {
    let before = number(namespace, pod).await?;
    until(&format!("{pod} writes"), LONG, async || {
        let now = number(namespace, pod).await?;
        Ok((now > before).then_some(()))
    })
    .await
}

/// Ends the writing and compares every block that should be there; the last number.
pub(crate) async fn verify(namespace: &Namespace, pod: &str) -> anyhow::Result<u64> {
    let script = format!("cd {MOUNT}\n{VERIFY}");
    Ok(namespace.sh(pod, &script).await?.parse()?)
}

/// How often the pod's container was started again.
pub(crate) async fn restarts(namespace: &Namespace, pod: &str) -> anyhow::Result<u64> {
    let pod = namespace.get("pod", pod).await?;
    let status = &pod["status"]["containerStatuses"][0];
    ensure!(status.is_object(), "no container has started: {pod}");
    Ok(status["restartCount"].as_u64().unwrap_or_default())
}
