//! The API server's audit log, which has everything that anybody asked since the cluster
//! was started.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

/// A reader of the log that goes on where it ended: whoever waits for a line does not read
/// hundreds of megabytes again and again.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
    read: u64,
}

impl AuditLog {
    /// The log from its first line on.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Passes over everything that is there now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn skip(&mut self) -> anyhow::Result<()> {
        self.lines(|_| Ok(()))
    }

    /// What `pick` takes from the lines that came since the last call and have this text in
    /// them; others are not even parsed.
    ///
    /// # Errors
    /// The log cannot be read, or has a line that is no JSON.
    pub fn pick<T>(
        &mut self,
        text: &str,
        mut pick: impl FnMut(&Value) -> Option<T>,
    ) -> anyhow::Result<Vec<T>> {
        let mut picked = Vec::new();
        self.lines(|line| {
            if line.contains(text) {
                let line = serde_json::from_str(line)?;
                picked.extend(pick(&line));
            }
            Ok(())
        })?;
        Ok(picked)
    }

    /// Goes through the whole lines that came since the last call.
    fn lines(&mut self, mut each: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let path = self.path.display().to_string();
        let reading = || format!("reading {path}");
        let mut file = File::open(&self.path).with_context(reading)?;
        file.seek(SeekFrom::Start(self.read))
            .with_context(reading)?;
        let (mut file, mut line) = (BufReader::new(file), String::new());
        // The last line may be half written: it is read next time.
        while file.read_line(&mut line).with_context(reading)? > 0 && line.ends_with('\n') {
            self.read += line.len() as u64;
            each(&line).with_context(|| format!("of the audit log: {line}"))?;
            line.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(text: &str) -> (tempfile::NamedTempFile, AuditLog) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let log = AuditLog::new(file.path().to_owned());
        (file, log)
    }

    fn verb(line: &Value) -> Option<String> {
        line["verb"].as_str().map(str::to_owned)
    }

    #[test]
    fn each_whole_line_is_read_once() {
        let (mut file, mut log) = log("{\"verb\":\"get\"}\n{\"verb\":\"list\"}\n{\"verb\"");
        assert_eq!(log.pick("verb", verb).unwrap(), ["get", "list"]);
        assert_eq!(log.pick("verb", verb).unwrap(), [""; 0]);
        file.write_all(b":\"watch\"}\n").unwrap();
        assert_eq!(log.pick("verb", verb).unwrap(), ["watch"]);
    }

    #[test]
    fn lines_without_the_text_and_those_passed_over_are_not_taken() {
        let (mut file, mut log) = log("{\"verb\":\"get\"}\n");
        log.skip().unwrap();
        file.write_all(b"{\"verb\":\"list\"}\n{\"verb\":\"watch\"}\n")
            .unwrap();
        assert_eq!(log.pick("list", verb).unwrap(), ["list"]);
    }
}
