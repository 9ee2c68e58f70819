//! What comes while two nodes have the disk: the next migration that begins at once, to a third
//! node or back to the first, and two that want the last place.

use std::time::Duration;

use rds_csi_tests::cluster::component::Component;
use rds_csi_tests::cluster::kubevirt::evacuation;
use rds_csi_tests::wait::until;
use tokio::time::{Instant, sleep};

use crate::asking::PATIENCE;
use crate::stand::{A, B, C, Machine, Migration, Stand};

const TWO_NODES: &str = "two is the most that a live migration needs";
/// How often two are let race, at most.
const TRIES: usize = 8;
/// After which time the API server goes on without the webhook, as the tests' release has it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A machine that has come from A to B with the migration `first`, while A still has its disk:
/// itself, and what was told.
async fn arrived(stand: &Stand) -> (Machine, Vec<String>) {
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    stand.launcher("on-a", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    stand.nodes.use_volumes(A, &[&stand.disk("root").id]).await;
    let first = stand.migration("first", &machine).await;
    stand
        .launcher("on-b", B, &root, &machine, Some(&first))
        .await;
    stand.gets("root", B).await;
    let told = vec![stand.started(A, B, "first")];
    stand.told("root", &told).await;
    stand.phase(&first, "Succeeded").await;
    stand.pod_is("on-a", "Succeeded").await;
    (machine, told)
}

#[tokio::test]
async fn a_machine_that_has_arrived_goes_on_once_its_first_node_has_let_go() {
    let stand = Stand::open("sequences-onward", &["root"]).await;
    let ((machine, mut told), root) = (arrived(&stand).await, ["root"]);

    // The attach-detach controller gave up waiting for the first node, whose kubelet still
    // has the disk.
    stand.take_back("root", A).await;
    stand
        .kept("root", A, "node alone-a still uses the volume")
        .await;
    let second = moves_on(&stand, &machine).await;
    stand
        .launcher("on-c", C, &root, &machine, Some(&second))
        .await;
    stand.waits("root", C, TWO_NODES).await;
    let refusal = stand.refusal("root", C).await;
    assert!(refusal.contains("It is on its way out"), "{refusal}");
    assert_eq!(stand.nodes_with("root").await, [A, B]);

    stand.nodes.use_volumes(A, &[]).await;
    stand.gone("root", A).await;
    stand.granted("root", C).await;
    assert_eq!(stand.nodes_with("root").await, [B, C]);
    told.push(stand.completed(A, B, "first"));
    told.push(stand.started(B, C, "second"));
    stand.told("root", &told).await;
    stand.phase(&second, "Succeeded").await;
    stand.pod_is("on-b", "Succeeded").await;
    stand.lets_go("root", B).await;
    assert_eq!(stand.nodes_with("root").await, [C]);
    told.push(stand.completed(B, C, "second"));
    stand.told("root", &told).await;
    stand.close().await;
}

/// Both nodes have the disk from the first migration's begin to the second one's end.
#[tokio::test]
async fn a_machine_that_goes_back_before_its_first_node_has_let_go_has_moved_twice() {
    let stand = Stand::open("sequences-turn", &["root"]).await;
    let ((machine, mut told), root) = (arrived(&stand).await, ["root"]);
    let second = moves_on(&stand, &machine).await;
    stand
        .launcher("home", A, &root, &machine, Some(&second))
        .await;
    told.push(stand.completed(A, B, "first"));
    told.push(stand.started(B, A, "second"));
    stand.told("root", &told).await;
    assert_eq!(stand.nodes_with("root").await, [A, B]);
    stand.phase(&second, "Succeeded").await;
    stand.pod_is("on-b", "Succeeded").await;
    stand.lets_go("root", B).await;
    told.push(stand.completed(B, A, "second"));
    stand.told("root", &told).await;
    assert_eq!(stand.nodes_with("root").await, [A]);
    stand.close().await;
}

/// A migration that is not refused when it is asked for, whatever is in its way.
async fn moves_on(stand: &Stand, machine: &Machine) -> Migration {
    let second = evacuation("second", &machine.name, B);
    stand.migration_as(&second).await
}

/// Both are reviewed before either is there, by webhooks that see neither.
#[tokio::test]
async fn of_two_that_the_webhook_let_pass_at_once_one_gets_the_last_place() {
    let disks: Vec<String> = (0..TRIES).map(|number| format!("root-{number}")).collect();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let stand = Stand::open("sequences-race", &disks).await;
    // Where one was there before the other was reviewed, or neither was, another disk is tried:
    // what was told of this one is another story.
    let mut tries = disks.into_iter();
    let race = loop {
        let disk = tries.next().expect("in no try were both let pass at once");
        let race = Race::start(&stand, disk).await;
        if race.ask_at_once().await == [true, true] {
            break race;
        }
    };
    let Race { root, .. } = race;
    let winner = until("one of them has it", PATIENCE, async || {
        let nodes = stand.nodes_with(root).await;
        Ok(nodes.into_iter().find(|node| node != A))
    });
    let winner = winner.await.unwrap();
    let loser = if winner == B { C } else { B };
    stand.refused_by_driver(root, loser, TWO_NODES).await;
    assert_eq!(stand.nodes_with(root).await, [A, &winner]);
    let mut told = vec![stand.started(A, &winner, &race.to(&winner))];
    stand.told(root, &told).await;

    // What lost gets it as soon as there is a place again.
    stand.pod_gone(&race.to(&winner)).await;
    stand.lets_go(root, &winner).await;
    stand.granted(root, loser).await;
    assert_eq!(stand.nodes_with(root).await, [A, loser]);
    told.push(stand.failed(&winner, &race.to(&winner)));
    told.push(stand.started(A, loser, &race.to(loser)));
    stand.told(root, &told).await;
    stand.close().await;
}

/// A machine that two migrations take to two nodes at once, and its disk.
struct Race<'a> {
    stand: &'a Stand,
    root: &'a str,
}

impl<'a> Race<'a> {
    /// All but the attachments to the two nodes.
    async fn start(stand: &'a Stand, root: &'a str) -> Self {
        let race = Self { stand, root };
        let machine = stand.machine(&format!("{root}-vm"), &[root]).await;
        let source = format!("{root}-source");
        stand.launcher(&source, A, &[root], &machine, None).await;
        stand.gets(root, A).await;
        for node in [B, C] {
            let name = race.to(node);
            let migration = stand.migration(&name, &machine).await;
            stand
                .launcher(&name, node, &[root], &machine, Some(&migration))
                .await;
        }
        race
    }

    /// The migration to a node, and its pod.
    fn to(&self, node: &str) -> String {
        format!("{}-to-{node}", self.root)
    }

    /// Both nodes ask while the webhooks hold their breath: whether each was let pass.
    async fn ask_at_once(&self) -> [bool; 2] {
        let Self { stand, root } = self;
        let began = Instant::now();
        signal(stand, "STOP").await;
        let asked = async { tokio::join!(stand.ask(root, B), stand.ask(root, C)) };
        let released = async {
            // Until the API server has asked for both reviews.
            sleep(Duration::from_millis(300)).await;
            signal(stand, "CONT").await;
        };
        let ((to_b, to_c), ()) = tokio::join!(asked, released);
        // Later than that the API server went on without them.
        let were_asked = began.elapsed() < TIMEOUT;
        [to_b.is_ok() && were_asked, to_c.is_ok() && were_asked]
    }
}

/// Sends a signal to every webhook.
async fn signal(stand: &Stand, signal: &str) {
    let send = async |node: &str| {
        let words = ["pkill", &format!("-{signal}"), "-x", "rds-csi-webhook"];
        let sent = stand.cluster.node(node).unwrap().run(&words).await;
        sent.unwrap().success()
    };
    let names = stand.cluster.node_names();
    let sent = futures::future::join_all(names.into_iter().map(send)).await;
    assert!(sent.contains(&true), "no webhook runs");
}

/// What the driver grants and the webhook never let pass shows in the sums of both.
#[tokio::test]
async fn an_attachment_that_goes_past_the_webhook_is_counted_by_the_driver_alone() {
    let stand = Stand::open("sequences-past", &["seen", "past"]).await;
    let counts = async || {
        let (granted, admitted) = (
            "rds_csi_attachments_granted_total",
            "rds_csi_webhook_attachments_admitted_total",
        );
        let cluster = &stand.cluster;
        let granted = cluster.counted::<u64>(Component::Controller, granted, &[]);
        let admitted = cluster.counted::<u64>(Component::Webhook, admitted, &[]);
        (granted.await.unwrap(), admitted.await.unwrap())
    };
    for disk in ["seen", "past"] {
        let machine = stand.machine(disk, &[disk]).await;
        stand.launcher(disk, A, &[disk], &machine, None).await;
    }
    let (granted, admitted) = counts().await;
    let counted = async |expected| {
        until("both have counted", PATIENCE, async || {
            Ok((counts().await == expected).then_some(()))
        })
        .await
        .unwrap();
    };
    stand.gets("seen", A).await;
    counted((granted + 1, admitted + 1)).await;
    // Nobody is let past a webhook that is asked.
    let words = "no pod on node alone-b asks for it";
    stand.refused("seen", B, words).await;
    stand.ask_driver("past", A).await;
    stand.granted("past", A).await;
    counted((granted + 2, admitted + 1)).await;
    for disk in ["seen", "past"] {
        stand.pod_gone(disk).await;
        stand.lets_go(disk, A).await;
    }
    stand.close().await;
}
