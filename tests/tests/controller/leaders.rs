//! Two controllers of one device and one cluster: what is to be done once is done by the one
//! that leads, and by the other when that is no more.

use std::time::Duration;

use rds_csi_core::attachment::leftovers::Pace;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rds_sim::Sim;
use serde_json::json;
use tokio::time::sleep;

use crate::access::{allowed, host};
use crate::cluster::shows;
use crate::fence::{self, attach, lost, offered};
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

/// How often a property of the volume was written since so many scripts.
fn written(world: &World, since: usize, property: &str) -> usize {
    let text = format!("{property}=\"nqn");
    let scripts = world.sim.executed();
    let since = scripts.iter().skip(since);
    since.filter(|run| run.script.contains(&text)).count()
}

/// A person changes the volume on the device.
fn set(sim: &Sim, volume: &Volume, property: &str, value: &str) {
    let item = format!("[/disk find slot=\"{}\"]", volume.id());
    sim.with_model(|model| model.exec(&format!("/disk set {item} {property}={value}")));
}

/// The one that leads looks seldom here, so whatever is done meanwhile the other has done.
#[tokio::test]
async fn what_the_device_has_wrong_is_put_right_once_and_by_the_one_that_leads() {
    let seldom = Pace {
        look: Duration::from_secs(3600),
        ..pace()
    };
    let mut fabric = fabric_of(&["access-rule=exact"], move |config| {
        config.leftovers = seldom;
    })
    .await;
    fabric.begin().await;
    fabric.seen().await;
    fabric.world.config.leftovers = pace();
    let other = fabric.world.another(fabric.api.address()).await;
    other.reachable().await;
    other.hears().await;
    let (api, mut leader) = (&fabric.api, fabric.world);
    assert!(leader.leads() && !other.leads());

    let volume = lost(api, &leader, Claim::block(fence::NAME, 64)).await;
    let made = offered(&leader).unwrap();
    let context = attach(api, &leader, &volume, "node-b").await.unwrap();
    let told = context["nqn"].clone();
    api.put(
        &json!({"kind": "VolumeAttachment", "metadata": {"name": "va-node-b"},
        "status": {"attached": true, "attachmentMetadata": {"nqn": told}}}),
    );
    let sim = leader.sim.clone();
    let set = |property: &str, value: &str| set(&sim, &volume, property, value);
    set("nvme-tcp-export", "no");
    set("nvme-tcp-server-nqn", &format!("\"{made}\""));
    set("nvme-tcp-server-allow-host-name", "\"\"");
    set("nvme-tcp-export", "yes");
    assert_eq!(
        (offered(&other), allowed(&other)),
        (Some(made), String::new())
    );
    let (since, before) = (sim.executed().len(), sim.counters().executions);
    // Many looks.
    sleep(20 * pace().look).await;
    assert_eq!(sim.counters().executions, before, "nobody even looks");

    // A name that is recalled lets everybody in.
    set(
        "nvme-tcp-server-allow-host-name",
        &format!("\"{}\"", host("node-b")),
    );
    leader.stop().await;
    let right = async || {
        let written = written(&other, since, "nvme-tcp-server-allow-host-name");
        Ok((written > 0).then_some(()))
    };
    until("the other puts it right", PATIENCE, right)
        .await
        .unwrap();
    sleep(20 * pace().look).await;
    assert_eq!(
        (offered(&other), allowed(&other)),
        (Some(told), host("node-b"))
    );
    for property in ["nvme-tcp-server-nqn", "nvme-tcp-server-allow-host-name"] {
        assert_eq!(written(&other, since, property), 1, "{property}");
    }
}
