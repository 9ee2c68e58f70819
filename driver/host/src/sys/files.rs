//! Reads what the kernel shows as files: attributes of sysfs and tables of procfs.
//!
//! The size in their metadata means nothing, so none is asked for: an attribute is
//! opened, read once and closed. Staging a volume reads some dozens.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most that an attribute holds (Linux' Documentation/filesystems/sysfs.rst).
const PAGE: usize = 4096;

/// A table is read in pieces of this size.
const PIECE: usize = 16 * 1024;

/// An attribute without its line end. The kernel makes all of it at the first read; one
/// that does not fit is an error and never half an answer.
pub(crate) fn attribute(path: &Path) -> io::Result<String> {
    let mut page = [0; PAGE + 1];
    let length = File::open(path)?.read(&mut page)?;
    match page.get(..length) {
        Some(text) if length <= PAGE => Ok(String::from_utf8_lossy(text).trim().to_owned()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is longer than a page",
        )),
    }
}

/// A table up to its end, and no more than one byte beyond the limit.
pub(crate) fn table(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut table = Vec::with_capacity(PIECE);
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut table)?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_attribute_is_one_read_and_never_half_of_a_text() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("state");
        for (text, expected) in [("live\n", "live"), ("", ""), (" a b \n\n", "a b")] {
            fs::write(&path, text).unwrap();
            assert_eq!(attribute(&path).unwrap(), expected);
        }
        fs::write(&path, "x".repeat(PAGE)).unwrap();
        assert_eq!(attribute(&path).unwrap().len(), PAGE);
        fs::write(&path, "x".repeat(PAGE + 1)).unwrap();
        assert!(attribute(&path).is_err());
        fs::remove_file(&path).unwrap();
        let gone = attribute(&path).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_table_is_read_to_its_end_and_shows_when_it_is_over_the_limit() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("mountinfo");
        let text = "0123456789".repeat(PIECE / 4);
        fs::write(&path, &text).unwrap();
        assert_eq!(table(&path, 1 << 20).unwrap(), text.as_bytes());
        assert_eq!(table(&path, 99).unwrap().len(), 100);
    }
}
