//! Image archives of static programs, for what a cluster needs and no registry gives:
//! the pause container, a shell, the CSI sidecars.
//!
//! One layer without any history, in the form that `docker save` writes and containerd
//! imports. The same input gives the same archive.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// An image to be.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name with its tag.
    pub name: String,
    /// The command and its first arguments.
    pub entrypoint: Vec<String>,
    /// Programs: where they are and where they go.
    pub programs: Vec<(PathBuf, String)>,
    /// Symbolic links: what they say and where they lie.
    pub links: Vec<(String, String)>,
}

impl Image {
    /// An image that holds one static program in its root directory and runs it.
    #[must_use]
    pub fn of_program(name: &str, program: &Path) -> Self {
        let target = program.file_name().unwrap_or_default().to_string_lossy();
        Self {
            name: name.to_owned(),
            entrypoint: vec![format!("/{target}")],
            programs: vec![(program.to_owned(), target.into_owned())],
            links: Vec::new(),
        }
    }

    /// Writes the archive; nobody sees it half written.
    ///
    /// # Errors
    /// A program cannot be read, or the archive cannot be written.
    pub fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let part = archive.with_extension("part");
        let layer = self.layer()?;
        let digest = digest(&layer);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
            "history": [{}],
        })
        .to_string();
        let config_name = format!("{}.json", self::digest(config.as_bytes()));
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [self.name],
            "Layers": ["layer.tar"],
        }])
        .to_string();
        let file = File::create(&part).with_context(|| format!("making {}", part.display()))?;
        let mut tar = Builder::new(file);
        for (name, content) in [
            (config_name.as_str(), config.as_bytes()),
            ("layer.tar", &layer),
            ("manifest.json", manifest.as_bytes()),
        ] {
            add_file(&mut tar, name, content).with_context(|| format!("writing {name}"))?;
        }
        tar.into_inner().context("writing the archive")?;
        fs::rename(&part, archive).with_context(|| format!("writing {}", archive.display()))
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (name, mode) in [
            ("bin/", 0o755),
            ("dev/", 0o755),
            ("etc/", 0o755),
            ("proc/", 0o755),
            ("sys/", 0o755),
            ("tmp/", 0o1777),
        ] {
            let mut header = header(EntryType::Directory, mode, 0);
            tar.append_data(&mut header, name, std::io::empty())?;
        }
        for (source, target) in &self.programs {
            let content =
                fs::read(source).with_context(|| format!("reading {}", source.display()))?;
            ensure!(
                !is_dynamic(&content),
                "{} needs libraries",
                source.display()
            );
            add_file(&mut tar, target, &content)
                .with_context(|| format!("adding {}", source.display()))?;
        }
        for (text, target) in &self.links {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, target, text)?;
        }
        tar.into_inner().context("making the layer")
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a program names an interpreter for its libraries.
fn is_dynamic(program: &[u8]) -> bool {
    let name = b"/ld-linux";
    program
        .get(..4096)
        .unwrap_or(program)
        .windows(name.len())
        .any(|window| window == name)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add_file(tar: &mut Builder<impl Write>, name: &str, content: &[u8]) -> std::io::Result<()> {
    tar.append_data(
        &mut header(EntryType::Regular, 0o755, content.len()),
        name,
        content,
    )
}
