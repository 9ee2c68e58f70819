//! Certificates of the webhook's own: made once, kept, and made good after harm.

use std::process::{Child, Command};
use std::time::Duration;

use rds_csi_webhook::certificates::Lifetimes;
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::lab::{self, CONFIGURATION, Lab, SECRET};

const LONG: Lifetimes = Lifetimes {
    ca: Duration::from_hours(72),
    leaf: Duration::from_hours(24),
    lead: Duration::from_millis(300),
};

#[tokio::test]
async fn replicas_that_start_at_once_make_one_authority_with_just_the_documented_verbs() {
    let lab = Lab::new().await;
    let (one, two) = tokio::join!(lab.replica(LONG), lab.replica(LONG));
    for replica in [&one, &two] {
        lab.until_believed(replica).await;
        assert_eq!(replica.admin("/readyz").await, (200, "ok".to_owned()));
    }
    assert_eq!(lab.trusted().len(), 1);
    let (secret, trusted) = (lab.secret(), lab.trusted());
    assert_eq!(
        secret.keys().collect::<Vec<_>>(),
        ["ca.crt", "ca.key", "tls.crt", "tls.key"]
    );
    // A restart keeps everything, and later looks change nothing.
    one.finish().await.unwrap();
    let again = lab.replica(LONG).await;
    lab.until_believed(&again).await;
    let looks = lab.api.requests().len();
    eventually("both go on looking", async || {
        lab.api.requests().len() > looks + 10
    })
    .await;
    assert_eq!((lab.secret(), lab.trusted()), (secret, trusted));
    let mut used = lab.api.requests();
    used.sort();
    used.dedup();
    let mut documented = [
        format!("GET {CONFIGURATION}"),
        format!("PATCH {CONFIGURATION}"),
        format!("GET {SECRET}"),
        format!("PATCH {SECRET}"),
    ];
    documented.sort();
    assert_eq!(used, documented);
    let page = two.admin("/metrics").await.1;
    let end = two.metrics.certificate_not_after.get();
    let day = i64::try_from(LONG.leaf.as_secs()).unwrap();
    assert!((end - jiff::Timestamp::now().as_second() - day).abs() < 60);
    assert!(
        page.contains(&format!("certificate_not_after_seconds {end}\n")),
        "{page}"
    );
}

#[tokio::test]
async fn without_api_server_secret_or_configuration_it_waits_and_says_for_what() {
    let lab = Lab::new().await;
    let configuration = lab.api.object(CONFIGURATION).unwrap();
    lab.api.delete(CONFIGURATION);
    lab.api.delete(SECRET);
    lab.api.set_down(true);
    let replica = lab.replica(LONG).await;
    let waits_for = async |what: &str| {
        eventually(what, async || {
            let (code, why) = replica.admin("/readyz").await;
            code == 503 && why.starts_with("there is no certificate yet") && why.contains(what)
        })
        .await;
    };
    waits_for("reading the webhook's Secret: the API server answers 500: etcdserver: no leader")
        .await;
    lab.api.set_down(false);
    waits_for("there is no Secret \"hook-tls\", and the webhook may not make it: `helm upgrade`")
        .await;
    lab.api.put(SECRET, lab::empty());
    waits_for("waiting for the ValidatingWebhookConfiguration \"hook\"").await;
    let mut none = configuration.clone();
    none["webhooks"] = json!([]);
    lab.api.put(CONFIGURATION, none);
    waits_for("waiting for the ValidatingWebhookConfiguration \"hook\"").await;
    assert!(lab.secret().is_empty(), "nobody could trust it");
    lab.api.put(CONFIGURATION, configuration);
    lab.until_believed(&replica).await;
}

#[tokio::test]
async fn a_configuration_that_calls_somebody_else_is_left_alone() {
    let lab = Lab::new().await;
    let ours = lab.api.object(CONFIGURATION).unwrap();
    let mut theirs = ours.clone();
    theirs["webhooks"][1]["clientConfig"] =
        json!({"service": {"name": "hook", "namespace": "other"}, "caBundle": "aHVudGVyMg=="});
    lab.api.put(CONFIGURATION, theirs);
    let before = lab.api.object(CONFIGURATION);
    let replica = lab.replica(LONG).await;
    eventually("it says so", async || {
        let why = replica.admin("/readyz").await.1;
        why.contains("calls another service than the webhook's")
    })
    .await;
    assert_eq!(lab.api.object(CONFIGURATION), before);
    lab.api.put(CONFIGURATION, ours);
    lab.until_believed(&replica).await;
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone() {
    let lab = Lab::new().await;
    let theirs = json!({"metadata": {"name": "hook-tls"}, "data": {"password": "aHVudGVyMg=="}});
    lab.api.put(SECRET, theirs);
    let before = lab.api.object(SECRET);
    let replica = lab.replica(LONG).await;
    eventually("it says so", async || {
        replica
            .admin("/readyz")
            .await
            .1
            .contains("holds something that is not the webhook's")
    })
    .await;
    assert_eq!(lab.api.object(SECRET), before);
    assert!(lab.trusted().is_empty());
    lab.api.put(SECRET, lab::empty());
    lab.until_believed(&replica).await;
}

#[tokio::test]
async fn an_emptied_secret_and_an_emptied_bundle_are_made_good() {
    let lab = Lab::new().await;
    let (one, two) = tokio::join!(lab.replica(LONG), lab.replica(LONG));
    lab.until_believed(&one).await;
    lab.until_believed(&two).await;
    let old = lab.trusted()[0].clone();
    let mut emptied = lab.api.object(SECRET).unwrap();
    assert_eq!(
        emptied["metadata"]["labels"],
        lab::empty()["metadata"]["labels"]
    );
    emptied["data"] = Value::Null;
    lab.api.put(SECRET, emptied);
    eventually("a new leaf is in the Secret", async || {
        assert!(lab.is_believed(&one).await && lab.is_believed(&two).await);
        lab.secret().contains_key("tls.crt")
    })
    .await;
    assert!(
        lab.trusted().contains(&old),
        "its leaf was just being served"
    );
    assert_eq!(lab.trusted().len(), 2);
    for entries in [0..1, 0..2] {
        let mut emptied = lab.api.object(CONFIGURATION).unwrap();
        for entry in entries {
            emptied["webhooks"][entry]["clientConfig"]["caBundle"] = Value::Null;
        }
        lab.api.put(CONFIGURATION, emptied.clone());
        eventually("the bundles are filled again", async || {
            let now = lab.api.object(CONFIGURATION).unwrap();
            let entries = now["webhooks"].as_array().unwrap();
            entries
                .iter()
                .all(|entry| !entry["clientConfig"]["caBundle"].is_null())
        })
        .await;
        assert_eq!(lab.trusted().len(), 2);
        lab.until_believed(&one).await;
        lab.until_believed(&two).await;
    }
}

/// Nothing is lost with it: an upgrade brings an empty one.
#[tokio::test]
async fn without_its_secret_it_serves_on_until_there_is_another() {
    let lab = Lab::new().await;
    let replica = lab.replica(LONG).await;
    lab.until_believed(&replica).await;
    lab.api.delete(SECRET);
    let failures = replica.metrics.certificate_failures.get();
    eventually("it looks in vain", async || {
        replica.metrics.certificate_failures.get() > failures + 3
    })
    .await;
    assert!(lab.is_believed(&replica).await);
    assert_eq!(replica.admin("/readyz").await, (200, "ok".to_owned()));
    lab.api.put(SECRET, lab::empty());
    eventually("a new leaf is in the Secret", async || {
        lab.secret().contains_key("tls.crt")
    })
    .await;
    assert!(lab.is_believed(&replica).await);
}

/// A webhook of its own process, which ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn no_key_gets_into_the_most_detailed_log_even_if_the_secret_cannot_be_read() {
    let lab = Lab::new().await;
    let log = tempfile::NamedTempFile::new().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is started as a user would start it"
    )]
    let mut command = Command::new(env!("CARGO_BIN_EXE_rds-csi-webhook"));
    let names = [
        "--namespace=rds-csi",
        "--service-name=hook",
        "--secret-name=hook-tls",
    ];
    command
        .args(["serve", "--certificates=self", "--configuration-name=hook"])
        .args(names)
        .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
        .args(["--tls-reload-interval=30ms", "--log-level=trace"])
        .env_clear()
        .env("KUBECONFIG", lab.kubeconfig())
        .stderr(log.reopen().unwrap());
    let _process = Process(command.spawn().unwrap());
    let says = async |what: &str| {
        eventually(what, async || {
            std::fs::read_to_string(log.path()).unwrap().contains(what)
        })
        .await;
    };
    says("using a new certificate").await;
    let mut odd = lab.api.object(SECRET).unwrap();
    let keys = ["ca.key", "tls.key"].map(|key| odd["data"][key].clone());
    odd["data"]["more"] = json!(7);
    lab.api.lie(SECRET, Some(odd.to_string()));
    says("reading the webhook's Secret: the answer cannot be read").await;
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("TRACE"), "{text}");
    for key in keys {
        let pem = String::from_utf8(lab::bytes(&key)).unwrap();
        for part in [pem.lines().nth(1).unwrap(), &key.as_str().unwrap()[60..90]] {
            assert!(!text.contains(part));
        }
    }
}
