//! The engine over a model of a host and its array, in paused time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use rds_csi_cluster::{ClusterError, Held, Notice};
use rds_csi_core::attachment::grant::VolumeAttachment;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::names::event;
use rds_csi_core::nvme::ControllerState;
use rds_csi_host::fake::Medium;
use rds_csi_host::mounter::{Mounter as _, PathState};

use rds_csi_core::nqn::Nqn;

use super::reconnect::Reconnection;
use super::*;
use crate::node::tests::{EXT4, Lab, STAGING, TARGET, Use, own};

mod crash;
mod many;
mod recovery;
mod taken;
mod targets;
mod told;
mod unseen;

/// What the cluster says of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Attached,
    /// Attached, and offered anew since it was staged.
    Renewed,
    Wished,
    Leaving,
    Absent,
    Nothing,
}

/// A cluster that says one thing, and keeps what it is told.
#[derive(Debug)]
struct Told {
    says: Mutex<Says>,
    /// How often it was asked, and whether since it was told what to say.
    asked: Mutex<(usize, bool)>,
    events: Mutex<Vec<Notice>>,
}

impl Told {
    fn new(says: Says) -> Arc<Self> {
        Arc::new(Self {
            says: Mutex::new(says),
            asked: Mutex::default(),
            events: Mutex::default(),
        })
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn is_asked(&self) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn reasons(&self) -> Vec<&'static str> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|notice| notice.reason).collect()
    }

    fn message(&self, reason: &str) -> String {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let found = events.iter().rfind(|notice| notice.reason == reason);
        found.unwrap().message.clone()
    }
}

/// What the name of a volume starts with that was offered anew.
const RENEWED: &str = "nqn.2000-02.com.mikrotik:epoch-0123456789ab:";

#[async_trait]
impl NodeCluster for Told {
    async fn attachment(&self, volume: &VolumeId) -> Result<Option<Held>, ClusterError> {
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            *asked = (asked.0 + 1, true);
        }
        let says = *self.says.lock().unwrap_or_else(PoisonError::into_inner);
        let attachment = VolumeAttachment {
            name: "csi-1".to_owned(),
            uid: "1".to_owned(),
            node: "node-1".to_owned(),
            persistent_volume: volume.to_string(),
            attached: says != Says::Wished,
            leaving: says == Says::Leaving,
            created: None,
        };
        match says {
            Says::Attached | Says::Renewed | Says::Wished | Says::Leaving => Ok(Some(Held {
                attachment,
                nqn: (says == Says::Renewed).then(|| format!("{RENEWED}{volume}")),
            })),
            Says::Absent => Ok(None),
            Says::Nothing => Err(ClusterError::Failed {
                call: "get volumeattachments",
                reason: "503".to_owned(),
            }),
        }
    }

    async fn post(&self, _: &VolumeId, notice: &Notice) -> Result<(), ClusterError> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(notice.clone());
        Ok(())
    }
}

/// Lets an engine of the lab's node run while `script` does, and then end in order.
async fn beside<T>(lab: &Lab, cluster: &Arc<Told>, script: impl Future<Output = T>) -> T {
    let stop = CancellationToken::new();
    let cluster: Arc<dyn NodeCluster> = cluster.clone();
    let engine = Engine::new(lab.node.clone(), Some(cluster)).run(stop.clone());
    let script = async {
        let result = script.await;
        stop.cancel();
        result
    };
    tokio::join!(engine, script).1
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A staged and published volume.
async fn published(used: Use) -> Lab {
    let lab = Lab::new(Medium::Blank);
    lab.stage(used).await.unwrap();
    lab.publish(used).await.unwrap();
    lab
}

impl Lab {
    fn count(&self, call: &str) -> usize {
        self.host.log().iter().filter(|name| *name == call).count()
    }

    /// Whether what is staged and published is the device that the volume has now.
    async fn is_whole(&self, used: Use) -> bool {
        let Ok(device) = live(self.node.seen(&self.nqn).await.unwrap(), &self.nqn) else {
            return false;
        };
        let number = device.namespace.number;
        match used {
            Use::Block => {
                let found = self.host.path(Path::new(TARGET)).await;
                found.is_ok_and(|found| found == PathState::Block(number))
            }
            Use::Filesystem(_) => [STAGING, TARGET].iter().all(|path| {
                let table = self.host.mount_table();
                let mut at = table.iter().filter(|mount| mount.target == Path::new(path));
                at.next().is_some_and(|mount| mount.device == number) && at.next().is_none()
            }),
        }
    }
}
use crate::node::session::live;
