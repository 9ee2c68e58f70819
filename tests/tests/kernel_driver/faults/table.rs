//! What a run of faults prints, and leaves for `hack/test` to print in one.

use std::fs::OpenOptions;
use std::io::Write as _;

use rds_csi_tests::record::SIZE;

use super::writer::Writer;

/// A file to which every row is appended, in the environment.
const FILE: &str = "RDS_CSI_FAULTS";

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    fault: String,
    volume: String,
    multipath: bool,
    resumed: f64,
    errors: usize,
    /// How many records the volume had then.
    records: usize,
    /// How many bytes of the records that were written since the row before were compared.
    verified: Option<usize>,
}

impl Table {
    /// A writer went on so long after the end of a fault; NaN if it must not have.
    pub(super) fn row(&mut self, fault: &str, writer: &Writer, resumed: f64, errors: usize) {
        self.rows.push(Row {
            fault: fault.to_owned(),
            volume: writer.name().to_owned(),
            multipath: writer.multipath,
            resumed,
            errors,
            records: writer.times().len(),
            verified: None,
        });
    }

    /// So many bytes of a volume's records were compared: all that were written.
    pub(super) fn verified(&mut self, volume: &str, bytes: usize) {
        let mut of_it: Vec<_> = self.rows.iter_mut().collect();
        of_it.retain(|row| row.volume == volume);
        let mut before = 0;
        let last = of_it.len().saturating_sub(1);
        for (number, row) in of_it.into_iter().enumerate() {
            // What was written after the last fault is that one's.
            let end = if number == last {
                bytes
            } else {
                row.records * SIZE
            };
            row.verified = Some(end - before);
            before = end;
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let result = match self.errors {
            _ if self.resumed.is_nan() => "refused",
            0 => "waited",
            _ => "opened again",
        };
        let verified = self.verified.map_or("none".to_owned(), |n| n.to_string());
        [
            self.fault.clone(),
            self.volume.clone(),
            if self.multipath { "on" } else { "off" }.to_owned(),
            result.to_owned(),
            match self.resumed.is_nan() {
                true => "none".to_owned(),
                false => format!("{:.2} s", self.resumed),
            },
            self.errors.to_string(),
            verified,
        ]
    }
}

/// Of a test that fails too.
impl Drop for Table {
    #[expect(clippy::print_stdout, reason = "the table is for people")]
    fn drop(&mut self) {
        println!(
            "fault, volume, multipath, result, time to I/O, errors seen by the writer, bytes verified"
        );
        let mut lines = String::new();
        for row in &self.rows {
            let [fault, rest @ ..] = row.cells();
            lines.push_str(&format!("{fault}\t{}\n", rest.join("\t")));
            println!(
                "{fault:<44} {}",
                rest.map(|cell| format!("{cell:>12}")).join(" ")
            );
        }
        if let Some(file) = std::env::var_os(FILE) {
            let file = OpenOptions::new().append(true).create(true).open(file);
            // Whole lines at once: several tests append.
            file.and_then(|mut file| file.write_all(lines.as_bytes()))
                .ok();
        }
    }
}
