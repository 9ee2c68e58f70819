//! What the person reads: chapters, steps with their times, and a table at the end.

use std::time::Duration;

use tokio::time::Instant;

/// The demo as told so far.
pub(crate) struct Story {
    began: Instant,
    last: Instant,
    rows: Vec<(String, Duration)>,
}

impl Story {
    pub(crate) fn begin() -> Self {
        let began = Instant::now();
        Self {
            began,
            last: began,
            rows: Vec::new(),
        }
    }

    /// Opens a chapter.
    pub(crate) fn chapter(&mut self, title: &str) {
        println!("\n{title}");
        self.last = Instant::now();
    }

    /// Tells what has just been shown, with the time since the last step.
    pub(crate) fn step(&mut self, text: &str) {
        let took = self.last.elapsed();
        self.last = Instant::now();
        println!("  {:>6.2} s  {text}", took.as_secs_f64());
        self.rows.push((text.to_owned(), took));
    }

    /// Tells something that belongs to the last step.
    pub(crate) fn detail(text: &str) {
        for line in text.lines() {
            println!("            {line}");
        }
    }

    /// The table of all that was shown.
    pub(crate) fn end(self) {
        println!("\nShown:");
        for (text, took) in &self.rows {
            println!("  {:>7.2} s | {text}", took.as_secs_f64());
        }
        println!("  {:>7.2} s | in all", self.began.elapsed().as_secs_f64());
    }
}
