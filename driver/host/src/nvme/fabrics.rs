//! `/dev/nvme-fabrics`: one option string in, one line out.
//!
//! Writing blocks until the connection is made or refused (some 11 s with a peer that
//! accepts and stays silent), and the answer is read from the same descriptor. What an
//! error number means was tried out on Linux 6.12.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::path::Path;

use rds_csi_core::nvme::Target;

use crate::nvme::ConnectError;
use crate::sys::{CallError, Errno};

/// Why writing or reading the file failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The file could not be opened.
    Open(io::Error),
    /// The kernel refused.
    Write(io::Error),
}

/// The option string of a target. None of its parts can hold a comma.
pub(super) fn options(target: &Target) -> String {
    let tuning = &target.tuning;
    let mut options = format!(
        "nqn={},transport=tcp,traddr={},trsvcid={},hostnqn={},hostid={}",
        target.nqn, target.address, target.port, target.host.nqn, target.host.id
    );
    let mut add = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(options, ",{name}={value}");
    };
    add("ctrl_loss_tmo", seconds(tuning.ctrl_loss_tmo));
    add("reconnect_delay", tuning.reconnect_delay.to_string());
    add("keep_alive_tmo", tuning.keep_alive_tmo.to_string());
    if let Some(time) = tuning.fast_io_fail_tmo {
        add("fast_io_fail_tmo", time.to_string());
    }
    if let Some(queues) = tuning.nr_io_queues {
        add("nr_io_queues", queues.to_string());
    }
    options
}

/// Seconds as the kernel takes them: -1 is never.
pub(super) fn seconds(time: Option<u32>) -> String {
    time.map_or_else(|| "-1".to_owned(), |time| time.to_string())
}

/// Blocks until the kernel has answered.
pub(super) fn write(path: &Path, options: &str) -> Result<String, Refusal> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Refusal::Open)?;
    // One write: the kernel takes what one call brings as the whole string.
    let written = file.write(options.as_bytes()).map_err(Refusal::Write)?;
    if written != options.len() {
        return Err(Refusal::Write(io::ErrorKind::WriteZero.into()));
    }
    let mut reply = [0; 256];
    let length = file.read(&mut reply).map_err(Refusal::Write)?;
    Ok(String::from_utf8_lossy(&reply[..length]).into_owned())
}

/// `instance=0,cntlid=1` names the controller `nvme0`.
pub(super) fn controller(reply: &str) -> Option<String> {
    let instance: u32 = reply
        .trim()
        .split(',')
        .find_map(|field| field.strip_prefix("instance="))?
        .parse()
        .ok()?;
    Some(format!("nvme{instance}"))
}

/// Whether the kernel says that exactly this connection exists already.
pub(super) fn is_connected(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Write(error)
        if error.raw_os_error() == Some(Errno::EALREADY as i32))
}

/// What a refusal means.
pub(super) fn meaning(path: &Path, target: &Target, refusal: Refusal) -> ConnectError {
    let nqn = target.nqn.clone();
    let address = std::net::SocketAddr::new(target.address, target.port).to_string();
    let source = match refusal {
        Refusal::Open(source) => {
            return match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => ConnectError::NoFabrics {
                    path: path.display().to_string(),
                    source,
                },
                _ => ConnectError::Call {
                    nqn,
                    source: CallError::failed("open", path, source),
                },
            };
        }
        Refusal::Write(source) => source,
    };
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => ConnectError::Refused { nqn, address },
        Some(Errno::ETIMEDOUT | Errno::EAGAIN) => ConnectError::NoAnswer { nqn, address },
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => ConnectError::NoRoute { nqn, address },
        Some(Errno::EIO) => ConnectError::Rejected { nqn, address },
        Some(Errno::EALREADY) => ConnectError::Unseen { nqn, address },
        Some(Errno::EINVAL | Errno::ENODEV) => ConnectError::Options {
            nqn,
            address,
            options: options(target),
        },
        _ => ConnectError::Call {
            nqn,
            source: CallError::failed("write", path, source),
        },
    }
}

#[cfg(test)]
mod tests {
    use rds_csi_core::kind::{Failure, Kind};
    use rds_csi_core::nqn::HostIdentity;
    use rds_csi_core::nvme::Tuning;
    use rstest::rstest;

    use super::*;

    fn target() -> Target {
        Target {
            nqn: "nqn.2000-02.com.mikrotik:pvc-1".parse().unwrap(),
            address: "192.0.2.7".parse().unwrap(),
            port: 4420,
            host: HostIdentity::of(&"lab".parse().unwrap(), "node-1"),
            tuning: Tuning::default(),
        }
    }

    #[test]
    fn the_option_string_says_who_connects_where_and_how_long_to_wait() {
        let mut target = target();
        let id = target.host.id;
        assert_eq!(
            options(&target),
            format!(
                "nqn=nqn.2000-02.com.mikrotik:pvc-1,transport=tcp,traddr=192.0.2.7,trsvcid=4420,\
                 hostnqn=nqn.2014-08.org.nvmexpress:uuid:{id},hostid={id},\
                 ctrl_loss_tmo=-1,reconnect_delay=5,keep_alive_tmo=5"
            )
        );
        target.tuning = Tuning {
            ctrl_loss_tmo: Some(600),
            fast_io_fail_tmo: Some(30),
            nr_io_queues: Some(4),
            ..Tuning::default()
        };
        assert!(options(&target).ends_with(
            "ctrl_loss_tmo=600,reconnect_delay=5,keep_alive_tmo=5,fast_io_fail_tmo=30,nr_io_queues=4"
        ));
    }

    #[rstest]
    #[case("instance=0,cntlid=1\n", Some("nvme0"))]
    #[case("cntlid=1,instance=17", Some("nvme17"))]
    #[case("", None)]
    #[case("instance=,cntlid=1", None)]
    #[case("instance=-1,cntlid=1", None)]
    #[case("instance=%d,cntlid=%d,transport=%s", None)]
    fn the_reply_names_the_controller(#[case] reply: &str, #[case] expected: Option<&str>) {
        assert_eq!(controller(reply).as_deref(), expected);
    }

    #[rstest]
    #[case(Errno::ECONNREFUSED, Kind::Unreachable, "nothing listens")]
    #[case(Errno::ETIMEDOUT, Kind::Timeout, "no answer")]
    #[case(Errno::EAGAIN, Kind::Timeout, "no answer")]
    #[case(Errno::ENETUNREACH, Kind::Unreachable, "no route")]
    #[case(Errno::EHOSTUNREACH, Kind::Unreachable, "no route")]
    #[case(Errno::EIO, Kind::Unreachable, "does not allow this host")]
    #[case(Errno::EINVAL, Kind::Unreachable, "refused the options")]
    #[case(Errno::EALREADY, Kind::Unreachable, "does not show")]
    #[case(Errno::ENOMEM, Kind::Unreachable, "connecting nqn")]
    #[case(Errno::EPERM, Kind::Unreachable, "connecting nqn")]
    fn every_refusal_has_a_meaning_and_none_is_final(
        #[case] errno: Errno,
        #[case] kind: Kind,
        #[case] text: &str,
    ) {
        let refusal = Refusal::Write(io::Error::from_raw_os_error(errno as i32));
        let error = meaning(Path::new("/dev/nvme-fabrics"), &target(), refusal);
        assert_eq!(error.kind(), kind);
        assert!(error.kind().is_retryable());
        assert!(error.to_string().contains(text), "{error}");
    }

    #[test]
    fn without_the_module_the_error_says_what_to_load() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvme-fabrics");
        let refusal = write(&path, "x").unwrap_err();
        let error = meaning(&path, &target(), refusal);
        assert!(error.to_string().contains("modprobe nvme-tcp"), "{error}");
    }
}
