//! Decisions over a cluster that changes, fails and is asked by two processes at once.

use std::pin::Pin;

use futures::future::BoxFuture;
use proptest::prelude::*;
use rds_csi_cluster::Clearing as _;
use rds_csi_cluster::fake::{FakeCluster, Fault};
use rds_csi_core::access::{Access, AccessMode};
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::kind::{Chain, Failure as _, Kind};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::VolumeName;
use rstest::rstest;

use super::*;

use crate::metrics::Metrics;

type Asked<'a> = BoxFuture<'a, Result<Granted, ControllerError>>;

const PV: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
const GRANTED: &str = "rds.csi.srvlab.io/granted-attachments";

fn id() -> VolumeId {
    VolumeId::for_name(&"lab".parse().unwrap(), PV)
}

fn volume(name: &str) -> PersistentVolume {
    PersistentVolume {
        name: name.to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: id().to_string(),
        access_modes: vec!["ReadWriteOnce".to_owned()],
        ..PersistentVolume::default()
    }
}

/// A cluster in which both nodes want the volume and nobody was answered.
fn contested() -> Arc<FakeCluster> {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(volume(PV));
    cluster.wish("va-a", "a", PV);
    cluster.wish("va-b", "b", PV);
    cluster
}

/// A process of the driver.
fn process(cluster: &Arc<FakeCluster>) -> InCluster {
    InCluster {
        cluster: cluster.clone(),
        driver: DriverName::default(),
        owner: "lab".parse().unwrap(),
        modes: Modes::default(),
        fencing: Fencing::Enforce,
        reports: Reports::new(Metrics::new("controller", Vec::new())).0,
    }
}

async fn ask_as(
    process: &InCluster,
    made_for: Option<&str>,
    node: &str,
    mode: AccessMode,
) -> Result<Granted, ControllerError> {
    let made_for: Option<VolumeName> = made_for.map(|name| name.parse().unwrap());
    process
        .attach(&Wanted {
            id: &id(),
            made_for: made_for.as_ref(),
            node,
            access: &Access::block(mode).unwrap(),
            read_only: false,
            ended: false,
            renewed: None,
            sessions: Sessions::End,
        })
        .await
}

async fn ask(process: &InCluster, node: &str) -> Result<Granted, ControllerError> {
    ask_as(process, Some(PV), node, AccessMode::SingleNodeWriter).await
}

mod fence;
mod release;
mod second;

#[tokio::test]
async fn of_two_nodes_that_want_it_one_has_it_until_its_attachment_is_gone() {
    let cluster = contested();
    let driver = process(&cluster);
    ask(&driver, "b").await.unwrap();
    let error = ask(&process(&cluster), "a").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let text = Chain(&error).to_string();
    assert!(
        text.contains("node b has the volume") && text.contains("va-b"),
        "{text}"
    );
    let calls = cluster.calls();
    ask(&driver, "b").await.unwrap();
    assert_eq!(cluster.calls() - calls, 3, "asking again writes nothing");
    driver.release(&id(), "b").await.unwrap();
    cluster.delete("b");
    ask(&driver, "a").await.unwrap();
}

#[tokio::test]
async fn what_is_noted_on_the_persistent_volume_is_handed_out() {
    let cluster = contested();
    let noted = [
        ("rds.csi.srvlab.io/first-used", "2026-01-01T00:00:00Z"),
        ("rds.csi.srvlab.io/format-override", "restored from tape"),
        ("first-used", "somebody else's"),
    ];
    cluster.put(PersistentVolume {
        annotations: noted
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..volume(PV)
    });
    let granted = ask(&process(&cluster), "a").await.unwrap();
    assert_eq!(granted.first_used.unwrap(), "2026-01-01T00:00:00Z");
    assert_eq!(granted.format_override.unwrap(), "restored from tape");
}

#[rstest]
#[case::made_by_hand(None, "restored")]
#[case::the_name_of_another(Some(PV), "restored")]
#[case::of_the_older_driver(None, PV)]
#[tokio::test]
async fn a_volume_without_its_marker_is_found_by_the_attachment_that_asks(
    #[case] made_for: Option<&str>,
    #[case] name: &str,
) {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        handle: "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
        ..volume(PV)
    });
    cluster.put(volume(name));
    // printf '%s' "<volume id><driver>a" | sha256sum
    let made = "csi-8c3812568d9e3eebec28b2966d7cab415cb3ff6c5616da79a21719f8a02d3278";
    cluster.wish(made, "a", name);
    let driver = process(&cluster);
    let mode = AccessMode::SingleNodeWriter;
    ask_as(&driver, made_for, "a", mode).await.unwrap();
    assert!(cluster.annotation(name, GRANTED).is_some());
    let error = ask_as(&driver, made_for, "b", mode).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(driver.nodes(&id()).await.unwrap(), ["a"]);
}

/// Each once, by whichever of the two names, and none of another volume.
#[tokio::test]
async fn an_attachment_is_a_volumes_by_its_name_or_by_that_of_the_persistent_volume() {
    let cluster = Arc::new(FakeCluster::default());
    let driver = process(&cluster);
    let older: VolumeId = PV.parse().unwrap();
    let wish = |id: &VolumeId, node: &str, volume: &str| {
        let name = attachment_name(id, &driver.driver, node);
        cluster.wish(&name, node, volume);
    };
    wish(&id(), "a", PV);
    wish(&id(), "b", "restored");
    cluster.wish("by-hand", "c", PV);
    wish(&older, "d", PV);
    wish(
        &"pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
        "e",
        "other",
    );
    let all = cluster.read_attachments().await.unwrap();
    let by_volume = driver.by_volume(&all);
    let nodes = |id: &VolumeId| -> Vec<&str> {
        let of_it = by_volume.of(id).into_iter();
        of_it.map(|read| &*read.attachment.node).collect()
    };
    // A PersistentVolume of this name may be of either.
    assert_eq!(nodes(&id()), ["a", "c", "d", "b"]);
    assert_eq!(nodes(&older), ["d"]);
}

/// Wherever a call breaks, nobody else gets the volume once this node may have been
/// told yes, and asking again ends well.
#[tokio::test(start_paused = true)]
async fn a_fault_at_each_call_is_retried_to_the_same_end() {
    for fault in [Fault::Before, Fault::After, Fault::Hang] {
        for call in 0..4 {
            let cluster = contested();
            cluster.fail(call, fault);
            let error = ask(&process(&cluster), "a").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "{error}");
            ask(&process(&cluster), "a").await.unwrap();
            let other = ask(&process(&cluster), "b").await.unwrap_err();
            assert_eq!(other.kind(), Kind::Conflict);
        }
    }
}

#[tokio::test]
async fn who_is_overtaken_looks_again_and_gives_up_in_the_end() {
    let cluster = contested();
    cluster.overtake(2);
    ask(&process(&cluster), "a").await.unwrap();
    let cluster = contested();
    cluster.overtake(3);
    let error = ask(&process(&cluster), "a").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
}

#[tokio::test]
async fn a_failed_look_is_no_empty_one() {
    let cluster = contested();
    cluster.fail(0, Fault::Before);
    let error = process(&cluster).nodes(&id()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert_eq!(process(&cluster).nodes(&id()).await.unwrap(), ["a", "b"]);
}

/// Two processes, each asked for another node, in every order of their steps; each may
/// die after any of them.
async fn in_turns(turns: &[(bool, bool)]) -> usize {
    let cluster = contested();
    let drivers = [process(&cluster), process(&cluster)];
    let mut calls: Vec<Option<Asked<'_>>> = ["a", "b"]
        .into_iter()
        .zip(&drivers)
        .map(|(node, driver)| Some(Box::pin(ask(driver, node)) as Asked<'_>))
        .collect();
    let mut told = 0;
    for (second, dies) in turns {
        let call = &mut calls[usize::from(*second)];
        let Some(running) = call else { continue };
        match futures::poll!(Pin::new(running)) {
            std::task::Poll::Ready(outcome) => {
                told += usize::from(outcome.is_ok());
                *call = None;
            }
            std::task::Poll::Pending if *dies => *call = None,
            std::task::Poll::Pending => {}
        }
    }
    drop(calls);
    let again = process(&cluster);
    let (a, b) = (
        ask(&again, "a").await.is_ok(),
        ask(&again, "b").await.is_ok(),
    );
    assert!(a != b, "afterwards exactly one may have it: {a} {b}");
    told
}

proptest! {
    #[test]
    fn two_processes_never_both_say_yes(
        turns in proptest::collection::vec((any::<bool>(), prop::bool::weighted(0.1)), 0..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        prop_assert!(runtime.block_on(in_turns(&turns)) <= 1);
    }
}
