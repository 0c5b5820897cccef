//! What the commands `import` share, which take over the data of an original: the way into its database,
//! and the report of every row that was taken, was there already, or could not be taken.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use deadpool_postgres::Transaction;
use secrecy::SecretString;
use tokio_postgres::IsolationLevel;

use crate::config::{Postgres, read_file};
use crate::db::{Client, Database, Error, ErrorKind};
use crate::failure::Failure;

/// After how many rows the progress is told.
const TOLD_EVERY: u64 = 10_000;

/// Where an original's tables are.
#[derive(Debug, Clone, clap::Args)]
pub struct Original {
    /// The original's database, which is only read: postgresql://user@host:port/database, with sslmode and the
    /// like behind a question mark
    #[arg(long, value_name = "URL", required_unless_present = "from_file")]
    from: Option<SecretString>,
    /// A file with the URL, which other users of the machine then cannot see with its password
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    from_file: Option<PathBuf>,
    /// The schema of its tables
    #[arg(long, value_name = "NAME", default_value = "public")]
    schema: String,
}

impl Original {
    /// Opens it; `settings` are of our own database, and say how long to wait.
    ///
    /// # Errors
    /// As [`Database::open`], about `--from` and `--schema`.
    pub async fn open(&self, service: &str, settings: &Postgres) -> Result<Database, Failure> {
        let url = match (&self.from, &self.from_file) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => read_file("--from-file", file)?.trim().into(),
            (None, None) => return Err(Failure::configuration("--from: expected a URL")),
        };
        let settings = Postgres {
            url: Some(url),
            schema: self.schema.clone(),
            pool_size: 1,
            ..settings.clone()
        };
        let named = |failure| match failure {
            Failure::Configuration(message) => Failure::Configuration(
                message
                    .replace("database.postgres.url", "--from")
                    .replace("database.postgres.schema", "--schema"),
            ),
            Failure::Unreachable(message) => Failure::Unreachable(format!("--from: {message}")),
            other @ Failure::Other(_) => other,
        };
        Database::open(service, &settings).await.map_err(named)
    }
}

/// A transaction that only reads, and all of whose statements see the same moment, also while the original serves.
///
/// # Errors
/// What Postgres says.
pub async fn of_one_moment(client: &mut Client) -> Result<Transaction<'_>, Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    Ok(transaction.start().await?)
}

/// What Postgres said while a row was read or written: 129 where it has gone, so that the command is repeated.
#[must_use]
pub fn failed(doing: &str, error: impl Into<Error>) -> Failure {
    let error = error.into();
    match error.kind() {
        ErrorKind::Unavailable => Failure::Unreachable(format!("{doing}: {error}")),
        _ => Failure::because(doing, error),
    }
}

/// What became of the rows, printed as it becomes known: on standard output a line for each row that is not as it
/// was, on standard error the progress.
#[derive(Debug)]
pub struct Report {
    dry_run: bool,
    read: u64,
    kinds: BTreeMap<&'static str, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    there: u64,
    refused: u64,
}

impl Report {
    /// Nothing yet; `dry_run` where nothing will be kept.
    #[must_use]
    pub fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            read: 0,
            kinds: BTreeMap::new(),
        }
    }

    /// A row was taken.
    pub fn taken(&mut self, kind: &'static str) {
        self.of(kind).taken += 1;
    }

    /// A row is there already, by an earlier run or since it was made here.
    pub fn there(&mut self, kind: &'static str) {
        self.of(kind).there += 1;
    }

    /// A row cannot be taken.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub fn refused(&mut self, kind: &'static str, key: impl Display, why: impl Display) {
        self.of(kind).refused += 1;
        println!("{kind} {key}: not taken: {why}");
    }

    /// Something of a row that is taken is left out.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub fn note(&mut self, kind: &'static str, key: impl Display, what: impl Display) {
        println!("{kind} {key}: {what}");
    }

    fn of(&mut self, kind: &'static str) -> &mut Counts {
        self.read += 1;
        if self.read.is_multiple_of(TOLD_EVERY) {
            eprintln!("{} rows", self.read);
        }
        self.kinds.entry(kind).or_default()
    }

    /// Prints how many of each kind.
    ///
    /// # Errors
    /// [`Failure::Other`] where any row was refused: the others are taken.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub fn end(self) -> Result<(), Failure> {
        let mut refused = 0;
        for (kind, counts) in &self.kinds {
            refused += counts.refused;
            println!(
                "{kind}: {} taken, {} there already, {} not taken",
                counts.taken, counts.there, counts.refused
            );
        }
        if self.kinds.is_empty() {
            println!("there is nothing to take");
        }
        if self.dry_run {
            println!("this was a dry run: nothing was kept");
        }
        match refused {
            0 => Ok(()),
            1 => Err(Failure::Other(
                "1 row was not taken; the line above says why".to_owned(),
            )),
            count => Err(Failure::Other(format!(
                "{count} rows were not taken; the lines above say why"
            ))),
        }
    }
}
