//! A node that is emptied: every machine of it moves at once.

use std::time::Duration;

use futures::future::join_all;
use rds_csi_tests::cluster::kubevirt::evacuation;
use tokio::time::Instant;

use crate::stand::{A, B, C, Machine, Migration, Stand};

const MACHINES: usize = 10;
/// No request may take longer, where the machine has nothing else to do.
const BOUND: Duration = Duration::from_secs(1);
const BOUNDS_HOLD: &str = "RDS_CSI_BOUNDS";

/// A machine on the node that is emptied, with the disk of its name.
struct Guest<'a> {
    stand: &'a Stand,
    disk: &'a str,
    machine: Machine,
}

impl<'a> Guest<'a> {
    /// It runs.
    async fn start(stand: &'a Stand, disk: &'a str) -> Self {
        let machine = stand.machine(disk, &[disk]).await;
        let guest = Self {
            stand,
            disk,
            machine,
        };
        let source = guest.source();
        stand
            .launcher(&source, A, &[disk], &guest.machine, None)
            .await;
        stand.gets(disk, A).await;
        guest
    }

    /// Its first pod.
    fn source(&self) -> String {
        format!("from-{}", self.disk)
    }

    /// KubeVirt's evacuation controller asks for it to move, and its pod is there.
    async fn is_to_move(&self, target: &str) -> Migration {
        let Self {
            stand,
            disk,
            machine,
        } = self;
        let name = format!("kubevirt-evacuation-{disk}");
        let evacuation = evacuation(&name, &machine.name, A);
        let evacuation = stand.migration_as(&evacuation).await;
        let to = format!("to-{disk}");
        stand
            .launcher(&to, target, &[disk], machine, Some(&evacuation))
            .await;
        evacuation
    }

    /// Its disk follows: how long the webhook took to let it.
    async fn asks(&self, target: &str) -> Duration {
        let asked = Instant::now();
        self.stand.ask(self.disk, target).await.unwrap();
        asked.elapsed()
    }

    /// It arrives, and nobody was refused.
    async fn arrives(&self, target: &str, evacuation: &Migration) {
        let Self { stand, disk, .. } = self;
        stand.granted(disk, target).await;
        let mut told = vec![stand.started(A, target, &evacuation.name)];
        stand.told(disk, &told).await;

        stand.phase(evacuation, "Succeeded").await;
        stand.pod_is(&self.source(), "Succeeded").await;
        stand.lets_go(disk, A).await;
        assert_eq!(stand.nodes_with(disk).await, [target]);
        told.push(stand.completed(A, target, &evacuation.name));
        stand.told(disk, &told).await;
        let conflicts = stand.events(disk).await;
        let conflict = |event: &&String| event.starts_with("AttachmentConflict");
        assert_eq!(conflicts.iter().find(conflict), None);
    }
}

/// All run on the node before the first is asked for, and all are asked for before the first disk
/// is.
#[tokio::test]
async fn a_node_with_ten_machines_is_emptied_and_none_of_them_is_refused() {
    let disks: Vec<String> = (0..MACHINES).map(|at| format!("disk-{at}")).collect();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let stand = Stand::open("sequences-evacuation", &disks).await;
    let guests = join_all(disks.iter().map(|disk| Guest::start(&stand, disk))).await;
    for disk in &disks {
        assert_eq!(stand.nodes_with(disk).await, [A]);
    }
    let targets = || guests.iter().zip([B, C].into_iter().cycle());
    let asked = targets().map(|(guest, target)| guest.is_to_move(target));
    let evacuations = join_all(asked).await;
    let asked = targets().map(|(guest, target)| guest.asks(target));
    let slowest = join_all(asked).await.into_iter().max().unwrap();
    let arriving = targets().zip(&evacuations);
    let arriving = arriving.map(|((guest, target), evacuation)| guest.arrives(target, evacuation));
    join_all(arriving).await;
    println!("the slowest request of {MACHINES} took {slowest:.1?}");
    stand.close().await;
    let hold = std::env::var_os(BOUNDS_HOLD).is_some();
    assert!(!hold || slowest < BOUND, "{slowest:?}");
}
