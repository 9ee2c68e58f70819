//! The model against the rules of the kernel that it stands for.

use rds_csi_core::filesystem::{Content, FsType};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::HostIdentity;
use rds_csi_core::nvme::{Subsystem, Target, Tuning};
use uuid::Uuid;

use std::time::Duration;

use rds_csi_core::bytes::Bytes;

use super::*;
use crate::block::{BlockDevices, Device, FormatError, Holder};
use crate::mounter::{Meant, Mounter, Mounting, PathState, Unmount};
use crate::nvme::{ConnectError, NvmeHost, Seen, await_device};

const UUID: Uuid = Uuid::from_u128(7);
const SIZE: Bytes = Bytes::gib(1);

fn nqn(id: &str) -> Nqn {
    format!("nqn.2000-02.com.mikrotik:{id}").parse().unwrap()
}

fn target(id: &str) -> Target {
    Target {
        nqn: nqn(id),
        address: "192.0.2.7".parse().unwrap(),
        port: 4420,
        host: HostIdentity::of(&"lab".parse().unwrap(), "node-1"),
        tuning: Tuning::default(),
    }
}

async fn connected(host: &FakeHost, id: &str) -> Device {
    host.connect(&target(id)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let subsystem = await_device(host, &nqn(id), deadline).await.unwrap();
    device(&nqn(id), &subsystem)
}

fn device(nqn: &Nqn, subsystem: &Subsystem) -> Device {
    Seen::of(nqn, Some(subsystem)).unwrap().live().unwrap()
}

fn meant(fs: FsType) -> Meant {
    Meant {
        fs,
        uuid: Some(UUID),
    }
}

/// Mounts at `/staging`, which is made.
async fn mounted(host: &FakeHost, device: &Device, fs: FsType) {
    let staging = Path::new("/staging");
    let mounting = host.mount(device, staging, meant(fs), &[]).await.unwrap();
    assert_eq!(mounting, Mounting::Made(host.mount_table()));
    assert_eq!(host.mount_table()[0].target, staging);
}

fn host_with(ids: &[&str]) -> (Array, FakeHost) {
    let array = Array::new();
    for id in ids {
        array.export(&nqn(id), SIZE, Medium::Blank);
    }
    let host = FakeHost::new(&array);
    (array, host)
}

#[tokio::test]
async fn a_volume_is_formatted_mounted_bound_and_taken_down() {
    let (array, host) = host_with(&["a"]);
    let device = connected(&host, "a").await;
    let (staging, target) = (Path::new("/staging"), Path::new("/pods/target"));
    host.make_directory(target).await.unwrap();
    let other = host.mount(&device, staging, meant(FsType::Ext4), &[]);
    assert_eq!(other.await.unwrap(), Mounting::Other(None));
    host.format(&device, FsType::Ext4, UUID).await.unwrap();
    assert!(matches!(
        host.format(&device, FsType::Ext4, UUID).await,
        Err(FormatError::NotBlank { .. })
    ));
    for wrong in [
        meant(FsType::Xfs),
        Meant {
            uuid: Some(Uuid::nil()),
            ..meant(FsType::Ext4)
        },
    ] {
        let other = host.mount(&device, staging, wrong, &[]).await.unwrap();
        assert!(matches!(other, Mounting::Other(Some(found)) if found.uuid == UUID));
        assert_eq!(host.mount_table(), []);
    }
    mounted(&host, &device, FsType::Ext4).await;
    host.bind(staging, target, true).await.unwrap();
    assert_eq!(
        host.holders(&device).await.unwrap(),
        [Holder::Mount(target.into()), Holder::Mount(staging.into())]
    );
    assert!(host.remove_directory(target).await.is_err());
    host.set_busy(target, true);
    let error = host.unmount(target, Unmount::Plain).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    host.set_busy(target, false);
    for path in [target, staging] {
        host.unmount(path, Unmount::Plain).await.unwrap();
        host.remove_directory(path).await.unwrap();
        assert_eq!(host.path(path).await.unwrap(), PathState::Absent);
    }
    host.disconnect(&device.nqn).await.unwrap();
    assert!(host.connected().is_empty());
    assert!(matches!(
        array.medium(&device.nqn),
        Some(Medium::Filesystem { uuid: UUID, .. })
    ));
}

#[tokio::test]
async fn a_number_comes_to_mean_another_volume_and_the_old_device_is_refused() {
    let (_array, host) = host_with(&["a", "b"]);
    let old = connected(&host, "a").await;
    host.disconnect(&old.nqn).await.unwrap();
    let other = connected(&host, "b").await;
    assert_eq!(other.namespace.number, old.namespace.number);
    let error = host.examine(&old).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert_eq!(host.examine(&other).await.unwrap(), Content::Blank);
}

#[tokio::test]
async fn a_mount_outlives_its_device_and_a_new_connection_gets_another_number() {
    let (_array, host) = host_with(&["a"]);
    let old = connected(&host, "a").await;
    let staging = Path::new("/staging");
    host.format(&old, FsType::Ext4, UUID).await.unwrap();
    mounted(&host, &old, FsType::Ext4).await;
    host.lose(&old.nqn);
    assert!(host.path(staging).await.is_err());
    assert!(host.stats(staging).await.is_err());
    let new = connected(&host, "a").await;
    assert_ne!(new.namespace.number, old.namespace.number);
    assert!(host.path(staging).await.is_err());
    host.unmount(staging, Unmount::Plain).await.unwrap();
    assert_eq!(
        host.path(staging).await.unwrap(),
        PathState::Directory { empty: true }
    );
}

#[tokio::test(start_paused = true)]
async fn the_namespace_may_come_late_and_the_array_may_refuse() {
    let (array, host) = host_with(&["a"]);
    array.set_namespace_delay(&nqn("a"), Duration::from_secs(3));
    let begun = Instant::now();
    connected(&host, "a").await;
    assert!(begun.elapsed() >= Duration::from_secs(3));
    host.disconnect(&nqn("a")).await.unwrap();
    array.set_reachable(&nqn("a"), false);
    assert!(matches!(
        host.connect(&target("a")).await,
        Err(ConnectError::NoAnswer { .. })
    ));
    assert!(matches!(
        host.connect(&target("unknown")).await,
        Err(ConnectError::Rejected { .. })
    ));
}

#[tokio::test]
async fn a_new_size_shows_after_a_rescan_and_the_filesystem_follows_when_grown() {
    let (array, host) = host_with(&["a"]);
    let device = connected(&host, "a").await;
    let staging = Path::new("/staging");
    host.format(&device, FsType::Xfs, UUID).await.unwrap();
    mounted(&host, &device, FsType::Xfs).await;
    array.resize(&device.nqn, Bytes::gib(2));
    assert_eq!(connected(&host, "a").await, device);
    host.rescan(&device.nqn).await.unwrap();
    let larger = connected(&host, "a").await;
    assert_eq!(larger.namespace.size, Bytes::gib(2));
    let measured = host.filesystem_size(&larger, FsType::Xfs, staging).await;
    assert_eq!(measured.unwrap(), SIZE);
    let grown = host.grow(&larger, FsType::Xfs, staging).await;
    assert_eq!(grown.unwrap(), Bytes::gib(2));
}

#[tokio::test(start_paused = true)]
async fn faults_strike_at_their_call_before_or_after_the_effect_or_hang() {
    let (_array, host) = host_with(&["a"]);
    host.fault_at(1, Fault::Before);
    host.fault_at(2, Fault::After);
    let before = host.connect(&target("a")).await.unwrap_err();
    assert_eq!(before.kind(), Kind::Unreachable);
    assert!(host.connected().is_empty());
    let after = host.connect(&target("a")).await.unwrap_err();
    assert_eq!(after.kind(), Kind::Timeout);
    assert_eq!(host.connected().len(), 1);
    host.fault_at(1, Fault::Hang);
    let hung = tokio::time::timeout(Duration::from_secs(600), host.mounts()).await;
    assert!(hung.is_err());
    assert_eq!(host.calls(), 3);
    assert_eq!(host.log(), ["connect", "connect", "mounts"]);
}

#[tokio::test]
async fn a_bound_device_node_outlives_its_name_and_shows_below_no_other_mount() {
    let (_array, host) = host_with(&["a"]);
    let device = connected(&host, "a").await;
    let number = device.namespace.number;
    let (node, target) = (Path::new("/dev/x"), Path::new("/kubelet/target"));
    host.mount_host(Path::new("/kubelet"), &["rw", "nodev"]);
    host.make_block_node(node, number).await.unwrap();
    host.make_file(target).await.unwrap();
    host.bind(node, target, false).await.unwrap();
    host.remove_file(node).await.unwrap();
    assert_eq!(host.path(target).await.unwrap(), PathState::Block(number));
    host.unmount(target, Unmount::Plain).await.unwrap();
    assert_eq!(
        host.path(target).await.unwrap(),
        PathState::File { empty: true }
    );
    assert!(host.mount_table()[0].is_nodev());
}
