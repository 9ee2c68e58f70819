//! Certificates are renewed while API servers ask: a hundred times a second, on new
//! connections and on kept ones, with the trust that the configuration then gives.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use rds_csi_webhook::certificates::Lifetimes;
use rds_csi_webhook::certificates::authority::Authority;
use rds_csi_webhook::certificates::cluster::MARK;
use rds_csi_webhook::certificates::secret::{Slot, State};
use rds_csi_webhook::certificates::trust;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::{Client, Protocol};
use crate::harness::{Running, claim, eventually, within};
use crate::lab::{CONFIGURATION, Lab, SECRET, SERVICE, names};

const SHORT: Lifetimes = Lifetimes {
    ca: Duration::from_secs(18),
    leaf: Duration::from_secs(6),
    lead: Duration::from_secs(1),
};

/// A lab whose CA was made so long ago.
async fn lab_with_authority_of_age(age: Duration) -> Lab {
    let lab = Lab::new().await;
    let now = jiff::Timestamp::now();
    let authority = Authority::generate(&names(), SHORT.ca, now - age).unwrap();
    let leaf = authority.sign(&names(), SHORT.leaf, now).unwrap();
    let bundle = trust::write([authority.anchor()]);
    let state = State {
        leaf: Some(leaf),
        current: Slot::from(authority),
        ..State::default()
    };
    let encode = |bytes: Vec<u8>| json!(k8s_openapi::ByteString(bytes));
    let data: serde_json::Map<_, _> = state
        .write()
        .into_iter()
        .map(|(key, value)| (key, encode(value)))
        .collect();
    let annotations = BTreeMap::from([MARK]);
    lab.api.put(
        SECRET,
        json!({"metadata": {"name": "hook-tls", "annotations": annotations}, "data": data}),
    );
    let mut configuration = lab.api.object(CONFIGURATION).unwrap();
    for entry in configuration["webhooks"].as_array_mut().unwrap() {
        entry["clientConfig"]["caBundle"] = encode(bundle.clone());
    }
    lab.api.put(CONFIGURATION, configuration);
    lab
}

/// One review on a new connection, by the trust of this moment.
async fn ask_anew(lab: &Lab, replica: &Running, protocol: Protocol) -> Client {
    let trusted = lab.trusted();
    let stream = replica.connect_as(protocol.alpn(), SERVICE, &trusted).await;
    let mut client = Client::new(stream.unwrap(), protocol).await;
    client
        .review(&claim("ReadWriteOnce", "Block"))
        .await
        .unwrap();
    client
}

/// Asks so often until the first CA is gone, and counts.
async fn ask_every(
    period: Duration,
    goes_on: impl Fn() -> bool,
    mut ask: impl AsyncFnMut(),
) -> usize {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = 0;
    while goes_on() {
        ticks.tick().await;
        ask().await;
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_of_leaf_and_authority_under_a_hundred_requests_a_second_loses_none() {
    let lab = lab_with_authority_of_age(Duration::from_secs(7)).await;
    let (one, two) = tokio::join!(lab.replica(SHORT), lab.replica(SHORT));
    lab.until_believed(&one).await;
    lab.until_believed(&two).await;
    let first = lab.trusted()[0].clone();
    let (leaves, both) = (RefCell::new(Vec::new()), Cell::new(false));
    let began = Instant::now();
    // The first CA goes after its last leaf has ended.
    let goes_on = || {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the first CA stays"
        );
        let trusted = lab.trusted();
        both.set(both.get() || trusted.len() == 2);
        trusted.contains(&first)
    };
    let (lab_ref, seen) = (&lab, &leaves);
    let mut loops: Vec<Pin<Box<dyn Future<Output = usize> + '_>>> = Vec::new();
    for (replica, protocol) in [
        (&one, Protocol::Http1),
        (&one, Protocol::Http2),
        (&two, Protocol::Http1),
        (&two, Protocol::Http2),
    ] {
        let mut kept = ask_anew(&lab, replica, protocol).await;
        loops.push(Box::pin(ask_every(
            Duration::from_millis(80),
            goes_on,
            async move || {
                let answer = kept.review(&claim("ReadWriteOnce", "Block")).await.unwrap();
                assert_eq!(answer["allowed"], true);
            },
        )));
        loops.push(Box::pin(ask_every(
            Duration::from_millis(80),
            goes_on,
            async move || {
                let client = ask_anew(lab_ref, replica, protocol).await;
                let mut seen = seen.borrow_mut();
                if !seen.contains(&client.presented) {
                    seen.push(client.presented.clone());
                }
            },
        )));
    }
    let asked: usize = futures::future::join_all(loops).await.into_iter().sum();
    let (took, leaves) = (began.elapsed().as_secs_f64(), leaves.borrow().len());
    println!("{asked} requests in {took:.1} s, {leaves} leaves, none lost");
    assert!(both.get(), "both CAs were trusted for a while");
    assert!(
        leaves >= 3 && asked > 300,
        "{leaves} leaves, {asked} requests"
    );
}

#[tokio::test]
async fn while_the_api_server_is_down_the_old_leaf_is_served_and_renewal_is_made_up_for() {
    let lab = lab_with_authority_of_age(Duration::ZERO).await;
    let replica = lab.replica(SHORT).await;
    lab.until_believed(&replica).await;
    let presented = ask_anew(&lab, &replica, Protocol::Http1).await.presented;
    lab.api.set_down(true);
    // Past the time of renewal, and well before the leaf's end.
    let due = Instant::now() + SHORT.leaf * 3 / 4;
    while Instant::now() < due {
        let client = ask_anew(&lab, &replica, Protocol::Http1).await;
        assert_eq!(client.presented, presented);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(replica.metrics.certificate_failures.get() > 0);
    assert_eq!(replica.admin("/readyz").await.0, 200);
    lab.api.set_down(false);
    eventually("a new leaf is served", async || {
        ask_anew(&lab, &replica, Protocol::Http1).await.presented != presented
    })
    .await;
    within(replica.finish()).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_makes_the_replica_unready_and_the_way_back_is_its_own() {
    let lab = lab_with_authority_of_age(Duration::ZERO).await;
    let replica = lab.replica(SHORT).await;
    lab.until_believed(&replica).await;
    lab.api.set_down(true);
    eventually("it is not ready any more", async || {
        let (code, why) = replica.admin("/readyz").await;
        code == 503 && why.starts_with("the certificate has expired: reading")
    })
    .await;
    lab.api.set_down(false);
    lab.until_believed(&replica).await;
    eventually("it is ready again", async || {
        replica.admin("/readyz").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn every_replica_of_several_stays_believed_when_one_after_the_other_is_replaced() {
    let lab = lab_with_authority_of_age(Duration::from_secs(11)).await;
    let mut replicas = vec![lab.replica(SHORT).await, lab.replica(SHORT).await];
    let mut ends = JoinSet::new();
    for _ in 0..8 {
        for replica in &replicas {
            lab.until_believed(replica).await;
            assert!(lab.is_believed(replica).await);
        }
        ends.spawn(replicas.remove(0).finish());
        replicas.push(lab.replica(SHORT).await);
        tokio::time::sleep(SHORT.lead / 3).await;
    }
    while let Some(end) = within(ends.join_next()).await {
        end.unwrap().unwrap();
    }
}
