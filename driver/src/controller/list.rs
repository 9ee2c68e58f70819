//! ListVolumes: the volumes of this cluster, page by page.

use rds_csi_core::bytes::Bytes;
use rds_csi_core::provision;
use rds_csi_core::volume_id::VolumeId;

use super::Controller;
use super::error::ControllerError;

/// Where a page begins: after this volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) VolumeId);

impl Token {
    /// Reads `starting_token`; the empty one is the beginning.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, ControllerError> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(|id| Some(Self(id)))
            .map_err(|_| ControllerError::Token(text.chars().take(64).collect()))
    }
}

/// A page of volumes in the order of their ids.
#[derive(Debug)]
pub(crate) struct Page {
    /// The volumes.
    pub(crate) volumes: Vec<(VolumeId, Bytes)>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Token>,
}

impl Controller {
    /// At most `most` volumes (all where `None`) after a token. The token is a volume's
    /// id, so pages stay whole while volumes come and go, and after a restart.
    pub(crate) async fn list(
        &self,
        after: Option<Token>,
        most: Option<usize>,
    ) -> Result<Page, ControllerError> {
        let reading = self.rds.inventory().await?;
        let mut volumes: Vec<_> = reading
            .inventory
            .items
            .iter()
            .filter_map(|item| provision::marked(item, &self.settings.cluster))
            .map(|(id, disk)| (id, disk.size))
            .filter(|(id, _)| after.as_ref().is_none_or(|Token(last)| id > last))
            .collect();
        volumes.sort();
        let most = most.unwrap_or(usize::MAX);
        let more = volumes.len() > most;
        volumes.truncate(most);
        let next = more
            .then(|| volumes.last().map(|(id, _)| Token(id.clone())))
            .flatten();
        Ok(Page { volumes, next })
    }
}
