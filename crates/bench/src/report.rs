//! The rows: what was measured, the floor beside it, their ratio and what it should be.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{Table, presets};
use identity_core::failure::Failure;

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At least this much of the floor.
    AtLeast(f64),
    /// At most this much of the floor.
    AtMost(f64),
}

/// One row.
#[derive(Debug)]
struct Row {
    name: String,
    measured: String,
    floor: String,
    ratio: f64,
    target: Target,
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// How much.
    pub value: f64,
    /// Of what, as "/s" or "ms".
    pub unit: &'static str,
}

/// All rows of a run.
#[derive(Debug)]
pub struct Report {
    only: Vec<String>,
    seconds: u64,
    rows: Vec<Row>,
}

impl Report {
    /// An empty one, for rows whose name contains one of `only`; for all where that is empty.
    pub fn new(only: Vec<String>, seconds: u64) -> Self {
        Self {
            only,
            seconds,
            rows: Vec::new(),
        }
    }

    /// Whether the row `name`, or one whose name begins with it, is asked for.
    pub fn wants(&self, name: &str) -> bool {
        let asked = |only: &String| name.contains(only.as_str()) || only.starts_with(name);
        self.only.is_empty() || self.only.iter().any(asked)
    }

    /// Adds a row, and says it at once.
    pub fn add(&mut self, name: &str, measured: Figure, floor: (Figure, &str), target: Target) {
        let (floor, what) = floor;
        let row = Row {
            name: name.to_owned(),
            measured: measured.text(),
            floor: format!("{} {what}", floor.text()).trim().to_owned(),
            ratio: measured.value / floor.value,
            target,
        };
        eprintln!(
            "{name}: {} / {} = {:.2}, {}",
            row.measured,
            row.floor,
            row.ratio,
            row.verdict()
        );
        self.rows.push(row);
    }

    /// The table, for a terminal.
    #[expect(clippy::print_stdout, reason = "it is what the program is for")]
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "row",
            "measured",
            "floor of the same run",
            "ratio",
            "to reach",
            "",
        ]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        println!("{}", table.trim_fmt());
    }

    /// Writes the page of the docs.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut page = format!(
            "# Benchmarks\n\n\
             Written by `cargo bench-services --seconds {} --write`, on {cores} cores that the services, Postgres and the\n\
             load generator share. Machines differ, so what counts is the ratio of each figure to the floor beside it,\n\
             which was measured in the same run. How it is measured stands in `crates/bench`; it needs `wrk` and\n\
             Postgres' `pgbench`.\n\n\
             | row | measured | floor of the same run | ratio | to reach | |\n\
             | --- | --- | --- | --- | --- | --- |\n",
            self.seconds
        );
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| {} |", row.cells().join(" | "));
        }
        page.push_str(
            "\nLists of idm-users' subjects are measured by a script of its own, one client at a time: see\n\
             [idm-users.md](idm-users.md#speed).\n",
        );
        std::fs::write(path, page).map_err(|error| Failure::because("writing docs/benchmarks.md", error))
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let target = match self.target {
            Target::AtLeast(ratio) => format!("≥ {ratio}"),
            Target::AtMost(ratio) => format!("≤ {ratio}"),
        };
        [
            self.name.clone(),
            self.measured.clone(),
            self.floor.clone(),
            format!("{:.2}", self.ratio),
            target,
            self.verdict().to_owned(),
        ]
    }

    fn verdict(&self) -> &'static str {
        let reached = match self.target {
            Target::AtLeast(ratio) => self.ratio >= ratio,
            Target::AtMost(ratio) => self.ratio <= ratio,
        };
        if reached { "reached" } else { "missed" }
    }
}

impl Figure {
    /// So many a second.
    pub fn per_second(value: f64) -> Self {
        Self { value, unit: "/s" }
    }

    /// A time.
    pub fn milliseconds(value: f64) -> Self {
        Self { value, unit: " ms" }
    }

    /// A size.
    pub fn mebibytes(value: f64) -> Self {
        Self { value, unit: " MiB" }
    }

    fn text(self) -> String {
        let digits = usize::from(self.value < 100.0);
        format!("{:.*}{}", digits, self.value, self.unit)
    }
}
