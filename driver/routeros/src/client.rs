//! The port over a console: every call is one script, and only a whole answer counts.

mod apply;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rds_csi_core::appliance::{Inventory, Step, VolumeState};
use rds_csi_core::backing_file::{BackingFile, VolumeDirectory};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::{Command, Dialect, QuoteError, Script};
use crate::config::RdsConfig;
use crate::console::{Console, Output};
use crate::error::{AnswerError, RdsError};
use crate::rds::{LinkState, Rds, Reading};
use crate::reply::{self, Answer, ReplyError};
use crate::ssh::SshConsole;
use shared::Shared;

/// The client of a real device.
pub type RdsClient = RosClient<SshConsole>;

/// [`Rds`] over a console.
#[derive(Debug)]
pub struct RosClient<C> {
    console: C,
    directory: VolumeDirectory,
    inventory: Shared,
    /// How many volumes are being read.
    reads: AtomicUsize,
}

/// How many volumes are read one by one at a time. Of more than these, as when a node is
/// emptied, each would wait for the round trips of all before it: they share a reading of
/// everything.
const CROWD: usize = 4;

/// A volume that is being read.
struct Reads<'a>(&'a AtomicUsize);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RdsClient {
    /// Starts a client. Never waits for the device: the connection is opened in the
    /// background on `tracker`, and calls meanwhile fail as `Unreachable`. It ends with
    /// `token`, or when the client is dropped.
    #[must_use]
    pub fn start(config: RdsConfig, tracker: &TaskTracker, token: CancellationToken) -> Arc<Self> {
        let directory = config.volume_directory.clone();
        Arc::new(Self::new(
            SshConsole::start(config, tracker, token),
            directory,
        ))
    }
}

impl<C: Console> RosClient<C> {
    /// A client over any console; `directory` is the one whose files an inventory lists.
    #[must_use]
    pub fn new(console: C, directory: VolumeDirectory) -> Self {
        Self {
            console,
            directory,
            inventory: Shared::default(),
            reads: AtomicUsize::new(0),
        }
    }

    fn read_error(&self, what: &str, source: impl Into<AnswerError>) -> RdsError {
        RdsError::Read {
            what: what.to_owned(),
            device: self.console.device().to_owned(),
            source: source.into(),
        }
    }

    async fn read_inventory(&self) -> Result<Reading, RdsError> {
        let files = Command::files_below(&self.directory)
            .map_err(|source| unwritable("the inventory", source))?;
        let script = Script::new(Vec::new(), vec![Command::PrintDisks, files]);
        let error = |source: AnswerError| self.read_error("the inventory", source);
        let output = self
            .console
            .exec(script.clone(), None)
            .await
            .map_err(|source| error(source.into()))?;
        let inventory = inventory(&output, &script).map_err(error)?;
        Ok(Reading {
            began: output.began,
            inventory: Arc::new(inventory),
        })
    }

    async fn read_volume(
        &self,
        id: &VolumeId,
        file: &BackingFile,
    ) -> Result<VolumeState, RdsError> {
        let what = format!("volume {id}");
        let readings = readings(id, file).map_err(|source| unwritable(&what, source))?;
        let script = Script::new(Vec::new(), readings);
        let output = self
            .console
            .exec(script.clone(), Some(id.as_str()))
            .await
            .map_err(|source| self.read_error(&what, source))?;
        let texts = texts(&output, &script).map_err(|source| self.read_error(&what, source))?;
        volume_state(&texts, output.dialect, id, file)
            .map_err(|source| self.read_error(&what, source))
    }
}

#[async_trait]
impl<C: Console> Rds for RosClient<C> {
    async fn inventory(&self) -> Result<Reading, RdsError> {
        self.inventory.read(|| self.read_inventory()).await
    }

    async fn volume(&self, id: &VolumeId, file: &BackingFile) -> Result<VolumeState, RdsError> {
        let before = self.reads.fetch_add(1, Ordering::Relaxed);
        let _reads = Reads(&self.reads);
        if before < CROWD || !file.is_below(&self.directory) {
            return self.read_volume(id, file).await;
        }
        let Reading { inventory, .. } = self.inventory().await?;
        Ok(VolumeState {
            item: inventory.item(id).cloned(),
            file_exists: inventory.has_file(file),
        })
    }

    async fn apply(
        &self,
        id: &VolumeId,
        file: &BackingFile,
        owner: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError> {
        self.take_steps(id, file, owner, steps).await
    }

    fn link(&self) -> LinkState {
        self.console.link()
    }
}

fn unwritable(what: &str, source: QuoteError) -> RdsError {
    RdsError::Unwritable {
        what: what.to_owned(),
        source,
    }
}

/// The readings that show one volume.
fn readings(id: &VolumeId, file: &BackingFile) -> Result<Vec<Command>, QuoteError> {
    Ok(vec![Command::disk(id)?, Command::file(file)?])
}

/// The texts of an answer's readings, or why there are none.
fn texts(output: &Output, script: &Script) -> Result<Vec<String>, AnswerError> {
    let answer = Answer::read(&output.text, script)?;
    if let Some(complaint) = answer.complaint() {
        return Err(AnswerError::Complaint {
            message: complaint.message,
            kind: complaint.kind,
        });
    }
    Ok(answer.readings()?.to_vec())
}

fn inventory(output: &Output, script: &Script) -> Result<Inventory, AnswerError> {
    let texts = texts(output, script)?;
    let (items, pools) = reply::disks(&texts[0], output.dialect)?;
    let files = reply::files(&texts[1], output.dialect)?;
    Ok(Inventory {
        items,
        pools,
        files,
    })
}

/// What two readings show of one volume. An item or a file that was not asked for means
/// that the device understood something else, so that nothing it did not show is absent.
fn volume_state(
    texts: &[String],
    dialect: Dialect,
    id: &VolumeId,
    file: &BackingFile,
) -> Result<VolumeState, AnswerError> {
    let (items, _) = reply::disks(&texts[0], dialect)?;
    let names = reply::file_names(&texts[1], dialect)?;
    let foreign = items
        .iter()
        .map(|item| (id.as_str(), &item.slot))
        .chain(names.iter().map(|name| (file.file_name(), name)))
        .find(|(asked, got)| asked != got);
    if let Some((asked, got)) = foreign {
        return Err(AnswerError::Reply(ReplyError::Unasked {
            asked: asked.to_owned(),
            got: crate::failure::shorten(got),
        }));
    }
    if items.len() > 1 {
        return Err(AnswerError::Reply(ReplyError::Unasked {
            asked: format!("one item in slot {id}"),
            got: items.len().to_string(),
        }));
    }
    Ok(VolumeState {
        item: items.into_iter().next(),
        file_exists: !names.is_empty(),
    })
}
