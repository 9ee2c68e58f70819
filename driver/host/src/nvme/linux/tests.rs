//! Connections as trees of files show them; real ones are tried on guests.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::HostIdentity;
use rds_csi_core::nvme::{DeviceNumber, Tuning};

use super::*;
use crate::block::BlockDevices as _;
use crate::command::Runner;
use crate::nvme::{Seen, await_device};
use crate::sys::Root;

const NQN: &str = "nqn.2000-02.com.mikrotik:pvc-1";

struct Machine {
    base: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for directory in [
            "sys/class/nvme-subsystem",
            "sys/class/nvme",
            "sys/block",
            "dev",
        ] {
            fs::create_dir_all(base.path().join(directory)).unwrap();
        }
        Self { base }
    }

    fn host(&self) -> Linux {
        Linux::new(Root::below(self.base.path()), Runner::default())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    /// A subsystem with one controller and, with multipath off, one namespace.
    fn connected(&self, index: u32, nqn: &str, state: &str) {
        let subsystem = self.path(&format!("sys/class/nvme-subsystem/nvme-subsys{index}"));
        let controller = self.path(&format!("sys/class/nvme/nvme{index}"));
        let device = controller.join(format!("nvme{index}n1"));
        fs::create_dir_all(&subsystem).unwrap();
        fs::create_dir_all(&device).unwrap();
        fs::write(subsystem.join("subsysnqn"), nqn).unwrap();
        for (file, value) in [
            ("subsysnqn", nqn),
            ("state", state),
            ("address", "traddr=192.0.2.7,trsvcid=4420"),
            ("hostnqn", target().host.nqn.as_str()),
            ("delete_controller", ""),
            ("rescan_controller", ""),
            ("ctrl_loss_tmo", "off"),
        ] {
            fs::write(controller.join(file), value).unwrap();
        }
        for (file, value) in [
            ("dev", "259:0"),
            ("size", "2048"),
            ("nsid", "1"),
            ("ro", "0"),
        ] {
            fs::write(device.join(file), value).unwrap();
        }
        symlink(&controller, subsystem.join(format!("nvme{index}"))).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }
}

fn target() -> Target {
    Target {
        nqn: NQN.parse().unwrap(),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        port: 4420,
        host: HostIdentity::of(&"lab".parse().unwrap(), "node-1"),
        tuning: Tuning::default(),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(100)
}

#[tokio::test]
async fn a_connection_that_exists_is_success_with_its_name() {
    let machine = Machine::new();
    machine.connected(4, NQN, "connecting");
    assert_eq!(machine.host().connect(&target()).await.unwrap(), "nvme4");
}

#[tokio::test]
async fn a_connection_elsewhere_or_of_another_host_or_leaving_is_not_that_one() {
    let mut elsewhere = target();
    elsewhere.port = 4421;
    let mut other_host = target();
    other_host.host = HostIdentity::of(&"lab".parse().unwrap(), "node-2");
    for (state, target) in [
        ("live", elsewhere),
        ("live", other_host),
        ("deleting", target()),
    ] {
        let machine = Machine::new();
        machine.connected(0, NQN, state);
        // Not found, so the fabrics file is opened, which this machine lacks.
        let error = machine.host().connect(&target).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoFabrics { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_options_are_written_at_once_and_an_odd_reply_is_an_error() {
    let machine = Machine::new();
    fs::write(machine.path("dev/nvme-fabrics"), "").unwrap();
    let error = machine.host().connect(&target()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Reply { .. }), "{error}");
    assert_eq!(
        machine.read("dev/nvme-fabrics"),
        fabrics::options(&target())
    );
}

#[tokio::test]
async fn only_controllers_of_exactly_this_name_are_rescanned() {
    let machine = Machine::new();
    machine.connected(0, NQN, "live");
    machine.connected(1, &format!("{NQN}0"), "live");
    machine.host().rescan(&target().nqn).await.unwrap();
    assert_eq!(machine.read("sys/class/nvme/nvme0/rescan_controller"), "1");
    assert_eq!(machine.read("sys/class/nvme/nvme1/rescan_controller"), "");

    machine
        .host()
        .set_loss_time(&target().nqn, Some(5))
        .await
        .unwrap();
    assert_eq!(machine.read("sys/class/nvme/nvme0/ctrl_loss_tmo"), "5ff");
    assert_eq!(machine.read("sys/class/nvme/nvme1/ctrl_loss_tmo"), "off");
}

#[tokio::test]
async fn a_device_number_tells_whose_it_is() {
    let machine = Machine::new();
    let number = DeviceNumber {
        major: 259,
        minor: 3,
    };
    assert_eq!(machine.host().owner(number).await.unwrap(), None);
    let device = machine.path("sys/dev/block/259:3/device");
    fs::create_dir_all(&device).unwrap();
    assert_eq!(machine.host().owner(number).await.unwrap(), None);
    fs::write(device.join("subsysnqn"), format!("{NQN}\n")).unwrap();
    let owner = machine.host().owner(number).await.unwrap();
    assert_eq!(owner.as_deref(), Some(NQN));
    fs::remove_file(device.join("subsysnqn")).unwrap();
    fs::create_dir(device.join("subsysnqn")).unwrap();
    machine.host().owner(number).await.unwrap_err();
}

#[tokio::test]
async fn disconnecting_what_is_not_connected_is_success_and_touches_no_other() {
    let machine = Machine::new();
    machine.connected(1, &format!("{NQN}0"), "live");
    machine.host().disconnect(&target().nqn).await.unwrap();
    assert_eq!(machine.read("sys/class/nvme/nvme1/delete_controller"), "");
    let error = machine.host().rescan(&target().nqn).await.unwrap_err();
    assert!(matches!(error, NvmeError::NotConnected { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_stays_makes_a_disconnect_fail() {
    let machine = Machine::new();
    machine.connected(0, NQN, "live");
    let error = machine.host().disconnect(&target().nqn).await.unwrap_err();
    assert!(matches!(error, NvmeError::StillThere { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(machine.read("sys/class/nvme/nvme0/delete_controller"), "1");
}

#[test]
fn an_attribute_of_another_owner_is_not_written() {
    let base = tempfile::tempdir().unwrap();
    let (proof, file) = (base.path().join("subsysnqn"), base.path().join("delete"));
    fs::write(&proof, "nqn.2000-02.com.mikrotik:pvc-10\n").unwrap();
    fs::write(&file, "").unwrap();
    assert!(!write_if_owned(NQN, &proof, &file, "1").unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    assert!(!write_if_owned(NQN, &proof, &base.path().join("gone"), "1").unwrap());
}

#[tokio::test]
async fn a_device_is_awaited_until_it_is_live_and_has_a_size() {
    let machine = Machine::new();
    let (host, nqn) = (machine.host(), target().nqn);
    let last_seen = |error: NvmeError| match error {
        NvmeError::NoDevice { seen, .. } => seen,
        other => panic!("{other}"),
    };
    let absent = await_device(&host, &nqn, soon()).await.unwrap_err();
    assert_eq!(absent.kind(), Kind::Timeout);
    assert_eq!(last_seen(absent), "no session");

    machine.connected(0, NQN, "connecting");
    let lost = await_device(&host, &nqn, soon()).await.unwrap_err();
    assert_eq!(
        last_seen(lost),
        "nvme0 connecting, nvme0n1 of 1048576 bytes (1 MiB)"
    );

    let size = machine.path("sys/class/nvme/nvme0/nvme0n1/size");
    fs::write(machine.path("sys/class/nvme/nvme0/state"), "live").unwrap();
    fs::write(&size, "0").unwrap();
    let empty = await_device(&host, &nqn, soon()).await.unwrap_err();
    assert_eq!(last_seen(empty), "nvme0 live, nvme0n1 of 0 bytes");

    fs::write(&size, "2048").unwrap();
    let found = await_device(&host, &nqn, soon()).await.unwrap();
    let device = Seen::of(&nqn, Some(&found)).unwrap().live().unwrap();
    assert_eq!(device.namespace.name, "nvme0n1");
    assert_eq!(device.nqn, nqn);
}

#[tokio::test]
async fn a_subsystem_is_found_by_its_name_alone_whatever_the_others_show() {
    let machine = Machine::new();
    machine.connected(0, &format!("{NQN}0"), "live");
    machine.connected(1, NQN, "live");
    // What cannot be read of another subsystem is no business of this one.
    fs::write(machine.path("sys/class/nvme/nvme0/nvme0n1/dev"), "odd").unwrap();
    let found = machine.host().subsystem(&target().nqn).await.unwrap();
    assert_eq!(found.unwrap().controllers[0].name, "nvme1");
    assert!(machine.host().others(&[]).await.is_err());
}
