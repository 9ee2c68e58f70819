//! Tables rendered as the kernel does, and tables that no kernel writes.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' | 128.. => format!("\\{byte:03o}"),
            _ => char::from(*byte).to_string(),
        })
        .collect()
}

fn render(mount: &Mount, optional: &[String]) -> String {
    let path = |path: &Path| escape(path.as_os_str().as_bytes());
    let mut line = format!(
        "{} {} {} {} {} {}",
        mount.id,
        mount.parent,
        mount.device,
        path(&mount.root),
        path(&mount.target),
        mount.options.join(","),
    );
    for field in optional {
        line.push(' ');
        line.push_str(field);
    }
    line + &format!(
        " - {} {} {}\n",
        mount.fs_type,
        escape(mount.source.as_bytes()),
        mount.super_options.join(",")
    )
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(1u8..=255, 0..40).prop_map(|bytes| {
        let mut path = vec![b'/'];
        path.extend(bytes);
        PathBuf::from(OsString::from_vec(path))
    })
}

fn any_words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z]{1,6}(=[a-z0-9:/]{1,6})?", 1..5)
}

fn any_mount() -> impl Strategy<Value = Mount> {
    (
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
        (any_path(), any_path()),
        (any_words(), any_words()),
        ("[a-z0-9.]{1,8}", "[a-zA-Z0-9/ :\\\\]{1,20}"),
    )
        .prop_map(
            |(
                (id, parent, major, minor),
                (root, target),
                (options, super_options),
                (fs, source),
            )| {
                Mount {
                    id,
                    parent,
                    device: DeviceNumber { major, minor },
                    root,
                    target,
                    options,
                    fs_type: fs,
                    source,
                    super_options,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_the_kernel_renders_is_read_back(
        mounts in prop::collection::vec((any_mount(), prop::collection::vec("(shared|master):[0-9]{1,3}", 0..4)), 0..6)
    ) {
        let table: String = mounts.iter().map(|(mount, optional)| render(mount, optional)).collect();
        let expected: Vec<_> = mounts.into_iter().map(|(mount, _)| mount).collect();
        prop_assert_eq!(parse(table.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(table in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&table);
    }
}

#[test]
fn a_line_of_a_kubelet_with_a_blank_in_its_path() {
    let table = b"512 38 259:3 / /var/lib/kubelet/plugins/a\\040b/globalmount rw,relatime shared:7 master:1 - ext4 /dev/nvme0n1 rw,stripe=2\n";
    let mounts = parse(table).unwrap();
    assert_eq!(mounts.len(), 1);
    assert_eq!(
        mounts[0].device,
        DeviceNumber {
            major: 259,
            minor: 3
        }
    );
    assert_eq!(
        mounts[0].target,
        Path::new("/var/lib/kubelet/plugins/a b/globalmount")
    );
    assert_eq!(mounts[0].fs_type, "ext4");
    assert!(!mounts[0].is_read_only());
}

#[test]
fn this_machine_is_read() {
    let mounts = parse(&std::fs::read("/proc/self/mountinfo").unwrap()).unwrap();
    assert!(mounts.iter().any(|mount| mount.target == Path::new("/")));
}

#[test]
fn a_line_that_is_not_understood_is_an_error_and_not_skipped() {
    let good = "36 35 98:0 / /a rw - ext4 /dev/root rw\n";
    for bad in [
        "36 35 98:0 / /a rw ext4 /dev/root rw",
        "36 35 98 / /a rw - ext4 /dev/root rw",
        "x 35 98:0 / /a rw - ext4 /dev/root rw",
        "36 35 98:0 / /a rw - ext4",
        "36 35 98:0 / /a rw - ext4 /dev/root rw more",
    ] {
        let error = parse(format!("{good}{bad}\n").as_bytes()).unwrap_err();
        assert!(matches!(error, MountError::Line { line: 2, .. }), "{error}");
    }
}
