//! Attachments as the attach-detach controller asks for them, what is answered by the webhook
//! and by the driver, and what people are told.

use std::time::Duration;

use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_tests::cluster::mend::{ALONE, PAST};
use rds_csi_tests::metrics;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::objects::{ATTACHMENT, EVENT, MIGRATION};
use crate::stand::{DRIVER, Stand};

/// How long an answer may take, with the pauses between attempts that grow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The API server's count of reviews without whose answer it went on, and whose they were.
const GONE_ON_WITHOUT: &str = "apiserver_admission_webhook_fail_open_count";
const OURS: &str = ".webhook.rds.csi.srvlab.io\"";
/// How the webhook is named in its refusals.
const WEBHOOK: &str = "admission webhook \"volumeattachments.webhook.rds.csi.srvlab.io\" denied";

impl Stand {
    fn name(&self, disk: &str, node: &str) -> String {
        attachment_name(&self.disk(disk).id, &self.driver, node)
    }

    fn attachment(&self, disk: &str, node: &str) -> Value {
        let volume = &self.disk(disk).volume;
        json!({
            "metadata": {"name": self.name(disk, node), "labels": {ALONE: "yes"}},
            "spec": {"attacher": DRIVER, "nodeName": node,
                "source": {"persistentVolumeName": volume}},
        })
    }

    /// Asks for a disk on a node: the words of the webhook if it refuses.
    pub(crate) async fn ask(&self, disk: &str, node: &str) -> Result<(), String> {
        let attachment = self.attachment(disk, node);
        let asked = self.objects.ask(ATTACHMENT, &attachment).await;
        asked.map(drop)
    }

    /// Asks past the webhook, so that the driver is asked.
    pub(crate) async fn ask_driver(&self, disk: &str, node: &str) {
        let mut attachment = self.attachment(disk, node);
        attachment["metadata"]["labels"][PAST] = json!("yes");
        until("the passage is open", PATIENCE, async || {
            let asked = self.objects.ask(ATTACHMENT, &attachment).await;
            Ok(asked.ok())
        })
        .await
        .unwrap();
    }

    /// A node asks for a disk, the webhook admits it, and the driver grants it.
    pub(crate) async fn gets(&self, disk: &str, node: &str) {
        if let Err(refusal) = self.ask(disk, node).await {
            panic!("{node} does not get {disk}: {refusal}");
        }
        self.granted(disk, node).await;
    }

    /// Waits until the driver has granted what was asked for.
    pub(crate) async fn granted(&self, disk: &str, node: &str) {
        let what = format!("{node} has {disk}");
        let mut last = None;
        let granted = until(&what, PATIENCE, async || {
            last = self.find(disk, node).await;
            let attached = last.as_ref().map(|found| &found["status"]["attached"]);
            Ok((attached == Some(&json!(true))).then_some(()))
        });
        if let Err(error) = granted.await {
            panic!("{error:#}: {last:?}");
        }
    }

    /// Waits for the driver's first answer: whether it is a yes.
    pub(crate) async fn is_granted(&self, disk: &str, node: &str) -> bool {
        let answered = until("the driver answers", PATIENCE, async || {
            let found = self.find(disk, node).await.unwrap_or_default();
            let (attached, error) = (
                &found["status"]["attached"],
                &found["status"]["attachError"],
            );
            Ok((*attached == true || error.is_object()).then(|| *attached == true))
        });
        answered.await.unwrap()
    }

    /// A node asks for a disk and is refused with these words: by the webhook, and past it by
    /// the driver, who tells so on the claim. The wish stands, as it does where no webhook is.
    pub(crate) async fn waits(&self, disk: &str, node: &str, words: &str) {
        let refusal = self.refusal(disk, node).await;
        assert!(refusal.contains(words), "{refusal}");
        self.ask_driver(disk, node).await;
        self.refused_by_driver(disk, node, words).await;
    }

    /// For how many reviews by our webhook the API server did not wait: on a machine that has too
    /// much to do it may answer too late, and what it would have refused is there.
    pub(crate) async fn too_late(&self) -> u64 {
        let page = self.cluster.api_metrics().await.unwrap();
        metrics::sum(&page, GONE_ON_WITHOUT, &[OURS]).unwrap()
    }

    /// The words by which the webhook refuses. It is asked again only where it answered too late.
    pub(crate) async fn refusal(&self, disk: &str, node: &str) -> String {
        until("the webhook refuses", PATIENCE, async || {
            let before = self.too_late().await;
            let asked = self.ask(disk, node).await;
            if asked.is_ok() {
                assert!(self.too_late().await > before, "{node} may have {disk}");
                self.lets_go(disk, node).await;
            }
            Ok(asked.err().filter(|refusal| refusal.contains(WEBHOOK)))
        })
        .await
        .unwrap()
    }

    /// The same of a migration.
    pub(crate) async fn migration_refusal(&self, migration: &Value) -> String {
        let name = migration["metadata"]["name"].as_str().unwrap();
        until("the webhook refuses", PATIENCE, async || {
            let before = self.too_late().await;
            let asked = self.objects.ask(MIGRATION, migration).await;
            if asked.is_ok() {
                assert!(self.too_late().await > before, "{name} may be");
                self.objects.delete(MIGRATION, name, 0).await;
            }
            Ok(asked.err())
        })
        .await
        .unwrap()
    }

    /// Waits until the driver has refused what was asked for, with these words, and told so in
    /// all the words of this refusal: one of before by the same rule had others, unless it was
    /// the same one.
    pub(crate) async fn refused_by_driver(&self, disk: &str, node: &str, words: &str) {
        let mut last = None;
        let refused = until("the driver refuses", PATIENCE, async || {
            last = self.find(disk, node).await;
            let status = last.as_ref().map(|found| &found["status"]);
            assert_ne!(status.map(|status| &status["attached"]), Some(&json!(true)));
            let error = status.and_then(|status| status["attachError"]["message"].as_str());
            Ok(error
                .filter(|error| error.contains(words))
                .map(without_times))
        });
        let refusal = match refused.await {
            Ok(refusal) => refusal,
            Err(error) => panic!("{error:#} with {words:?}: {last:?}"),
        };
        let told = format!("AttachmentConflict: node {node} does not get the volume: ");
        let mut events = Vec::new();
        let told = until("the conflict is told", PATIENCE, async || {
            events = self.events(disk).await;
            let is_it = |event: &String| {
                let why = event.strip_prefix(&told);
                why.is_some_and(|why| why.contains(words) && refusal.contains(why))
            };
            Ok(events.iter().any(is_it).then_some(()))
        });
        if let Err(error) = told.await {
            panic!("{error:#} of {refusal:?}: {events:#?}");
        }
    }

    /// [`Stand::waits`], and then who asked gives up. Nobody else has lost or got the disk.
    pub(crate) async fn refused(&self, disk: &str, node: &str, words: &str) {
        let before = self.nodes_with(disk).await;
        self.waits(disk, node, words).await;
        self.lets_go(disk, node).await;
        assert_eq!(self.nodes_with(disk).await, before);
    }

    /// The attach-detach controller takes a disk back from a node: the attachment goes once
    /// the driver says so.
    pub(crate) async fn lets_go(&self, disk: &str, node: &str) {
        self.take_back(disk, node).await;
        self.gone(disk, node).await;
    }

    /// The same, without waiting.
    pub(crate) async fn take_back(&self, disk: &str, node: &str) {
        let name = self.name(disk, node);
        self.objects.delete(ATTACHMENT, &name, 0).await;
    }

    /// Waits until a node has let go of a disk.
    pub(crate) async fn gone(&self, disk: &str, node: &str) {
        let mut last = None;
        let what = format!("{node} has let go of {disk}");
        let gone = until(&what, PATIENCE, async || {
            last = self.find(disk, node).await;
            Ok(last.is_none().then_some(()))
        });
        if let Err(error) = gone.await {
            panic!("{error:#}: {last:?}");
        }
    }

    /// Waits until the driver says why a disk stays with a node that it is to be taken from.
    pub(crate) async fn kept(&self, disk: &str, node: &str, words: &str) {
        let mut last = None;
        let kept = until("the driver keeps it", PATIENCE, async || {
            last = self.find(disk, node).await;
            let status = last.as_ref().map(|found| &found["status"]);
            let error = status.and_then(|status| status["detachError"]["message"].as_str());
            Ok(error.filter(|error| error.contains(words)).map(drop))
        });
        if let Err(error) = kept.await {
            panic!("{error:#} with {words:?}: {last:?}");
        }
    }

    pub(crate) async fn find(&self, disk: &str, node: &str) -> Option<Value> {
        self.objects.find(ATTACHMENT, &self.name(disk, node)).await
    }

    /// The attachments to nodes that are objects alone.
    pub(crate) async fn attachments(&self) -> Vec<Value> {
        self.objects.all(ATTACHMENT, Some(ALONE)).await
    }

    /// The nodes that have a disk.
    pub(crate) async fn nodes_with(&self, disk: &str) -> Vec<String> {
        let volume = &self.disk(disk).volume;
        let all = self.objects.all(ATTACHMENT, None).await;
        let of_it = all.iter().filter(|found| {
            found["spec"]["source"]["persistentVolumeName"] == *volume
                && found["status"]["attached"] == true
        });
        let node = |found: &Value| found["spec"]["nodeName"].as_str().unwrap().to_owned();
        let mut nodes: Vec<String> = of_it.map(node).collect();
        nodes.sort();
        nodes
    }

    /// Events on a disk's claim, as `Reason: message`, with `N` for how long things took.
    pub(crate) async fn events(&self, disk: &str) -> Vec<String> {
        let all = self.objects.all(EVENT, None).await;
        let of_it = all.iter().filter(|event| {
            event["involvedObject"]["kind"] == "PersistentVolumeClaim"
                && event["involvedObject"]["name"] == disk
        });
        let text = |event: &Value| {
            let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            without_times(&format!("{}: {}", word("reason"), word("message")))
        };
        let mut events: Vec<String> = of_it.map(text).collect();
        events.sort();
        events
    }

    /// Waits until exactly this was told of a disk's migrations, in whatever order the
    /// alphabet has it.
    pub(crate) async fn told(&self, disk: &str, expected: &[String]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let mut events = Vec::new();
        let told = until("its migrations are told", PATIENCE, async || {
            events = self.events(disk).await;
            events.retain(|event| event.starts_with("Migration"));
            Ok((events == expected).then_some(()))
        });
        if let Err(error) = told.await {
            panic!("{error:#}: {disk}: {events:#?}, not {expected:#?}");
        }
    }

    /// What is told when two nodes have a disk for a migration.
    pub(crate) fn started(&self, source: &str, target: &str, migration: &str) -> String {
        let namespace = self.namespace.name();
        format!(
            "MigrationStarted: nodes {source} and {target} have the volume for migration {namespace}/{migration}"
        )
    }

    /// What is told when the machine has arrived.
    pub(crate) fn completed(&self, source: &str, target: &str, migration: &str) -> String {
        let namespace = self.namespace.name();
        format!(
            "MigrationCompleted: the machine has arrived on {target} from {source} with migration {namespace}/{migration}; both had the volume for N s"
        )
    }

    /// What is told when the target has let go and the machine has not arrived.
    pub(crate) fn failed(&self, target: &str, migration: &str) -> String {
        let namespace = self.namespace.name();
        format!(
            "MigrationFailed: {target} has let go of the volume after N s: migration {namespace}/{migration} has not arrived"
        )
    }

    /// What is told when the target is left although the migration has failed.
    pub(crate) fn failed_there(&self, source: &str, target: &str, migration: &str) -> String {
        let namespace = self.namespace.name();
        format!(
            "MigrationFailed: migration {namespace}/{migration} has failed, and the volume has moved from {source} to {target} with it; both had it for N s"
        )
    }
}

/// A text in which every number before seconds is `N`.
fn without_times(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_time = |(at, word): (usize, &&str)| {
        let seconds = words
            .get(at + 1)
            .is_some_and(|next| next.trim_end_matches(':') == "s");
        seconds && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words = words.iter().enumerate();
    let words: Vec<&str> = words
        .map(|(at, word)| if is_time((at, word)) { "N" } else { word })
        .collect();
    words.join(" ")
}
