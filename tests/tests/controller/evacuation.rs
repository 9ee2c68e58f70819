//! A node is emptied: its machines move away at once, each with its disk, and no request of
//! one waits for those of the others.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesOrdered, TryStreamExt as _};
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::evacuation::Machine;
use rds_sim::Fault;
use rstest::rstest;
use tokio::time::Instant;
use tonic::Code;

use crate::cluster::{node, start};

/// How long a request may take beside all others, in a program that is not optimised and on
/// a busy machine; hack/bench holds the figure.
const SLOWEST: Duration = Duration::from_secs(20);

/// The lists that machines of one namespace have in common, and how often each was made.
fn lists(api: &FakeApiServer) -> BTreeMap<&'static str, usize> {
    let asked = api.requests();
    let calls = [
        "list volumeattachments",
        "list pods",
        "list virtualmachineinstancemigrations",
    ];
    let count = |call| asked.iter().filter(|asked| asked.call == call).count();
    calls.into_iter().map(|call| (call, count(call))).collect()
}

#[rstest]
#[case::ten(10)]
#[case::hundred(100)]
#[tokio::test]
async fn machines_of_a_node_that_is_emptied_all_arrive(#[case] count: usize) {
    let (api, world) = start().await;
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    for name in ["node-a", "node-b", "node-c"] {
        node(&api, name, true);
    }
    let starting = (0..count)
        .map(|number| Machine::start(&api, &world.plugin, number, "node-a"))
        .collect::<FuturesOrdered<_>>();
    let machines: Vec<Machine> = starting.try_collect().await.unwrap();

    for machine in &machines {
        machine.arrives(&api, "node-b");
        machine.ask(&api, "node-c");
    }
    world.inject(Fault::Latency { ms: 50 });
    let before = lists(&api);
    let arrived = join_all(machines.iter().map(async |machine| {
        let began = Instant::now();
        let arrived = machine.volume.attach(&world.plugin, "node-b").await;
        (arrived, began.elapsed())
    }));
    let mut slowest = Duration::ZERO;
    for (machine, (arrived, took)) in machines.iter().zip(arrived.await) {
        assert!(arrived.is_ok(), "{}: {arrived:?}", machine.name);
        slowest = slowest.max(took);
    }
    assert!(slowest < SLOWEST, "the slowest of {count} took {slowest:?}");
    for (call, all) in lists(&api) {
        let made = all - before[call];
        // A few that are ahead of the others make their own.
        assert!(
            count < 100 || made < count / 2,
            "{count} made {made} of {call}"
        );
    }
    println!("the slowest of {count} took {slowest:?}");
    let thirds = join_all(
        machines
            .iter()
            .map(async |machine| machine.volume.attach(&world.plugin, "node-c").await),
    );
    for third in thirds.await {
        assert_eq!(third.unwrap_err().code(), Code::FailedPrecondition);
    }

    for machine in &machines {
        machine.moves(&api, "Succeeded");
    }
    let left = join_all(
        machines
            .iter()
            .map(|machine| machine.leaves(&api, &world.plugin, "node-a")),
    );
    for left in left.await {
        left.unwrap();
    }
    // What has arrived stays, and the way back is another migration's.
    for machine in &machines {
        machine
            .volume
            .attach(&world.plugin, "node-b")
            .await
            .unwrap();
        machine.ask(&api, "node-a");
        let back = machine.volume.attach(&world.plugin, "node-a").await;
        assert_eq!(back.unwrap_err().code(), Code::FailedPrecondition);
    }
}
