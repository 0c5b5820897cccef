//! `ident import`: both originals' tables, whichever of them a database has.

use identity_core::config::Postgres;
use identity_core::failure::Failure;
use identity_core::import::{Original, Report, failed, of_one_moment};

use super::originals::Tables;
use super::{accounts, people, store};
use crate::state::Shared;

/// What is taken over, from where.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportCommand {
    #[command(flatten)]
    original: Original,
    /// Gives who signs in with a name that is no address the address NAME@DOMAIN
    #[arg(long, value_name = "DOMAIN")]
    email_domain: Option<String>,
    /// Goes on to take from clients what they sign now: their id alone, which can be replayed for ever
    #[arg(long)]
    static_signatures: bool,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// Takes everything in one transaction: a run that fails has done nothing, and a second one finds everything there
/// already. Nobody is told of people who come this way: whoever listens knows them from the original.
///
/// # Errors
/// [`Failure::Configuration`] where there are no tables of an original, [`Failure::Unreachable`] without one of the
/// two databases, [`Failure::Other`] where a row could not be taken.
pub async fn run(command: ImportCommand, settings: &Postgres, state: &Shared) -> Result<(), Failure> {
    let reading = |error| failed("reading the original's tables", error);
    let writing = |error| failed("writing what was read", error);
    let original = command.original.open("ident import", settings).await?;
    let mut source = original.client().await.map_err(reading)?;
    let source = of_one_moment(&mut source).await.map_err(reading)?;
    let tables = Tables::find(&source).await.map_err(reading)?;
    if tables.is_empty() {
        return Err(Failure::configuration(format!(
            "--from: its schema `{}` has no tables of an original: neither people (email_address) and their services \
             (sv_name, sv_id) nor users (password_hash) and clients (secret_hash) that this role may read",
            original.schema()
        )));
    }
    let mut client = state.database.client().await.map_err(writing)?;
    let target = client
        .transaction()
        .await
        .map_err(|error| failed("writing what was read", error))?;
    let mut report = Report::new(command.dry_run);
    if let Some(table) = &tables.people {
        people::take(
            &source,
            table,
            tables.services.as_ref(),
            &target,
            state,
            &mut report,
        )
        .await?;
        if !command.dry_run {
            store::count_on(&target).await.map_err(writing)?;
        }
    }
    if let Some(table) = &tables.users {
        let domain = command.email_domain.as_deref();
        accounts::take_users(&source, table, &target, state, domain, &mut report).await?;
    }
    if let Some(table) = &tables.clients {
        accounts::take_clients(
            &source,
            table,
            &target,
            state,
            command.static_signatures,
            &mut report,
        )
        .await?;
    }
    if !command.dry_run {
        target
            .commit()
            .await
            .map_err(|error| failed("writing what was read", error))?;
    }
    report.end()
}
