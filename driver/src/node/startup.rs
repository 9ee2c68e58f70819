//! What must be there before the node serves: its programs and its state directory.
//!
//! Everything that is missing is said at once. A node that cannot record a session or
//! make a filesystem would only find out in the middle of a pod's start.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_host::command::{MissingPrograms, NODE, Runner};

/// What is missing.
#[derive(Debug)]
pub(crate) struct NotReady {
    programs: Option<MissingPrograms>,
    state: Option<(PathBuf, io::Error)>,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node service cannot work here")?;
        if let Some(programs) = &self.programs {
            write!(f, "; {programs}")?;
        }
        if let Some((path, error)) = &self.state {
            write!(
                f,
                "; the state directory {path:?} cannot be written: {error}"
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for NotReady {}

impl Failure for NotReady {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

/// Verifies the external programs and that the state directory, made if absent, can be
/// written. Blocks for a moment; for the start of the process only.
pub(crate) fn ready(runner: &Runner, state_directory: &Path) -> Result<(), NotReady> {
    let programs = runner.verify(NODE).err();
    let state = writable(state_directory)
        .err()
        .map(|error| (state_directory.to_owned(), error));
    if programs.is_none() && state.is_none() {
        Ok(())
    } else {
        Err(NotReady { programs, state })
    }
}

fn writable(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let probe = directory.join(".writable");
    fs::write(&probe, b"")?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let runner = Runner::new(vec![base.path().to_owned()]);
        let error = ready(&runner, &file.join("state")).unwrap_err().to_string();
        for word in ["mkfs.xfs", "blkid", "resize2fs", "state"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_complete_node_is_ready_and_keeps_nothing_of_the_check() {
        let base = tempfile::tempdir().unwrap();
        let programs = base.path().join("bin");
        fs::create_dir(&programs).unwrap();
        for program in [
            "mkfs.ext4",
            "mkfs.xfs",
            "blkid",
            "resize2fs",
            "xfs_growfs",
            "blockdev",
        ] {
            fs::write(programs.join(program), "").unwrap();
        }
        let state = base.path().join("var/state");
        ready(&Runner::new(vec![programs]), &state).unwrap();
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    }
}
