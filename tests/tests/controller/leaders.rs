//! Two controllers of one device and one cluster: what is to be done once is done by the one
//! that leads, and by the other when that is no more.

use std::time::Duration;

use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::wait::until;
use tokio::time::sleep;

use crate::cluster::shows;
use crate::harness::{PATIENCE, World};
use crate::leftovers::{AGE, cleared, left, pace, told};
use crate::probe::{ENDS, fabric_of, slot};

/// How often it is looked whether the device is to be tried.
const PROBED: Duration = Duration::from_secs(5);

/// How often the device was tried.
fn trials(world: &World) -> usize {
    let made = format!("type=file slot=\"{}\"", slot());
    let scripts = world.sim.executed();
    scripts
        .iter()
        .filter(|run| run.script.contains(&made))
        .count()
}

/// The one of two that leads, and the other.
async fn in_order(one: World, other: World) -> (World, World) {
    let leads = async || {
        Ok([&one, &other]
            .iter()
            .any(|world| world.leads())
            .then_some(()))
    };
    until("one leads", PATIENCE, leads).await.unwrap();
    assert!(!(one.leads() && other.leads()));
    if one.leads() {
        (one, other)
    } else {
        (other, one)
    }
}

/// A node vanishes, and so often it was told in all when its attachment was asked to leave.
async fn vanishes(api: &FakeApiServer, world: &World, times: usize) {
    let volume = left(api, world).await;
    cleared(api).await;
    let all = async || Ok((told(api).len() == times).then_some(()));
    until("the claim is told", PATIENCE, all).await.unwrap();
    // Long enough for any other that clears and tells.
    sleep(AGE * 3).await;
    assert_eq!(told(api).len(), times);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    for name in ["va-a", "va-b"] {
        api.delete("volumeattachments", name);
    }
}

#[tokio::test]
async fn of_two_controllers_one_does_what_is_done_once_and_then_the_other() {
    let mut fabric = fabric_of(&[], |config| config.leftovers = pace()).await;
    let second = fabric.world.another(fabric.api.address()).await;
    fabric.begin().await;
    second.reachable().await;
    fabric.seen().await;
    let api = &fabric.api;
    let (mut leader, other) = in_order(fabric.world, second).await;
    vanishes(api, &other, 1).await;
    assert_eq!(trials(&other), 1);

    leader.stop().await;
    let leads = async || Ok(other.leads().then_some(()));
    until("the other leads", PATIENCE, leads).await.unwrap();
    vanishes(api, &other, 2).await;
    // What the first has seen is shown by the second, which does not try it again.
    shows(&other, "/metrics", ENDS).await;
    sleep(2 * PROBED).await;
    assert_eq!(trials(&other), 1);
}
