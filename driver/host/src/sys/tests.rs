//! Whatever hangs in the kernel, the runtime goes on, even with one thread.
//!
//! The files of this machine are FIFOs that nobody writes to: opening one blocks for
//! ever, as a call on a dead device does.

use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::nqn::{HostIdentity, Nqn};
use rds_csi_core::nvme::{DeviceNumber, Namespace, Target, Tuning};
use rds_csi_core::volume_id::VolumeId;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::Linux;
use crate::block::{BlockDevices, Device};
use crate::command::Runner;
use crate::mounter::{Meant, Mounter, PathState, Unmount};
use crate::nvme::NvmeHost;
use crate::registry::{Registry, Session};

const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";

fn nqn() -> Nqn {
    "nqn.2000-02.com.mikrotik:pvc-1".parse().unwrap()
}

fn id() -> VolumeId {
    ID.parse().unwrap()
}

fn machine() -> TempDir {
    let base = tempfile::tempdir().unwrap();
    for file in [
        "sys/class/nvme-subsystem/nvme-subsys0/subsysnqn".to_owned(),
        "proc/self/mountinfo".to_owned(),
        "dev/nvme0n1".to_owned(),
        format!("state/sessions/{ID}.json"),
        format!("state/sessions/.{ID}"),
    ] {
        let path = base.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
    }
    base
}

fn device() -> Device {
    Device {
        nqn: nqn(),
        namespace: Namespace {
            name: "nvme0n1".to_owned(),
            nsid: 1,
            number: DeviceNumber {
                major: 259,
                minor: 0,
            },
            size: Bytes::gib(1),
            wwid: None,
            read_only: false,
        },
    }
}

fn target() -> Target {
    Target {
        nqn: nqn(),
        address: "192.0.2.7".parse().unwrap(),
        port: 4420,
        host: HostIdentity::of(&"lab".parse().unwrap(), "node-1"),
        tuning: Tuning::default(),
    }
}

fn session() -> Session {
    Session {
        volume: id(),
        nqn: nqn(),
        address: "192.0.2.7".parse().unwrap(),
        port: 4420,
        staged_at: None,
        staging: None,
        recovery: None,
        opened: 0,
        targets: Default::default(),
    }
}

/// The call hangs, and the one thread of the runtime still counts the time.
async fn hangs<T: Debug>(name: &str, call: impl Future<Output = T>) {
    let waited = tokio::time::timeout(Duration::from_millis(5), call).await;
    assert!(waited.is_err(), "{name} was answered: {waited:?}");
}

async fn every_call_hangs(base: &Path) {
    let host = Linux::new(Root::below(base), Runner::default());
    let (nqn, device, ext4) = (nqn(), device(), FsType::Ext4);
    hangs("others", host.others(&[])).await;
    hangs("subsystem", host.subsystem(&nqn)).await;
    hangs("connect", host.connect(&target())).await;
    hangs("disconnect", host.disconnect(&nqn)).await;
    hangs("rescan", host.rescan(&nqn)).await;
    hangs("set_loss_time", host.set_loss_time(&nqn, None)).await;

    hangs("mounts", host.mounts()).await;
    let meant = Meant {
        fs: ext4,
        uuid: None,
    };
    hangs("mount", host.mount(&device, base, meant, &[])).await;
    let absent = base.join("absent");
    hangs("unmount", host.unmount(&absent, Unmount::Plain)).await;

    hangs("identify", host.identify(&device)).await;
    hangs("examine", host.examine(&device)).await;
    hangs("format", host.format(&device, ext4, Uuid::nil())).await;
    hangs("grow", host.grow(&device, ext4, base)).await;
    hangs("filesystem_size", host.filesystem_size(&device, ext4, base)).await;
    hangs("holders", host.holders(&device)).await;
    hangs("set_read_only", host.set_read_only(&device, true)).await;

    let registry = Registry::new(&base.join("state"));
    hangs("get", registry.get(&id())).await;
    hangs("all", registry.all()).await;
    hangs("record", registry.record(&session())).await;
    hangs("update", registry.update(&id(), |_| session())).await;
}

#[test]
fn no_call_that_hangs_holds_up_a_runtime_of_one_thread() {
    let base = machine();
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(every_call_hangs(base.path()));
        runtime.shutdown_background();
        done.send(()).unwrap();
    });
    outcome.recv_timeout(Duration::from_secs(30)).unwrap();
}

/// Takes every slot with a call that does not return before what is returned is dropped.
async fn hang(calls: &calls::Calls, count: usize) -> Vec<mpsc::Sender<()>> {
    let mut gates = Vec::new();
    for _ in 0..count {
        let (open, gate) = mpsc::channel::<()>();
        gates.push(open);
        let call = move || gate.recv().unwrap_or_default();
        let within = Duration::from_millis(1);
        let hung = calls.run("umount2", Path::new("/x"), within, call).await;
        assert!(matches!(hung, Err(CallError::TimedOut { .. })), "{hung:?}");
    }
    gates
}

#[tokio::test]
async fn unmounts_that_hang_hold_up_unmounts_only() {
    let base = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("proc/self/mountinfo", ""),
        ("sys/dev/block/259:0/device/subsysnqn", nqn().as_str()),
    ] {
        let path = base.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir_all(base.path().join("sys/class/nvme-subsystem")).unwrap();
    let host = Linux::new(Root::below(base.path()), Runner::default());
    // A node with 100 volumes is drained while their device is away.
    let unmounts = hang(&host.unmounts, 100).await;
    let read = host
        .calls
        .io("read", Path::new("/x"), Duration::from_secs(20), || Ok(()));
    read.await.unwrap();
    // And then whatever works on devices hangs too.
    let calls = hang(&host.calls, 64).await;
    assert_eq!(host.mounts().await.unwrap(), []);
    assert_eq!(host.others(&[]).await.unwrap(), []);
    assert_eq!(host.subsystem(&nqn()).await.unwrap(), None);
    let number = device().namespace.number;
    assert!(host.exists(number).await.unwrap());
    assert_eq!(
        host.owner(number).await.unwrap().as_deref(),
        Some(nqn().as_str())
    );
    let target = base.path().join("target");
    host.make_directory(&target).await.unwrap();
    host.remove_directory(&target).await.unwrap();
    assert_eq!(host.path(&target).await.unwrap(), PathState::Absent);
    drop((unmounts, calls));
}

#[tokio::test(start_paused = true)]
async fn a_record_on_a_disk_that_is_away_is_an_error_in_time() {
    let base = machine();
    let registry = Registry::new(&base.path().join("state"));
    let id = id();
    let later = tokio::time::advance(Duration::from_secs(60));
    let (asked, ()) = tokio::join!(registry.get(&id), later);
    let error = asked.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    // Lets the reader go.
    let record = base.path().join(format!("state/sessions/{ID}.json"));
    std::fs::OpenOptions::new()
        .write(true)
        .open(record)
        .unwrap();
}
