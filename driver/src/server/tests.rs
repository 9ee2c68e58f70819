//! What may lie at the socket's path, and what becomes of it.

use std::os::unix::net::UnixStream;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

#[tokio::test]
async fn the_socket_and_its_directory_are_made_and_the_socket_is_the_owners_alone() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("a/b/csi.sock");
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    UnixStream::connect(&path).unwrap();
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["csi.sock"]);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("csi.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _socket = Socket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn the_socket_of_a_living_process_is_not() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("csi.sock");
    let _first = Socket::bind(&path).unwrap();
    let error = Socket::bind(&path).unwrap_err();
    assert!(matches!(error, SocketError::Taken { .. }), "{error:?}");
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn anything_else_at_the_path_is_an_error_and_stays() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "mine").unwrap();
    let link = base.path().join("link");
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let directory = base.path().join("directory");
    fs::create_dir(&directory).unwrap();
    for path in [&file, &link, &directory] {
        let error = Socket::bind(path).unwrap_err();
        assert!(matches!(error, SocketError::Foreign { .. }), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(link.is_symlink() && directory.is_dir());
}

#[tokio::test]
async fn what_a_crash_while_binding_left_is_no_obstacle() {
    let base = tempfile::tempdir().unwrap();
    let nursery = base.path().join(".csi.sock");
    fs::create_dir(&nursery).unwrap();
    drop(std::os::unix::net::UnixListener::bind(nursery.join(".s")).unwrap());
    let _socket = Socket::bind(&base.path().join("csi.sock")).unwrap();
    assert!(!nursery.exists());
}

#[tokio::test]
async fn the_longest_path_that_is_taken_can_be_bound() {
    let base = tempfile::tempdir().unwrap();
    let filling = 99 - base.path().as_os_str().len();
    let path = base.path().join("s".repeat(filling));
    assert_eq!(path.as_os_str().len(), 100);
    let _socket = Socket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_successors_socket_is_left_alone() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("csi.sock");
    let socket = Socket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
}
