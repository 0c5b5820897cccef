//! `idm-users secret change`: the only way from one `jwt.secret` to another.

use std::path::{Path, PathBuf};

use identity_core::clock::Clock;
use identity_core::config::read_file;
use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Error};
use identity_core::failure::Failure;
use secrecy::SecretString;

use super::model::{keys, refusal};
use super::store::{self, Outcome};
use crate::config::Config;
use crate::instance;

/// What an operator does with `jwt.secret`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SecretCommand {
    /// Let the configured `jwt.secret` take the place of the one that the database was written under.
    /// Stop all instances first. All tokens end
    Change {
        /// What becomes of the old one
        #[command(flatten)]
        old: OldSecret,
    },
}

/// What is known of the secret of before.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct OldSecret {
    /// A file with the old secret: what it has encrypted is encrypted anew
    #[arg(long, value_name = "FILE")]
    pub old_secret_file: Option<PathBuf>,
    /// The old secret is lost: what it has encrypted cannot be read any more
    #[arg(long)]
    pub old_secret_lost: bool,
}

/// Does what was asked and prints it. Interrupted, it has done nothing.
///
/// # Errors
/// [`Failure::Configuration`] where the old secret is not the database's, [`Failure::Other`] when
/// Postgres refuses.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: SecretCommand, config: &Config) -> Result<(), Failure> {
    let SecretCommand::Change { old } = command;
    let old_secret = old.old_secret_file.as_deref().map(read).transpose()?;
    let secrets: Vec<&SecretString> = [&config.jwt.secret].into_iter().chain(&old_secret).collect();
    let keys = keys(&secrets).ok_or_else(|| Failure::configuration("jwt.secret: it cannot be used"))?;
    let database = instance::open(config).await?;
    instance::prepare(&database, &config.base).await?;
    let changed = change(&database, &keys, old.old_secret_lost).await;
    match changed.map_err(|error| Failure::because("changing jwt.secret", error))? {
        Changed::Refused { recorded } => Err(Failure::configuration(format!(
            "{}; --old-secret-file has neither",
            refusal(&recorded, &keys)
        ))),
        Changed::Done { mails, links } => {
            println!("waiting mails: {}", told(mails));
            println!("secrets of links: {}", told(links));
            println!("all tokens of before have ended");
            Ok(())
        }
    }
}

/// As the configuration reads secrets from files: line ends at the end do not count.
fn read(file: &Path) -> Result<SecretString, Failure> {
    let text = read_file("--old-secret-file", file)?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

enum Changed {
    Done {
        mails: Outcome,
        links: Outcome,
    },
    /// The database needs the secret of this fingerprint.
    Refused {
        recorded: String,
    },
}

async fn change(database: &Database, keys: &Keys, lost: bool) -> Result<Changed, Error> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    if let Some(recorded) = store::missing(&transaction, keys).await?.filter(|_| !lost) {
        return Ok(Changed::Refused { recorded });
    }
    let mails = store::reseal_mails(&transaction, keys).await?;
    let links = store::reseal_links(&transaction, keys).await?;
    store::replace(&transaction, keys, Clock::system().now()).await?;
    transaction.commit().await?;
    Ok(Changed::Done { mails, links })
}

fn told(outcome: Outcome) -> String {
    let Outcome { changed, unreadable } = outcome;
    format!("{changed} encrypted anew, {unreadable} that nobody can read")
}
