//! Looks over a device and a cluster in memory.

use rds_csi_core::device_access::Rule;
use rds_csi_core::kind::{Failure as _, Kind};
use rds_csi_core::nqn::{Epoch, Nqn, NqnPrefix};

use super::*;
use crate::controller::stand::{Stand, id, stand};

/// A device that has forgotten the name that `a` was told, and that name.
fn forgetful() -> (Stand, Nqn) {
    let stand = stand(Rule::Exact);
    let made = NqnPrefix::default().nqn(&id());
    let told = made.in_epoch(&id(), &Epoch::of("uid")).unwrap();
    stand.fake.tell("a", &told);
    let made = made.to_string();
    stand.device.change(&id(), |item| item.nqn = Some(made));
    (stand, told)
}

async fn look(stand: &Stand) -> Result<(), ControllerError> {
    let recall = Recall {
        admission: &stand.admission,
        cluster: &stand.cluster,
        leadership: stand.cluster.cluster.leadership(),
    };
    recall.look().await
}

fn is_offered_as(stand: &Stand, nqn: &Nqn) -> bool {
    stand.device.item(&id()).nqn.as_deref() == Some(nqn.as_str())
}

#[tokio::test]
async fn who_leads_no_more_recalls_nothing() {
    let (stand, told) = forgetful();
    let fake = stand.fake.clone();
    stand.device.read.is(move || fake.lead(false));
    look(&stand).await.unwrap();
    assert!(!is_offered_as(&stand, &told));
    stand.fake.lead(true);
    look(&stand).await.unwrap();
    assert!(is_offered_as(&stand, &told));
}

/// Who is getting the volume is told the name that the device was seen to have.
#[tokio::test]
async fn no_name_is_recalled_while_a_call_works_on_the_volume() {
    let (stand, told) = forgetful();
    let call = stand.admission.locks.lock(id().as_str()).await.unwrap();
    let busy = look(&stand).await.unwrap_err();
    assert_eq!(busy.kind(), Kind::Busy, "so it is looked again soon");
    assert!(!is_offered_as(&stand, &told));
    drop(call);
    look(&stand).await.unwrap();
    assert!(is_offered_as(&stand, &told));
}
