//! What a node hears of a volume that changes while it is being let in.

use rds_csi_core::access::{AccessMode, VolumeMode};
use rds_csi_core::device_access::Rule;
use rds_csi_core::kind::Kind;
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
    let controller = controller(stand);
    let _call = controller.locks().lock(id().as_str()).await.unwrap();
    let access = Access {
        mode: AccessMode::SingleNodeWriter,
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
