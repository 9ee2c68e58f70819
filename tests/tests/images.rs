//! The images as `hack/image` built them: what is in them, and that it works in there.
//! They are read from the archives and entered by chroot, never by a container engine.
#![expect(clippy::unwrap_used, reason = "all of this is test code")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use rds_csi_host::command::NODE;
use serde_json::Value;
use tempfile::TempDir;

/// An image with its layers laid over one another.
struct Image {
    config: Value,
    root: PathBuf,
    _directory: TempDir,
}

impl Image {
    /// Takes the archive of this name from where `RDS_CSI_IMAGES` says.
    fn open(name: &str) -> Self {
        let archive = Path::new(&std::env::var("RDS_CSI_IMAGES").unwrap()).join(name);
        let directory = tempfile::tempdir().unwrap();
        let (layout, root) = (
            directory.path().join("layout"),
            directory.path().join("root"),
        );
        unpack(&archive, &layout);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            layout.join("blobs").join(digest.replace(':', "/"))
        };
        let json =
            |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let index = json(layout.join("index.json"));
        let manifest = json(blob(&index["manifests"][0]));
        for layer in manifest["layers"].as_array().unwrap() {
            unpack(&blob(layer), &root);
        }
        Self {
            config: json(blob(&manifest["config"]))["config"].clone(),
            root,
            _directory: directory,
        }
    }

    fn driver() -> Self {
        Self::open("rds-csi-driver.tar")
    }

    fn webhook() -> Self {
        Self::open("rds-csi-webhook.tar")
    }

    /// Runs a program of the image where nothing but the image is, and /proc.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let script =
            r#"mkdir -p "$0/proc" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#;
        // The mount goes with the namespace, and that with the program.
        let mut command = command("unshare");
        command.args(["--mount", "sh", "-c", script]);
        command.arg(&self.root).arg(program).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin");
        command.output().unwrap()
    }

    /// [`Image::run`], where it must succeed; gives what was printed.
    fn succeed(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An empty file of that many MiB, by its path in the image.
    fn file(&self, mebibytes: u64) -> &'static str {
        let file = fs::File::create(self.root.join("tmp/volume")).unwrap();
        file.set_len(mebibytes * 1024 * 1024).unwrap();
        "/tmp/volume"
    }

    /// Every path in it that is no directory.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut left = vec![self.root.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    left.push(entry.path());
                } else {
                    found.insert(entry.path().strip_prefix(&self.root).unwrap().to_owned());
                }
            }
        }
        found
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "programs of this machine and of the images, each ended by its own end"
)]
fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

fn unpack(archive: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let mut tar = command("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(into);
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{archive:?}: {output:?}");
}

#[test]
fn the_driver_image_runs_every_program_that_the_node_role_names() {
    let image = Image::driver();
    for program in NODE {
        let output = image.run(program.name(), &["-V"]);
        // resize2fs says its version only while it refuses the option.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said
            .split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .any(|word| word.contains('.') && word.split('.').all(|part| !part.is_empty()));
        assert!(version, "{}: {} {said}", program.name(), output.status);
    }
}

#[test]
fn the_driver_image_makes_recognises_and_grows_ext4() {
    let image = Image::driver();
    let file = image.file(64);
    image.succeed("mkfs.ext4", &["-q", file]);
    assert!(image.succeed("dumpe2fs", &["-h", file]).contains("64bit"));
    let found = image.succeed("blkid", &["-p", "-o", "value", "-s", "TYPE", file]);
    assert_eq!(found.trim(), "ext4");
    let grown = fs::File::options()
        .write(true)
        .open(image.root.join("tmp/volume"));
    grown.unwrap().set_len(128 * 1024 * 1024).unwrap();
    image.succeed("resize2fs", &[file]);
    image.succeed("fsck.ext4", &["-fn", file]);
}

#[test]
fn the_driver_image_makes_recognises_and_repairs_xfs() {
    let image = Image::driver();
    let file = image.file(320);
    image.succeed("mkfs.xfs", &["-q", file]);
    let found = image.succeed("blkid", &["-p", "-o", "value", "-s", "TYPE", file]);
    assert_eq!(found.trim(), "xfs");
    image.succeed("xfs_repair", &["-n", file]);
}

#[test]
fn the_driver_image_has_no_shell_and_nothing_that_changes_user() {
    let image = Image::driver();
    for file in image.files() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(!["sh", "bash", "dash", "apt", "dpkg", "python3", "perl"].contains(&name));
        let mode = fs::symlink_metadata(image.root.join(&file))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o6000, 0, "{file:?}");
    }
}

#[test]
fn the_driver_image_names_the_packages_it_is_made_of() {
    let image = Image::driver();
    let status = fs::read_to_string(image.root.join("var/lib/dpkg/status")).unwrap();
    for package in ["e2fsprogs", "libc6", "util-linux", "xfsprogs"] {
        assert!(status.contains(&format!(
            "Package: {package}\nStatus: install ok installed\n"
        )));
        let licence = format!("usr/share/doc/{package}/copyright");
        assert!(image.root.join(licence).is_file(), "{package}");
    }
}

#[test]
fn the_webhook_image_has_its_program_its_licence_and_nothing_else() {
    let files = Image::webhook().files();
    let expected = [
        "usr/local/bin/rds-csi-webhook",
        "usr/share/doc/rds-csi/LICENSE",
    ];
    assert_eq!(files, expected.map(PathBuf::from).into());
}

#[test]
fn the_programs_of_both_run_alone_and_know_no_path_of_the_machine_they_were_built_on() {
    let cargo = std::env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (image, user) in [(Image::driver(), "0:0"), (Image::webhook(), "65532:65532")] {
        let program = image.config["Entrypoint"][0].as_str().unwrap();
        assert_eq!(image.config["User"], user, "{program}");
        assert_eq!(
            image.succeed(program, &["--version"]).trim(),
            format!(
                "{} {}",
                program.rsplit('/').next().unwrap(),
                env!("CARGO_PKG_VERSION")
            )
        );
        let bytes = fs::read(image.root.join(&program[1..])).unwrap();
        for path in [cargo.as_bytes(), workspace.to_str().unwrap().as_bytes()] {
            let found = bytes.windows(path.len()).find(|window| *window == path);
            assert!(
                found.is_none(),
                "{program}: {}",
                String::from_utf8_lossy(path)
            );
        }
    }
}

#[test]
fn the_labels_say_source_licence_version_and_revision() {
    for image in [Image::driver(), Image::webhook()] {
        let label = |name: &str| {
            let labels = &image.config["Labels"];
            labels[format!("org.opencontainers.image.{name}")]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(label("licenses"), "Apache-2.0");
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert!(label("source").starts_with("https://"));
        assert!(!label("revision").is_empty());
        assert!(image.root.join("usr/share/doc/rds-csi/LICENSE").is_file());
    }
}
