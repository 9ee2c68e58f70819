//! Whatever people and monitoring are promised to be told is told.

use std::collections::BTreeSet;

use super::*;
use crate::node::tests::identity;

/// What no event of a session moves, and who counts it: the version is a constant; calls
/// are counted by the layer around the server, and kubelet's verdict by the registration,
/// each with tests of its own.
const ELSEWHERE: [&str; 4] = ["build", "rpc", "rpc_duration_seconds", "registrations"];

/// Every family that a node registers, by the place where it does: one that never had a
/// label is not on the page at all.
fn registered() -> BTreeSet<&'static str> {
    let places = include_str!("../../../metrics.rs").split("registry.register(");
    let names = places.skip(1).filter_map(|place| place.split('"').nth(1));
    names.filter(|name| !ELSEWHERE.contains(name)).collect()
}

/// The families on the node's page that have counted something.
fn moved(page: &str) -> BTreeSet<&str> {
    let mut moved = BTreeSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(of) = line.strip_prefix("# TYPE rds_csi_") {
            family = of.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if value != 0.0 && !ELSEWHERE.contains(&family) {
                moved.insert(family);
            }
        }
    }
    moved
}

#[tokio::test(start_paused = true)]
async fn every_metric_moves_and_every_event_is_posted() {
    let used = EXT4;
    let lab = published(used).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        // Given up, and not there for a while; then it is back as another device.
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        seconds(60).await;
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
        assert!(lab.is_whole(used).await);
        // Something else under its name.
        lab.array.set_medium(&lab.nqn, Medium::Blank);
        lab.host.lose(&lab.nqn);
        seconds(60).await;
        // A session that nothing here uses.
        let other: Nqn = "nqn.2000-02.com.mikrotik:pvc-other".parse().unwrap();
        lab.array.export(&other, Bytes::gib(1), Medium::Blank);
        lab.connect_as(identity("node-1"), &other).await;
        seconds(180).await;
    })
    .await;
    let posted: BTreeSet<_> = cluster.reasons().into_iter().collect();
    assert_eq!(posted, BTreeSet::from(event::ALL));
    let page = lab.node.metrics.encode().unwrap();
    assert_eq!(moved(&page), registered(), "{page}");
}
