//! The rows: what was measured, the floor beside it, their ratio and what it should be.

use std::fmt::Write;

use comfy_table::{Table, presets};
use identity_core::failure::Failure;

use crate::rounds::Compared;

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At least this much of the floor.
    AtLeast(f64),
    /// At most this much of the floor.
    AtMost(f64),
    /// Nothing: it is only shown.
    Nothing,
}

/// One row.
#[derive(Debug)]
struct Row {
    name: String,
    measured: String,
    floor: String,
    ratio: f64,
    /// The ratios of the slowest and the fastest round, where there were rounds.
    spread: Option<(f64, f64)>,
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
    rows: Vec<Row>,
    failures: Vec<String>,
}

const COLUMNS: [&str; 6] = [
    "row",
    "measured",
    "floor of the same run",
    "ratio (of the rounds)",
    "to reach",
    "",
];

impl Report {
    /// An empty one, for rows whose name contains one of `only`; for all where that is empty.
    pub fn new(only: Vec<String>) -> Self {
        Self {
            only,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Whether the row `name`, or one whose name begins with it, is asked for.
    pub fn wants(&self, name: &str) -> bool {
        let asked = |only: &String| name.contains(only.as_str()) || only.starts_with(name);
        self.only.is_empty() || self.only.iter().any(asked)
    }

    /// Whether one of the rows is asked for.
    pub fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    /// Adds a row of one figure and its floor, and says it at once.
    pub fn add(&mut self, name: &str, measured: Figure, floor: (Figure, &str), target: Target) {
        let (floor, what) = floor;
        self.push(Row {
            name: name.to_owned(),
            measured: measured.text(),
            floor: format!("{} {what}", floor.text()).trim().to_owned(),
            ratio: measured.value / floor.value,
            spread: None,
            target,
        });
    }

    /// Adds a row that was measured in rounds, both figures being so many `of` something; says it at once.
    pub fn compared(
        &mut self,
        name: &str,
        of: fn(f64) -> Figure,
        compared: &Compared,
        floor: &str,
        target: Target,
    ) {
        self.push(Row {
            name: name.to_owned(),
            measured: of(compared.measured).text(),
            floor: format!("{} {floor}", of(compared.floor).text()),
            ratio: compared.ratio,
            spread: Some(compared.spread),
            target,
        });
    }

    fn push(&mut self, row: Row) {
        let cells = row.cells();
        eprintln!(
            "{}: {} / {} = {}, {}",
            row.name,
            row.measured,
            row.floor,
            row.ratio(),
            cells.last().map_or("", String::as_str),
        );
        self.rows.push(row);
    }

    /// Keeps, and says at once, why rows are missing.
    pub fn note_failure(&mut self, measured: Result<(), Failure>) {
        if let Err(failure) = measured {
            eprintln!("rows are missing: {failure}");
            self.failures.push(failure.to_string());
        }
    }

    /// Why rows are missing.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The first of these as the program's.
    pub fn into_result(self) -> Result<(), Failure> {
        let failure = self.failures.into_iter().next();
        failure.map_or(Ok(()), |failure| Err(Failure::Other(failure)))
    }

    /// The table, for a terminal.
    #[expect(clippy::print_stdout, reason = "it is what the program is for")]
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(COLUMNS);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        println!("{}", table.trim_fmt());
    }

    /// The table in Markdown, of the rows for whose names `of` holds.
    pub fn markdown(&self, of: impl Fn(&str) -> bool) -> String {
        let mut table = format!(
            "| {} |\n|{}\n",
            COLUMNS.join(" | "),
            " --- |".repeat(COLUMNS.len())
        );
        for row in self.rows.iter().filter(|row| of(&row.name)) {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {} |", row.cells().join(" | "));
        }
        table
    }

    /// How many rows there are for whose names `of` holds.
    pub fn count(&self, of: impl Fn(&str) -> bool) -> usize {
        self.rows.iter().filter(|row| of(&row.name)).count()
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let target = match self.target {
            Target::AtLeast(ratio) => format!("≥ {ratio}"),
            Target::AtMost(ratio) => format!("≤ {ratio}"),
            Target::Nothing => "–".to_owned(),
        };
        [
            self.name.clone(),
            self.measured.clone(),
            self.floor.clone(),
            self.ratio(),
            target,
            self.verdict().to_owned(),
        ]
    }

    fn ratio(&self) -> String {
        match self.spread {
            Some((least, most)) => format!("{:.2} ({least:.2}–{most:.2})", self.ratio),
            None => format!("{:.2}", self.ratio),
        }
    }

    fn verdict(&self) -> &'static str {
        let reached = match self.target {
            Target::AtLeast(ratio) => self.ratio >= ratio,
            Target::AtMost(ratio) => self.ratio <= ratio,
            Target::Nothing => return "shown",
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

    /// A longer time.
    pub fn seconds(value: f64) -> Self {
        Self { value, unit: " s" }
    }

    /// A still longer time.
    pub fn minutes(value: f64) -> Self {
        Self { value, unit: " min" }
    }

    /// A size.
    pub fn mebibytes(value: f64) -> Self {
        Self { value, unit: " MiB" }
    }

    /// How often something happened.
    pub fn times(value: f64) -> Self {
        Self { value, unit: "" }
    }

    fn text(self) -> String {
        let digits = match self.value {
            _ if self.unit.is_empty() => 0,
            value if value < 1.0 => 3,
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        format!("{:.*}{}", digits, self.value, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_reached_and_how_far_the_rounds_were_apart() {
        let mut report = Report::new(Vec::new());
        let compared = Compared {
            measured: 650.0,
            floor: 1000.0,
            ratio: 0.65,
            spread: (0.6, 0.7),
        };
        report.compared("a", Figure::per_second, &compared, "floor", Target::AtLeast(0.65));
        report.add(
            "b",
            Figure::milliseconds(1.5),
            (Figure::milliseconds(1.0), ""),
            Target::AtMost(1.0),
        );
        let table = report.markdown(|_| true);
        assert!(
            table.contains("| a | 650/s | 1000/s floor | 0.65 (0.60–0.70) | ≥ 0.65 | reached |"),
            "{table}"
        );
        assert!(
            table.contains("| b | 1.50 ms | 1.00 ms | 1.50 | ≤ 1 | missed |"),
            "{table}"
        );
    }

    #[test]
    fn rows_are_chosen_by_a_part_of_their_name() {
        let report = Report::new(vec!["POST /auth".to_owned()]);
        assert!(report.wants("ident POST /auth/login"));
        assert!(!report.wants("ident POST /"));
        assert!(report.wants_any(&["ident GET /{id}", "ident POST /auth/token"]));
    }
}
