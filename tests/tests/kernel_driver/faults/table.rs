//! What a run of faults prints.

use super::writer::Writer;

pub(super) struct Table {
    title: &'static str,
    rows: Vec<String>,
}

impl Table {
    pub(super) fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, fault: &str, writer: &Writer, resumed: f64, errors: usize) {
        self.rows.push(format!(
            "{fault:<42} {:<12} {resumed:>6.2} s {errors:>6} errors {:>8} records",
            writer.name(),
            writer.times().len()
        ));
    }

    pub(super) fn verified(&mut self, volume: &str, bytes: usize) {
        self.rows.push(format!(
            "{:<42} {volume:<12} {bytes} bytes verified",
            "read back"
        ));
    }

    #[expect(clippy::print_stdout, reason = "the table is for people")]
    pub(super) fn print(&self) {
        println!(
            "fault ({}), volume, time to I/O, errors seen by the writer, records so far",
            self.title
        );
        for row in &self.rows {
            println!("{row}");
        }
    }
}
