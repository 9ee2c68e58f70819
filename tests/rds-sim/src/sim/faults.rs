//! Faults take effect.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::fault::Fault;
use crate::model::{FileBacked, Kind};

/// Lets something go wrong; what takes time goes on in `tasks`.
pub(super) fn inject(shared: &Arc<Shared>, tasks: &TaskTracker, fault: Fault) -> io::Result<()> {
    match fault {
        Fault::Exec { trigger, harm } => shared.arm(trigger, harm),
        Fault::Permissions { denied } => shared.model().deny(denied),
        Fault::Latency { ms } => shared.latency_ms.store(ms, Ordering::SeqCst),
        Fault::RefuseConnections { refuse } => shared.refusing.store(refuse, Ordering::SeqCst),
        Fault::CutConnections => shared.cut_connections(),
        Fault::PoolFull { full } => {
            shared
                .model()
                .change(|device| device.pool_mut().full = full);
        }
        Fault::PoolState { state } => {
            shared
                .model()
                .change(|device| device.pool_mut().state = state);
        }
        Fault::PoolMounted { mounted } => {
            shared
                .model()
                .change(|device| device.pool_mut().mounted = mounted);
        }
        Fault::Reboot {
            down_ms,
            mount_ms,
            power_cut,
        } => {
            let (down, mount) = (
                Duration::from_millis(down_ms),
                Duration::from_millis(mount_ms),
            );
            reboot(shared, tasks, down, mount, power_cut);
        }
        Fault::ForeignFile { path, content } => {
            let path = shared.model().host_path(&path).map_err(io::Error::other)?;
            write(&path, |file| std::fs::write(file, content))?;
        }
        Fault::ForeignItem {
            slot,
            file_path,
            nqn,
            comment,
            size,
        } => {
            let file = FileBacked {
                size,
                mount_filesystem: false,
                export: nqn.is_some(),
                nqn,
                ..FileBacked::new(file_path)
            };
            foreign_item(shared, &slot, file, comment)?;
        }
    }
    Ok(())
}

fn reboot(
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
    down: Duration,
    mount: Duration,
    power_cut: bool,
) {
    shared.down.store(true, Ordering::SeqCst);
    shared.cut_connections();
    shared.model().switch_off(power_cut);
    let shared = Arc::clone(shared);
    tasks.spawn(async move {
        tokio::time::sleep(down).await;
        let started = shared.model().switch_on(mount);
        match started {
            Ok(()) => shared.down.store(false, Ordering::SeqCst),
            Err(error) => tracing::error!(%error, "the device did not come back"),
        }
    });
}

fn foreign_item(
    shared: &Arc<Shared>,
    slot: &str,
    mut file: FileBacked,
    comment: String,
) -> io::Result<()> {
    let mut model = shared.model();
    let path = model.host_path(&file.file_path).map_err(io::Error::other)?;
    write(&path, |path| {
        let options = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)?;
        options.set_len(file.size)
    })?;
    model.change(|device| {
        file.uuid = device.uuid(device.next_id, None);
        device.push(slot, Kind::File(file)).comment = comment;
    });
    Ok(())
}

fn write(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    write(path)
}
