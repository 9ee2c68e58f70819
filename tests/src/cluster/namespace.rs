//! A test's own corner of a cluster: a namespace. Whatever goes wrong in it is told with what
//! the cluster knows: events, descriptions and logs.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::turn::owner;
use super::{Cluster, DEADLINE};
use crate::wait::until;

/// Labels the namespaces of tests by their [`owner`]: those of tests that have ended go when the
/// cluster is mended.
pub(super) const OWNER: &str = "rds-csi.test/owner";

/// A namespace that one test uses.
#[derive(Debug, Clone)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    /// Makes a namespace, empty: what an earlier run left under this name is removed
    /// first.
    ///
    /// # Errors
    /// The old one does not go away, or the API refused.
    pub async fn new(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let namespace = Self::named(cluster, name);
        namespace.end("--timeout=150s").await?;
        let object = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {OWNER: owner()}}});
        cluster.apply(&object.to_string()).await?;
        until("the service account is there", DEADLINE, async || {
            namespace.find("serviceaccount", "default").await
        })
        .await?;
        Ok(namespace)
    }

    /// A namespace that exists already.
    #[must_use]
    pub fn named(cluster: &Cluster, name: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            name: name.to_owned(),
        }
    }

    /// Removes it with all that is in it, and waits until no pod and no claim of it is left: the
    /// rest meets nobody, and Kubernetes looks at a namespace that ends every few seconds only.
    ///
    /// # Errors
    /// Something in it does not go away; the report says what.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let kinds = "deployments,statefulsets,jobs,pods,persistentvolumeclaims";
        let emptied = self
            .kubectl(&["delete", kinds, "--all", "--timeout=150s"])
            .await;
        self.explain(emptied.map(drop)).await?;
        self.end("--wait=false").await
    }

    async fn end(&self, waiting: &str) -> anyhow::Result<()> {
        let words = [
            "delete",
            "namespace",
            &self.name,
            "--ignore-not-found",
            waiting,
        ];
        let gone = self.cluster.kubectl(&words).await;
        self.explain(gone.map(drop)).await
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs kubectl in this namespace.
    ///
    /// # Errors
    /// It failed; its own words are in the error.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let words = [&["--namespace", self.name.as_str()], arguments].concat();
        self.cluster.kubectl(&words).await
    }

    /// Applies manifests here.
    ///
    /// # Errors
    /// The API refused one; its reason is in the error, as a person would read it.
    pub async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        self.kubectl_with(&["apply"], manifest).await.map(drop)
    }

    /// Runs a command of kubectl here that takes manifests, such as `create`: what it wrote.
    ///
    /// # Errors
    /// The API refused one; its reason is in the error, as a person would read it.
    pub async fn kubectl_with(
        &self,
        arguments: &[&str],
        manifest: &Value,
    ) -> anyhow::Result<String> {
        let here = ["--namespace", &self.name, "--filename=-"];
        let words = [arguments, &here].concat();
        let input = manifest.to_string();
        self.cluster.kubectl.run_with(&words, &input).await
    }

    /// An object that is there.
    ///
    /// # Errors
    /// It is absent, or the API did not answer.
    pub async fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        self.cluster
            .get(&["--namespace", &self.name, kind, name])
            .await
    }

    /// An object that may be absent.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn find(&self, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
        self.cluster
            .find(&["--namespace", &self.name, kind, name])
            .await
    }

    /// Waits for a claim's volume: the name of the PersistentVolume.
    ///
    /// # Errors
    /// It was not bound in time; the report says why.
    pub async fn bound(&self, claim: &str) -> anyhow::Result<String> {
        let what = format!("claim {claim} is bound");
        let bound = until(&what, DEADLINE, async || {
            let found = self.get("pvc", claim).await?;
            let bound = found["status"]["phase"] == "Bound";
            Ok(bound
                .then(|| found["spec"]["volumeName"].as_str().map(str::to_owned))
                .flatten())
        });
        self.explain(bound.await).await
    }

    /// Waits until a pod runs and all its containers are ready.
    ///
    /// # Errors
    /// It did not in time, or it failed; the report says why.
    pub async fn running(&self, pod: &str) -> anyhow::Result<Value> {
        let what = format!("pod {pod} runs");
        let running = until(&what, DEADLINE, async || {
            let found = self.get("pod", pod).await?;
            ensure!(found["status"]["phase"] != "Failed", "pod {pod} failed");
            let conditions = found["status"]["conditions"].as_array();
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            Ok(ready.then_some(found))
        });
        self.explain(running.await).await
    }

    /// Deletes an object and waits until it is gone.
    ///
    /// # Errors
    /// It is not gone in time; the report says why.
    pub async fn remove(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        let words = ["delete", kind, name, "--timeout=150s"];
        let gone = self.kubectl(&words).await.map(drop);
        self.explain(gone).await
    }

    /// Runs a script of busybox's shell in a pod, where any failing command ends it: what it
    /// wrote.
    ///
    /// # Errors
    /// The script failed; its words are in the error.
    pub async fn sh(&self, pod: &str, script: &str) -> anyhow::Result<String> {
        let ran = self
            .kubectl(&["exec", pod, "--", "sh", "-euc", script])
            .await;
        let ran = ran.map(|text| text.trim().to_owned());
        self.explain(ran).await
    }

    /// The messages of events about an object, oldest first, as `Reason: message`.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn events(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let list = self
            .cluster
            .get(&[
                "--namespace",
                &self.name,
                "events",
                "--sort-by=.metadata.creationTimestamp",
            ])
            .await?;
        let events = list["items"].as_array().into_iter().flatten();
        Ok(events
            .filter(|event| event["involvedObject"]["name"] == name)
            .map(|event| format!("{}: {}", text(&event["reason"]), text(&event["message"])))
            .collect())
    }

    /// Waits for an event about an object whose text has these words.
    ///
    /// # Errors
    /// There was none in time; those that there were are in the error.
    pub async fn event(&self, name: &str, words: &str, within: Duration) -> anyhow::Result<String> {
        let mut seen = Vec::new();
        let found = until(
            &format!("an event about {name} says {words:?}"),
            within,
            async || {
                seen = self.events(name).await?;
                Ok(seen.iter().find(|event| event.contains(words)).cloned())
            },
        )
        .await;
        found.with_context(|| format!("events about {name}: {seen:#?}"))
    }

    /// Adds to an error what the cluster knows about this namespace.
    async fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(error.context(self.report().await)),
        }
    }

    /// What a person needs to see when something in here failed.
    pub async fn report(&self) -> String {
        let product = super::product::NAMESPACE;
        let name = &self.name;
        let commands = [
            format!("-n {name} get pods,pvc -o wide"),
            format!("-n {name} get events --sort-by=.lastTimestamp"),
            format!("-n {name} describe pods"),
            "get pv,volumeattachments -o wide".to_owned(),
            format!("-n {product} get pods -o wide"),
            format!("-n {product} get events --field-selector type=Warning"),
            format!(
                "-n {product} logs -l app.kubernetes.io/name=rds-csi --all-containers --prefix --tail=15 --max-log-requests=20"
            ),
        ];
        let mut report = format!("--- namespace {name}\n");
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let text = match self.cluster.kubectl(&words).await {
                Ok(text) => text,
                Err(error) => format!("{error:#}"),
            };
            report.push_str(&format!("--- kubectl {command}\n{}\n", text.trim()));
        }
        report
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
