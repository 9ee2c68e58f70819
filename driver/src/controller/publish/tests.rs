//! What a node hears of a volume that changes while it is being let in.

use rds_csi_cluster::PersistentVolume;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_cluster::fake::machine::{MIGRATION, claim, kubevirt, launcher};
use rds_csi_core::access::{AccessMode, VolumeMode};
use rds_csi_core::attachment::observation::{Pod, Role};
use rds_csi_core::device_access::Rule;
use rds_csi_core::kind::{Chain, Kind};
use rds_csi_core::names::annotation;

use super::*;
use crate::controller::attachments::Attachments;
use crate::controller::stand::{PV, Stand, host, id, stand};

fn controller(stand: &Stand) -> Controller {
    Controller {
        settings: stand.admission.settings.clone(),
        rds: stand.device.clone(),
        attachments: Attachments::Cluster(stand.cluster.clone()),
        admission: stand.admission.clone(),
        ledger: Default::default(),
        removals: Default::default(),
    }
}

async fn publish(stand: &Stand, node: &str) -> Result<PublishContext, ControllerError> {
    publish_as(stand, node, AccessMode::SingleNodeWriter).await
}

async fn publish_as(
    stand: &Stand,
    node: &str,
    mode: AccessMode,
) -> Result<PublishContext, ControllerError> {
    let controller = controller(stand);
    let _call = controller.locks().lock(id().as_str()).await.unwrap();
    let access = Access {
        mode,
        volume: VolumeMode::Block,
    };
    let request = PublishRequest {
        id: id(),
        node: node.to_owned(),
        access,
        read_only: false,
        context: None,
    };
    controller.publish(request).await
}

/// A final answer would say that the node has no part in it, and the yes is written down.
#[tokio::test]
async fn what_changes_once_the_yes_is_written_down_is_not_final() {
    let stand = stand(Rule::Exact);
    let device = stand.device.clone();
    device.change(&id(), |item| item.allowed_host = Some(host("a")));
    let another = "a person's".to_owned();
    stand
        .device
        .looked
        .is(move || device.change(&id(), |item| item.comment = another));
    let error = publish(&stand, "a").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    let key = stand.cluster.driver.annotation(annotation::GRANTED);
    assert!(stand.fake.annotation(PV, &key).is_some());
    let error = publish(&stand, "a").await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Conflict,
        "nothing is done for it: {error}"
    );
}

/// A machine on `a` that moves to `b`, whose host the device has yet to let in.
fn moving() -> Stand {
    let stand = stand(Rule::Exact);
    stand.fake.put(PersistentVolume {
        name: PV.to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: id().to_string(),
        access_modes: vec!["ReadWriteMany".to_owned()],
        claim: Some(claim()),
        ..PersistentVolume::default()
    });
    stand.fake.run(launcher("source", "a", None));
    stand.fake.run(launcher("target", "b", Some(MIGRATION)));
    stand.fake.kubevirt_is(kubevirt("Running"));
    stand
        .device
        .change(&id(), |item| item.allowed_host = Some(host("a")));
    stand
}

/// Instead of the target of a migration that has failed.
fn a_stranger_comes(fake: &FakeCluster) {
    fake.kubevirt_is(kubevirt("Failed"));
    fake.end_pods("b");
    fake.run(Pod {
        role: Role::Launcher {
            machine: "another-uid".to_owned(),
            name: "another".to_owned(),
        },
        ..launcher("another", "b", None)
    });
}

/// Kubelet would start whoever is there once the volume is attached, and ask nobody.
#[tokio::test]
async fn who_comes_while_a_node_is_let_in_is_judged_before_it_is_told() {
    let mode = AccessMode::MultiNodeMultiWriter;
    let stand = moving();
    publish_as(&stand, "b", mode).await.unwrap();
    let stand = moving();
    let fake = stand.fake.clone();
    stand.device.changed.is(move || a_stranger_comes(&fake));
    for _ in 0..2 {
        let error = publish_as(&stand, "b", mode).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "it is promised: {error}");
        let words = Chain(&error).to_string();
        assert!(words.contains("pod another on node b"), "{words}");
    }
    assert_ne!(stand.device.allowed(), host("a"), "it was let in before");
}
