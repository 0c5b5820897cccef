//! What a developer reads on the terminal: what is being done, and when all runs, where everything is
//! and what to try first.

use std::io::{Write, stderr, stdout};

use comfy_table::{ContentArrangement, Table, presets};
use identity_core::failure::Failure;

/// The widest that a table gets.
const WIDTH: u16 = 100;

/// Ends the report of a launcher in the background: what it wrote until then is for the terminal.
pub const END: u8 = 0;

/// One thing of the table: what it is, and lines about it, each with a word for what it says.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    pub lines: Vec<(&'static str, String)>,
}

/// Prints a line. That nobody reads it any more is no reason to end.
pub fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
}

/// Prints why the launcher ends.
pub fn complain(failure: &Failure) {
    tracing::error!(%failure, "the launcher ends");
    let _ = writeln!(stderr(), "cargo dev: {failure}");
}

/// Tells whoever started us in the background that all is ready.
pub fn end() {
    let _ = stdout().write_all(&[END]).and_then(|()| stdout().flush());
}

/// The entries as a table.
pub fn table(entries: &[Entry]) -> String {
    let words = entries
        .iter()
        .flat_map(|entry| &entry.lines)
        .map(|(word, _)| word.len());
    let indent = words.max().unwrap_or_default();
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    for Entry { name, lines } in entries {
        let lines = lines.iter().map(|(word, text)| format!("{word:indent$}  {text}"));
        table.add_row([(*name).to_owned(), lines.collect::<Vec<_>>().join("\n")]);
    }
    table.trim_fmt()
}
