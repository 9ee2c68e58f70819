//! A node that is emptied: every machine of it moves at once.

use std::time::Duration;

use futures::future::join_all;
use rds_csi_tests::cluster::kubevirt::migration;
use serde_json::json;
use tokio::time::Instant;

use crate::stand::{A, B, C, Stand};

const MACHINES: usize = 10;
/// No request may take longer, where the machine has nothing else to do.
const BOUND: Duration = Duration::from_secs(1);
const BOUNDS_HOLD: &str = "RDS_CSI_BOUNDS";

/// Brings a machine to another node: how long the webhook took to let its disk follow.
async fn moves(stand: &Stand, disk: &str, target: &str) -> Duration {
    let machine = stand.machine(disk, &[disk]).await;
    let (from, to) = (&*format!("from-{disk}"), &*format!("to-{disk}"));
    stand.launcher(from, A, &[disk], &machine, None).await;
    stand.gets(disk, A).await;
    let name = format!("kubevirt-evacuation-{disk}");
    let mut evacuation = migration(&name, &machine.name, "Pending");
    evacuation["metadata"]["annotations"] = json!({"kubevirt.io/evacuationMigration": A});
    let evacuation = stand.migration_as(&evacuation).await;
    stand
        .launcher(to, target, &[disk], &machine, Some(&evacuation))
        .await;
    let asked = Instant::now();
    stand.ask(disk, target).await.unwrap();
    let took = asked.elapsed();
    stand.granted(disk, target).await;
    let mut told = vec![stand.started(A, target, &name)];
    stand.told(disk, &told).await;

    stand.phase(&evacuation, "Succeeded").await;
    stand.pod_is(from, "Succeeded").await;
    stand.lets_go(disk, A).await;
    assert_eq!(stand.nodes_with(disk).await, [target]);
    told.push(stand.completed(A, target, &name));
    stand.told(disk, &told).await;
    let conflicts = stand.events(disk).await;
    let conflict = |event: &&String| event.starts_with("AttachmentConflict");
    assert_eq!(conflicts.iter().find(conflict), None);
    took
}

#[tokio::test]
async fn a_node_with_ten_machines_is_emptied_and_none_of_them_is_refused() {
    let disks: Vec<String> = (0..MACHINES).map(|at| format!("disk-{at}")).collect();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let stand = Stand::open("sequences-evacuation", &disks).await;
    let targets = [B, C].into_iter().cycle();
    let each = disks
        .iter()
        .zip(targets)
        .map(|(disk, target)| moves(&stand, disk, target));
    let slowest = join_all(each).await.into_iter().max().unwrap();
    println!("the slowest request of {MACHINES} took {slowest:.1?}");
    stand.close().await;
    let hold = std::env::var_os(BOUNDS_HOLD).is_some();
    assert!(!hold || slowest < BOUND, "{slowest:?}");
}
