//! With trees of files; that a removed object ends its open attributes is the kernel's
//! own promise, tried on guests.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for directory in ["class/nvme-subsystem", "class/nvme", "block"] {
            fs::create_dir_all(base.path().join("sys").join(directory)).unwrap();
        }
        Self(base)
    }

    fn root(&self) -> Root {
        Root::below(self.0.path())
    }

    /// A subsystem with one controller and, beside it, the head of its namespace.
    fn connect(&self, index: u32, nqn: &Nqn) {
        let sys = self.0.path().join("sys");
        let subsystem = sys.join(format!("class/nvme-subsystem/nvme-subsys{index}"));
        let controller = sys.join(format!("class/nvme/nvme{index}"));
        let head = subsystem.join(format!("nvme{index}n1"));
        fs::create_dir_all(&head).unwrap();
        fs::create_dir_all(&controller).unwrap();
        fs::write(subsystem.join("subsysnqn"), nqn.as_str()).unwrap();
        for (file, text) in [
            ("subsysnqn", nqn.as_str()),
            ("state", "live\n"),
            ("address", "traddr=192.0.2.7,trsvcid=4420\n"),
        ] {
            fs::write(controller.join(file), text).unwrap();
        }
        let number = format!("259:{index}\n");
        for (file, text) in [
            ("dev", &*number),
            ("size", "2048\n"),
            ("nsid", "1\n"),
            ("ro", "0\n"),
        ] {
            fs::write(head.join(file), text).unwrap();
        }
        symlink(&controller, subsystem.join(format!("nvme{index}"))).unwrap();
        symlink(&head, sys.join(format!("block/nvme{index}n1"))).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.path().join("sys").join(path), text).unwrap();
    }
}

fn nqn(number: u32) -> Nqn {
    format!("nqn.2000-02.com.mikrotik:pvc-{number}")
        .parse()
        .unwrap()
}

fn names(readings: &[(Nqn, Option<Subsystem>)]) -> Vec<Nqn> {
    readings.iter().map(|(nqn, _)| nqn.clone()).collect()
}

#[test]
fn what_is_as_it_was_is_told_once() {
    let machine = Machine::new();
    let nqns = [nqn(0), nqn(1)];
    for (index, nqn) in (0..).zip(&nqns) {
        machine.connect(index, nqn);
    }
    let (pulse, root) = (Pulse::default(), machine.root());
    let first = pulse.changed(&root, &nqns).unwrap();
    assert_eq!(names(&first), nqns);
    assert!(
        first
            .iter()
            .all(|(_, found)| found.as_ref().unwrap().is_live())
    );
    assert_eq!(pulse.changed(&root, &nqns).unwrap(), []);

    machine.write("class/nvme/nvme1/state", "connecting\n");
    let lost = pulse.changed(&root, &nqns).unwrap();
    assert_eq!(names(&lost), [nqn(1)]);
    assert!(!lost[0].1.as_ref().unwrap().is_live());
    assert_eq!(pulse.changed(&root, &nqns).unwrap(), []);

    machine.write("block/nvme0n1/size", "4096\n");
    assert_eq!(names(&pulse.changed(&root, &nqns).unwrap()), [nqn(0)]);
}

#[test]
fn what_is_absent_or_incomplete_is_told_every_time() {
    let machine = Machine::new();
    let (pulse, root) = (Pulse::default(), machine.root());
    for _ in 0..2 {
        assert_eq!(pulse.changed(&root, &[nqn(0)]).unwrap(), [(nqn(0), None)]);
    }
    machine.connect(0, &nqn(0));
    let head = machine
        .0
        .path()
        .join("sys/class/nvme-subsystem/nvme-subsys0/nvme0n1");
    fs::remove_dir_all(head).unwrap();
    for _ in 0..2 {
        assert_eq!(names(&pulse.changed(&root, &[nqn(0)]).unwrap()), [nqn(0)]);
    }
}

#[test]
fn a_name_that_is_anothers_by_now_is_not_kept() {
    let machine = Machine::new();
    machine.connect(0, &nqn(0));
    machine.write("class/nvme/nvme0/subsysnqn", nqn(7).as_str());
    let (pulse, root) = (Pulse::default(), machine.root());
    for _ in 0..2 {
        assert_eq!(names(&pulse.changed(&root, &[nqn(0)]).unwrap()), [nqn(0)]);
    }
}

#[test]
fn a_failed_reading_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let pulse = Pulse::default();
    assert!(pulse.changed(&Root::below(base.path()), &[nqn(0)]).is_err());
}
