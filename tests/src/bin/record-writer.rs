//! A program of a test's pod: `record-writer FILE`.
//!
//! Writes numbered records into a file or device that exists, each down to the device before the
//! next, until there is a file `/run/stop`. A line for each says how many there are and when, by
//! the clock; or `error` and when, and the same record is tried again. It opens the file anew each
//! time, as a program does that was told of an error.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rds_csi_tests::record::{SIZE, record};

const STOP: &str = "/run/stop";
/// Between two records: a test has many writers on few processors.
const PAUSE: Duration = Duration::from_millis(20);
const AFTER_ERROR: Duration = Duration::from_millis(120);

fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1);
    let file = file.context("usage: record-writer FILE")?;
    let mut written = 0;
    while !Path::new(STOP).exists() {
        let pause = if write(Path::new(&file), written).is_ok() {
            written += 1;
            say(&written.to_string())?;
            PAUSE
        } else {
            say("error")?;
            AFTER_ERROR
        };
        std::thread::sleep(pause);
    }
    Ok(())
}

/// A file that were made where the volume is not mounted would be no record.
fn write(path: &Path, number: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&record(number), (number * SIZE) as u64)?;
    file.sync_all()
}

fn say(what: &str) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    writeln!(io::stdout(), "{what} {:.6}", now.as_secs_f64())?;
    Ok(())
}
