//! Paths in a directory of our own; mounts are tried on guests.

use std::fs;
use std::os::unix::fs::symlink;

use rds_csi_core::kind::{Failure, Kind};

use super::*;
use crate::command::Runner;
use crate::sys::Root;

fn host() -> Linux {
    Linux::new(Root::default(), Runner::default())
}

#[tokio::test]
async fn directories_and_files_are_made_and_removed_again_and_again() {
    let base = tempfile::tempdir().unwrap();
    let host = host();
    let (directory, file) = (base.path().join("a/b"), base.path().join("c/d"));
    for _ in 0..2 {
        host.make_directory(&directory).await.unwrap();
        host.make_file(&file).await.unwrap();
    }
    assert_eq!(
        host.path(&directory).await.unwrap(),
        PathState::Directory { empty: true }
    );
    assert_eq!(
        host.path(&base.path().join("a")).await.unwrap(),
        PathState::Directory { empty: false }
    );
    assert_eq!(
        host.path(&file).await.unwrap(),
        PathState::File { empty: true }
    );
    for _ in 0..2 {
        host.remove_directory(&directory).await.unwrap();
        host.remove_file(&file).await.unwrap();
    }
    assert_eq!(host.path(&directory).await.unwrap(), PathState::Absent);
    assert_eq!(host.path(&file).await.unwrap(), PathState::Absent);
}

#[tokio::test]
async fn a_directory_with_content_is_never_removed() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("volume");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("precious"), "x").unwrap();
    let host = host();
    assert!(host.remove_directory(&directory).await.is_err());
    let error = host.remove_file(&directory).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!(fs::read(directory.join("precious")).unwrap(), b"x");
}

#[tokio::test]
async fn a_symlink_is_seen_as_such_and_only_the_link_is_removed() {
    let base = tempfile::tempdir().unwrap();
    let (real, link) = (base.path().join("real"), base.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let host = host();
    assert_eq!(host.path(&link).await.unwrap(), PathState::Other);
    for error in [
        host.make_directory(&link).await.unwrap_err(),
        host.make_file(&link).await.unwrap_err(),
        host.remove_directory(&link).await.unwrap_err(),
        host.bind(&real, &link, false).await.unwrap_err(),
    ] {
        assert!(matches!(error, MountError::Unexpected { .. }), "{error}");
    }
    host.remove_file(&link).await.unwrap();
    assert!(real.is_dir());
}

#[tokio::test]
async fn unmounting_where_nothing_is_mounted_is_success() {
    let base = tempfile::tempdir().unwrap();
    let host = host();
    host.unmount(&base.path().join("absent"), Unmount::Plain)
        .await
        .unwrap();
}
