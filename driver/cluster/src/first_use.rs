//! Notes when a volume is first used as a filesystem.
//!
//! A volume that was used and looks blank has lost its data: its pool was not mounted,
//! or its file was made anew. A node that knows of the use does not format it. So the
//! first pod whose container ran with the volume mounted leaves a note on the
//! PersistentVolume, and ControllerPublishVolume hands it to the node.
//!
//! The note is a second net, and it has holes, which is why the node proves by reading
//! that a device is blank whatever the note says: a pod that came, ran and was deleted
//! while no controller watched leaves none; and what an attachment was told when it was
//! made stays with it, so that a volume which is staged twice under one attachment is
//! staged the second time without the note.

mod uses;

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use rds_csi_core::kind::Chain;
use rds_csi_core::names::annotation;
use tokio::time::{MissedTickBehavior, interval};

use super::api_server::ApiServer;
use super::calls::Calls;
use super::wire::{PodSpec, VolumeSpec};
use super::{Cluster as _, ClusterError, Reader as _};
use uses::Uses;

const PODS: &str = "watch pods";
const VOLUMES: &str = "watch persistentvolumes";

/// How often notes that failed are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Says what will be followed, for readiness.
pub(super) fn expect(calls: &Calls) {
    calls.expect(PODS);
    calls.expect(VOLUMES);
}

/// Follows pods and PersistentVolumes for ever.
pub(super) async fn follow(server: &ApiServer) {
    // Errors are counted, and passed over here.
    let pods = server.events::<PodSpec>(PODS);
    let mut pods = pin!(pods.filter_map(async |event| event.ok()));
    let volumes = server.events::<VolumeSpec>(VOLUMES);
    let mut volumes = pin!(volumes.filter_map(async |event| event.ok()));
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut uses = Uses::new(&server.driver);
    loop {
        tokio::select! {
            Some(event) = pods.next() => uses.pod(event),
            Some(event) = volumes.next() => uses.volume(event),
            _ = retry.tick() => uses.retry(),
        }
        while let Some(name) = uses.due() {
            match note(server, &name).await {
                Ok(()) => uses.noted(&name),
                Err(error) => {
                    tracing::warn!(persistent_volume = name, "{}", Chain(&error));
                    uses.failed(&name);
                }
            }
        }
    }
}

/// Leaves a note on a volume that has none.
async fn note(server: &ApiServer, name: &str) -> Result<(), ClusterError> {
    let key = server.driver.annotation(annotation::FIRST_USED);
    let Some(volume) = server.persistent_volume(name).await? else {
        return Ok(());
    };
    if volume.driver != server.driver.as_str() || volume.annotations.contains_key(&key) {
        return Ok(());
    }
    let now = Timestamp::now().to_string();
    server.annotate(&volume, &key, &now).await?;
    tracing::info!(
        volume_id = volume.handle,
        persistent_volume = name,
        "first use noted"
    );
    Ok(())
}
