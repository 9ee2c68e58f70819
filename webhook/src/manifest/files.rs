//! Which files to read, and their text.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Unreadable;

/// Larger manifests are a mistake: etcd stores 1.5 MiB of one object.
const LARGEST_FILE: u64 = 64 << 20;
/// How deep directories may lie in directories.
const DIRECTORY_DEPTH: u32 = 32;

/// Something with documents in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    /// Whether the text is JSON: by its name, or by its first character.
    #[must_use]
    pub fn is_json(&self, text: &str) -> bool {
        match self {
            Self::File(path) => path
                .extension()
                .is_some_and(|extension| extension == "json"),
            Self::Stdin => text.trim_start().starts_with('{'),
        }
    }

    /// The whole text.
    pub fn text(&self, stdin: &mut dyn Read) -> Result<String, Unreadable> {
        match self {
            Self::File(path) => File::open(path).and_then(|mut file| read(&mut file)),
            Self::Stdin => read(stdin),
        }
        .map_err(|error| unreadable(self.name(), &error))
    }
}

fn read(from: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    Ok(text)
}

fn unreadable(file: String, error: &io::Error) -> Unreadable {
    Unreadable {
        file,
        document: None,
        line: None,
        message: format!("cannot be read: {error}"),
    }
}

/// What to read for each path: a file that is named is read whatever its name; in
/// directories, manifests by their extension, sorted, hidden names left out. `-` is
/// standard input, once.
pub fn collect(paths: &[PathBuf], errors: &mut Vec<Unreadable>) -> Vec<Source> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if !sources.contains(&Source::Stdin) {
                sources.push(Source::Stdin);
            }
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let mut files = Vec::new();
                if let Err(error) = walk(path, DIRECTORY_DEPTH, &mut files) {
                    errors.push(unreadable(path.display().to_string(), &error));
                }
                sources.extend(files.into_iter().map(Source::File));
            }
            Ok(_) => sources.push(Source::File(path.clone())),
            Err(error) => errors.push(unreadable(path.display().to_string(), &error)),
        }
    }
    sources
}

fn walk(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("directories lie too deep in each other"));
    }
    let mut paths = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        // A link to a file is read, as mounted ConfigMaps need it; one to a directory is
        // not followed, so that no loop can be built.
        let is_link = fs::symlink_metadata(&path)?.is_symlink();
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() && !is_link {
            walk(&path, depth - 1, files)?;
        } else if metadata.is_file() && is_manifest(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}
