//! Programs of our own, to see what the runner gives them and takes from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rds_csi_core::kind::{Failure, Kind};

use super::*;

const TOOL: Program = Program("tool");
const LONG: Duration = Duration::from_secs(20);

fn runner(directory: &Path, script: &str) -> Runner {
    let path = directory.join("tool");
    // Renamed into place: a file that was just written may be "busy" for exec while
    // another thread forks.
    let draft = directory.join("draft");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(draft, path).unwrap();
    Runner::new(vec![directory.to_owned()])
}

#[tokio::test]
async fn a_program_gets_a_clean_environment_and_no_input() {
    let directory = tempfile::tempdir().unwrap();
    let runner = runner(
        directory.path(),
        "env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= | sort; cat; echo \"$1\"; echo no >&2; exit 3",
    );
    let output = runner.run(TOOL, &["a b"], LONG).await.unwrap();
    assert_eq!(
        output.stdout,
        "LC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\na b\n"
    );
    assert_eq!(output.stderr, "no\n");
    assert_eq!(output.status.code(), Some(3));
}

#[tokio::test]
async fn a_status_that_is_not_zero_is_an_error_with_what_the_program_said() {
    let directory = tempfile::tempdir().unwrap();
    let runner = runner(directory.path(), "echo 'no space' >&2; exit 1");
    let error = runner.succeed(TOOL, &["-q"], LONG).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tool [\"-q\"] ended with exit status: 1: no space"
    );
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[tokio::test]
async fn at_the_deadline_the_program_and_its_children_are_killed() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let runner = runner(
        directory.path(),
        &format!("sleep 600 & echo $! >{}; wait", pid.display()),
    );
    let error = runner
        .run(TOOL, &[], Duration::from_millis(500))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    let child: u32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let deadline = Instant::now() + LONG;
    while is_running(child) {
        assert!(Instant::now() < deadline, "the child survived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Gone, or dead and waiting for its parent.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

#[tokio::test]
async fn output_without_end_is_cut_and_does_not_block_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let runner = runner(directory.path(), "head -c 1000000 /dev/zero; echo end >&2");
    let output = runner.run(TOOL, &[], LONG).await.unwrap();
    assert_eq!(output.stdout.len(), Runner::OUTPUT_LIMIT);
    assert_eq!(output.stderr, "end\n");
}

#[tokio::test]
async fn all_missing_programs_are_named_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let runner = runner(directory.path(), "true");
    let missing = runner.verify(&[TOOL, MKFS_EXT4, BLKID]).unwrap_err();
    assert_eq!(missing.missing, ["mkfs.ext4", "blkid"]);
    assert_eq!(runner.verify(&[TOOL]), Ok(()));
    let error = runner.run(BLKID, &[], LONG).await.unwrap_err();
    assert!(matches!(error, CommandError::Missing { .. }));
}

#[test]
fn a_program_that_cannot_be_started_in_time_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let runner = runner(directory.path(), "exit 0");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // As if the disk that the program lies on gave no answer.
        let hanging = tokio::task::spawn_blocking(move || gate.recv());
        let error = runner.run(TOOL, &[], Duration::from_millis(20)).await;
        assert_eq!(error.unwrap_err().kind(), Kind::Timeout);
        drop(release);
        hanging.await.unwrap().unwrap_err();
        runner.run(TOOL, &[], LONG).await.unwrap();
    });
}
