//! Whatever people and monitoring are promised to be told is told.

use std::collections::BTreeSet;

use super::*;
use crate::node::tests::identity;

/// What no event of a session moves: the constant, and kubelet's verdict, which the
/// registration's own tests count.
const ELSEWHERE: [&str; 2] = ["rds_csi_build", "rds_csi_registrations"];

/// The families on the node's page that have counted something.
fn moved(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let moved = samples.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (value.parse() != Ok(0.0)).then(|| series.split('{').next())?
    });
    moved.collect()
}

fn families(page: &str) -> BTreeSet<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| line.split(' ').next());
    names.filter(|name| !ELSEWHERE.contains(name)).collect()
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
    let moved = moved(&page);
    for family in families(&page) {
        let counted = moved.iter().any(|series| series.starts_with(family));
        assert!(counted, "{family} never moved:\n{page}");
    }
}
