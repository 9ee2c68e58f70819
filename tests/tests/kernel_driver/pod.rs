//! A pod in a volume's life: from attachment to the data and back.

use rds_csi_tests::plugin::Plugin;
use rds_csi_tests::volume::{PublishContext, Volume};

use crate::cluster::Node;

/// What is written and checked, on a device or in a file.
const PROBE: &str = "bs=1M count=8";

/// A volume at a pod on a node.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) context: PublishContext,
    pub(crate) target: String,
}

impl Pod {
    /// Attaches, stages and publishes the volume.
    pub(crate) async fn start(
        controller: &Plugin,
        node: &Node,
        volume: &Volume,
        name: &str,
    ) -> Self {
        let context = volume.attach(controller, &node.name).await.unwrap();
        volume.stage(node.plugin(), &context).await.unwrap();
        Self::publish(node, volume, context, name).await
    }

    /// Publishes the staged volume.
    pub(crate) async fn publish(
        node: &Node,
        volume: &Volume,
        context: PublishContext,
        name: &str,
    ) -> Self {
        let target = volume
            .publish(node.plugin(), &context, name, false)
            .await
            .unwrap();
        Self {
            name: name.to_owned(),
            context,
            target,
        }
    }

    /// Unpublishes, unstages and detaches the volume.
    pub(crate) async fn stop(&self, controller: &Plugin, node: &Node, volume: &Volume) {
        volume.unpublish(node.plugin(), &self.name).await.unwrap();
        volume.unstage(node.plugin()).await.unwrap();
        volume.detach(controller, &node.name).await.unwrap();
    }

    /// Writes random bytes and returns their checksum.
    pub(crate) async fn fill(&self, node: &Node, volume: &Volume) -> String {
        let data = self.data(volume);
        let script = format!(
            "dd if=/dev/urandom of=/run/probe {PROBE} status=none
             dd if=/run/probe of={data} bs=1M conv=notrunc,fsync status=none
             cksum </run/probe; rm /run/probe"
        );
        node.script(&script).await
    }

    /// The checksum of what [`Pod::fill`] wrote, read from the device.
    pub(crate) async fn checksum(&self, node: &Node, volume: &Volume) -> String {
        let data = self.data(volume);
        let script = format!("dd if={data} {PROBE} iflag=direct status=none | cksum");
        node.script(&script).await
    }

    /// The size that the pod sees, in bytes: of its filesystem or of its device.
    pub(crate) async fn size(&self, node: &Node, volume: &Volume) -> i64 {
        let script = match volume.claim.filesystem {
            Some(_) => format!("df -B1 --output=size {} | tail -1", self.target),
            None => format!("blockdev --getsize64 {}", self.target),
        };
        node.script(&script).await.parse().unwrap()
    }

    fn data(&self, volume: &Volume) -> String {
        match volume.claim.filesystem {
            Some(_) => format!("{}/probe", self.target),
            None => self.target.clone(),
        }
    }
}
