//! `idm-users subjects`: exports them.

use std::io::Write;

use identity_core::db::Database;
use identity_core::failure::Failure;
use serde_json::Value;

use super::model::{DATES, Subject};
use super::store;

/// How many subjects are read at once.
const AT_ONCE: i64 = 1_000;

/// What an operator does with subjects.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SubjectsCommand {
    /// Write all subjects to standard output, ordered by SSSID
    Export {
        /// The form
        #[arg(long, value_enum, default_value_t = Format::Ndjson)]
        format: Format,
    },
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object a line
    Ndjson,
    /// RFC 4180, with a line of names; members that are not ours as JSON in the column `other`
    Csv,
}

/// Does what was asked.
///
/// # Errors
/// [`Failure::Other`] when Postgres refuses, or nobody reads what is written.
pub async fn run(command: SubjectsCommand, database: &Database) -> Result<(), Failure> {
    let SubjectsCommand::Export { format } = command;
    let reading = |error| Failure::because("reading the subjects", error);
    let writing = |error: std::io::Error| Failure::because("writing the subjects", error);
    let client = database.client().await.map_err(reading)?;
    let mut output = Output::new(format).map_err(writing)?;
    let mut last = String::new();
    loop {
        let subjects = store::list_after(&client, &last, AT_ONCE)
            .await
            .map_err(reading)?;
        let Some(end) = subjects.last() else {
            return output.finish().map_err(writing);
        };
        last.clone_from(&end.sssid);
        for subject in &subjects {
            output.write(subject).map_err(writing)?;
        }
    }
}

enum Output {
    Ndjson(std::io::BufWriter<std::io::Stdout>),
    Csv(Box<csv::Writer<std::io::Stdout>>),
}

const COLUMNS: [&str; 11] = [
    "sssid",
    "name",
    "bday",
    "email",
    "date_invited",
    "date_consented",
    "date_enrolled",
    "date_withdrawn",
    "created",
    "changed",
    "other",
];

impl Output {
    fn new(format: Format) -> std::io::Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson(std::io::BufWriter::new(std::io::stdout())),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(std::io::stdout());
                writer.write_record(COLUMNS)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn write(&mut self, subject: &Subject) -> std::io::Result<()> {
        match self {
            Self::Ndjson(output) => writeln!(output, "{}", subject.document()),
            Self::Csv(writer) => Ok(writer.write_record(record(subject))?),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Ndjson(mut output) => output.flush(),
            Self::Csv(mut writer) => writer.flush(),
        }
    }
}

fn record(subject: &Subject) -> Vec<String> {
    let document = subject.document();
    let text = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut record: Vec<String> = ["sssid", "name", "bday", "email"].map(text).into();
    record.extend(DATES.map(text));
    record.extend(["created", "changed"].map(text));
    record.push(if subject.extra.is_empty() {
        String::new()
    } else {
        Value::Object(subject.extra.clone()).to_string()
    });
    record
}
