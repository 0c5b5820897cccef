//! `idm-users audit`: checks the chain, and exports it.

use std::io::Write;

use data_encoding::HEXLOWER;
use identity_core::db::Database;
use identity_core::failure::Failure;

use super::model::{BEGINNING, Row};
use super::store;

/// How many rows are read at once.
const AT_ONCE: i64 = 5_000;

/// What an operator does with the audit trail.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AuditCommand {
    /// Check that no row was changed, taken out or put in; names the first row that is broken
    Verify {
        /// A row's number and hash as an earlier check printed them: also checks that it is still
        /// there, which shows whether rows were cut off the end
        #[arg(long, value_name = "SEQ:HASH")]
        expect: Option<String>,
    },
    /// Write all rows to standard output
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
    /// RFC 4180, with a line of names
    Csv,
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Other`] for a broken chain, or when Postgres refuses.
pub async fn run(command: AuditCommand, database: &Database) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify { expect } => verify(database, expect.as_deref()).await,
        AuditCommand::Export { format } => export(database, format).await,
    }
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn verify(database: &Database, expect: Option<&str>) -> Result<(), Failure> {
    let expected = expect.map(parse_expected).transpose()?;
    let mut met = expected.is_none();
    let (mut seq, mut hash) = (0, BEGINNING.to_vec());
    let mut broken = None;
    each(database, |row| {
        if let Some(fault) = row.fault_after(seq, &hash) {
            broken = Some(Failure::Other(format!("row {} is broken: {fault}", row.seq)));
            return Ok(false);
        }
        met = met
            || expected
                .as_ref()
                .is_some_and(|(number, known)| (*number, known) == (row.seq, &row.hash));
        (seq, hash) = (row.seq, row.hash.clone());
        Ok(true)
    })
    .await?;
    if let Some(failure) = broken {
        return Err(failure);
    }
    if let Some((number, _)) = expected.filter(|_| !met) {
        return Err(Failure::Other(format!(
            "row {number} is broken: it is gone, or not the one that was expected"
        )));
    }
    println!(
        "{seq} rows, unbroken; the last is {seq}:{}",
        HEXLOWER.encode(&hash)
    );
    Ok(())
}

fn parse_expected(text: &str) -> Result<(i64, Vec<u8>), Failure> {
    let parse = || {
        let (seq, hash) = text.split_once(':')?;
        Some((seq.parse().ok()?, HEXLOWER.decode(hash.as_bytes()).ok()?))
    };
    parse().ok_or_else(|| {
        Failure::configuration(format!(
            "--expect: expected a row's number and hash, found `{text}`"
        ))
    })
}

async fn export(database: &Database, format: Format) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(format!("writing the audit trail: {error}"));
    let mut output = std::io::BufWriter::new(std::io::stdout());
    match format {
        Format::Ndjson => {
            each(database, |row| {
                let line = serde_json::to_string(&row.exported()).map_err(|error| failed(&error))?;
                writeln!(output, "{line}").map_err(|error| failed(&error))?;
                Ok(true)
            })
            .await?;
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(&mut output);
            each(database, |row| {
                writer.serialize(row.exported()).map_err(|error| failed(&error))?;
                Ok(true)
            })
            .await?;
            writer.flush().map_err(|error| failed(&error))?;
        }
    }
    output.flush().map_err(|error| failed(&error))
}

/// Calls `see` with each row in order, until it has seen enough.
async fn each(
    database: &Database,
    mut see: impl FnMut(&Row) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let reading = |error| Failure::because("reading the audit trail", error);
    let client = database.client().await.map_err(reading)?;
    let mut seq = i64::MIN;
    loop {
        let rows = store::list_after(&client, seq, AT_ONCE).await.map_err(reading)?;
        for row in &rows {
            if !see(row)? {
                return Ok(());
            }
            seq = row.seq;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}
