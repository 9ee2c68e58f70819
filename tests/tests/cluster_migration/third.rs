//! A third node, which asks for a disk that two may have at most.
//!
//! No machine is behind it: it is an object alone, which the cluster takes for ready as long
//! as it is said to be. So there are kubelets on the two nodes that have the disk, and the
//! driver is asked for the third as for any.

use rds_csi_cluster::now;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::kubevirt::launcher;
use rds_csi_tests::cluster::mend::{ALONE, PAST};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::stand::{DRIVER, LONG, Stand, attachment};

const THIRD: &str = "node-c";
/// A pod there.
pub(crate) const THIRD_POD: &str = "third";
/// The name of its attachment.
const WISH: &str = "third";

impl Stand {
    /// Makes the third node, and lets its attachments go past the webhook where that is asked.
    pub(crate) async fn add_third(&self) {
        self.cluster.open_passage().await.unwrap();
        let labelled = json!({"name": THIRD, "labels": {ALONE: "yes"}});
        // As the driver registers with kubelet: its node ids are names of nodes.
        let registered = json!({"name": DRIVER, "nodeID": THIRD, "topologyKeys": []});
        let items = json!([
            {"apiVersion": "v1", "kind": "Node", "metadata": labelled, "status": ready()},
            {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": labelled,
                "spec": {"drivers": [registered]}},
        ]);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.cluster.apply(&list.to_string()).await.unwrap();
    }

    /// Makes a pod of a machine there, which no kubelet starts.
    pub(crate) async fn launch_on_third(
        &self,
        claim: &Claim,
        machine: (&str, &str),
        migration: Option<&str>,
    ) {
        let mut pod = launcher(THIRD_POD, THIRD, claim, machine, migration);
        pod["spec"]["nodeName"] = json!(THIRD);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        self.apply(&pod).await;
    }

    /// Undoes [`Stand::add_third`].
    pub(crate) async fn remove_third(&self) {
        let words = ["delete", "node,csinode", THIRD];
        self.cluster.kubectl(&words).await.unwrap();
        self.cluster.close_passage().await.unwrap();
    }

    /// The third node asks and is refused with these words: by the webhook, and past it by the
    /// driver. Then it gives up, and nobody has lost or got the disk.
    pub(crate) async fn third_is_refused(&self, volume: &str, words: &str) {
        let before = self.attached(volume).await;
        self.hear().await;
        let mut asked = attachment(WISH, THIRD, volume);
        let refusal = self.refused(&asked).await;
        assert!(refusal.contains(words), "{refusal}");
        asked["metadata"]["labels"] = json!({ALONE: "yes", PAST: "yes"});
        until("the passage is open", LONG, async || {
            Ok(self.namespace.apply(&asked).await.ok())
        })
        .await
        .unwrap();
        self.driver_refuses(words).await;
        self.third_gives_up().await;
        assert_eq!(self.attached(volume).await, before);
    }

    async fn driver_refuses(&self, words: &str) {
        let mut last = None;
        let refused = until("the driver refuses", LONG, async || {
            last = self.wish().await?;
            let status = last.as_ref().map(|found| &found["status"]);
            let attached = status.map(|status| &status["attached"]);
            assert_ne!(attached, Some(&json!(true)), "a third node has the disk");
            let error = status.and_then(|status| status["attachError"]["message"].as_str());
            Ok(error.filter(|error| error.contains(words)).map(drop))
        });
        if let Err(error) = refused.await {
            panic!("{error:#} with {words:?}: {last:?}");
        }
    }

    async fn third_gives_up(&self) {
        let words = ["delete", "volumeattachment", WISH, "--wait=false"];
        self.cluster.kubectl(&words).await.unwrap();
        until("the third node has let go", LONG, async || {
            self.hear().await;
            Ok(self.wish().await?.is_none().then_some(()))
        })
        .await
        .unwrap();
    }

    async fn wish(&self) -> anyhow::Result<Option<Value>> {
        self.cluster.find(&["volumeattachment", WISH]).await
    }

    /// The third node is heard of. One that is not is taken for lost within a minute, and what
    /// a lost node asked for does not go.
    async fn hear(&self) {
        let patch = json!({"status": ready()}).to_string();
        let here = ["patch", "node", THIRD, "--subresource=status"];
        let words = [&here[..], &["--type=merge", "--patch", &patch]].concat();
        self.cluster.kubectl(&words).await.unwrap();
    }
}

fn ready() -> Value {
    let now = now().to_string();
    json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Test", "message": "An object alone",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }]})
}
