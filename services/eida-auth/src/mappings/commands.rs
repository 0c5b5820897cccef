//! `eida-auth mapping`: the mapping from and to CSV.

use std::fs::File;
use std::io::stdin;
use std::path::PathBuf;

use comfy_table::{Table, presets};
use identity_core::db::Error;
use identity_core::failure::Failure;

use super::model::{COLUMNS, read_csv};
use super::store;
use crate::databases::Databases;

/// What can be done with the mapping.
#[derive(Debug, clap::Subcommand)]
pub enum MappingCommand {
    /// Add the lines of a CSV file; nothing is added when one is bad
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// Take away what is not in the file
        #[arg(long)]
        replace: bool,
    },
    /// Write the mapping as CSV to standard output
    Export,
    /// Show the mapping as a table
    List,
}

/// Does what `command` says.
///
/// # Errors
/// [`Failure`] when the file has bad lines, all of which are named, or the database does not do it.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: MappingCommand, databases: &Databases) -> Result<(), Failure> {
    let failed = |error: Error| Failure::because("the mapping", error);
    let mut client = databases.auth.client().await.map_err(failed)?;
    let accounts = &databases.accounts;
    match command {
        MappingCommand::Import { file, replace } => {
            let read = if file.as_os_str() == "-" {
                read_csv(stdin().lock())
            } else {
                let opened = File::open(&file);
                read_csv(
                    opened
                        .map_err(|error| Failure::because(&format!("reading {}", file.display()), error))?,
                )
            };
            let mappings = read.map_err(|bad| {
                let lines = bad
                    .iter()
                    .map(|bad| format!("\n  line {}: {}", bad.line, bad.why));
                let lines: String = lines.collect();
                Failure::Other(format!("nothing was imported; {} bad lines:{lines}", bad.len()))
            })?;
            let transaction = client.transaction().await.map_err(|error| failed(error.into()))?;
            let added = store::import(&transaction, accounts, &mappings, replace)
                .await
                .map_err(failed)?;
            transaction.commit().await.map_err(|error| failed(error.into()))?;
            println!("{} lines read, {added} added", mappings.len());
        }
        MappingCommand::Export => {
            let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
            let writing = |error: csv::Error| Failure::because("writing the mapping", error);
            writer.write_record(COLUMNS).map_err(writing)?;
            for mapping in store::list(&client, accounts).await.map_err(failed)? {
                writer.write_record(mapping.fields()).map_err(writing)?;
            }
            writer
                .flush()
                .map_err(|error| Failure::because("writing the mapping", error))?;
        }
        MappingCommand::List => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(COLUMNS);
            for mapping in store::list(&client, accounts).await.map_err(failed)? {
                table.add_row(mapping.fields());
            }
            println!("{}", table.trim_fmt());
        }
    }
    Ok(())
}
