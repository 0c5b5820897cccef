//! `tokenstore import`: the original's refresh tokens.

use identity_core::config::Postgres;
use identity_core::db::GenericClient;
use identity_core::failure::Failure;
use identity_core::import::{Original, Report, failed, of_one_moment};
use url::Url;

use super::{model, original};
use crate::audit::{self, Action, Entry};
use crate::links::model::NewLink;
use crate::links::store;
use crate::state::Shared;

/// What the rows are called.
const TOKENS: &str = "refresh tokens";

/// What is taken over, from where.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportCommand {
    #[command(flatten)]
    original: Original,
    /// The issuer of the login provider, exactly as its tokens name it, to whose people the refresh tokens belong;
    /// without it the provider is asked
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// Takes everything in one transaction: a run that fails has done nothing, and a second one finds everything there
/// already.
///
/// # Errors
/// [`Failure::Configuration`] where the table is not there, [`Failure::Unreachable`] without one of the two databases,
/// [`Failure::Other`] where a row could not be taken.
pub async fn run(command: ImportCommand, settings: &Postgres, shared: &Shared) -> Result<(), Failure> {
    let reading = |error| failed("reading the original's table", error);
    let writing = |error| failed("writing what was read", error);
    let original = command.original.open("tokenstore import", settings).await?;
    let mut source = original.client().await.map_err(reading)?;
    let source = of_one_moment(&mut source).await.map_err(reading)?;
    if !original::has_table(&source).await.map_err(reading)? {
        return Err(Failure::configuration(format!(
            "--from: its schema `{}` has no table refresh_token of the original that this role may read",
            original.schema()
        )));
    }
    let issuer = issuer(command.issuer, shared).await?;
    let providers: Vec<&str> = shared.providers.iter().map(|provider| provider.id()).collect();
    let mut client = shared.database.client().await.map_err(writing)?;
    let target = client
        .transaction()
        .await
        .map_err(|error| failed("writing what was read", error))?;
    let mut report = Report::new(command.dry_run);
    let now = shared.clock.now();
    let mut after = i64::MIN;
    loop {
        let tokens = original::tokens(&source, after).await.map_err(reading)?;
        let Some(last) = tokens.last() else { break };
        after = last.id;
        for token in &tokens {
            let key = format!("{} (of {:?} at {:?})", token.id, token.user, token.provider);
            match model::link(token, &issuer, &providers, &shared.keys, now) {
                Err(why) => report.refused(TOKENS, key, why),
                Ok(new) if take(&target, &new, now).await.map_err(writing)? => report.taken(TOKENS),
                Ok(_) => report.there(TOKENS),
            }
        }
    }
    if !command.dry_run {
        target
            .commit()
            .await
            .map_err(|error| failed("writing what was read", error))?;
    }
    report.end()
}

/// Makes the link; false where the person has linked an account of this provider already.
async fn take(
    target: &impl GenericClient,
    new: &NewLink,
    now: jiff::Timestamp,
) -> Result<bool, identity_core::db::Error> {
    if store::find(target, &new.key).await?.is_some() {
        return Ok(false);
    }
    store::insert(target, new).await?;
    let entry =
        Entry::of_service(Action::Linked, &new.key, now).with_detail("taken over by tokenstore import");
    audit::store::insert(target, &entry).await?;
    Ok(true)
}

/// Who the login provider says it is: with the subject, it is what a person is known by here.
async fn issuer(given: Option<String>, shared: &Shared) -> Result<String, Failure> {
    if let Some(issuer) = given {
        return match issuer.parse::<Url>() {
            Ok(_) => Ok(issuer),
            Err(error) => Err(Failure::configuration(format!("--issuer: {error}"))),
        };
    }
    let endpoints = shared.login.endpoints(shared.clock.now()).await;
    let endpoints = endpoints.map_err(|error| {
        Failure::Other(format!(
            "the login provider (oidc) does not say its issuer: {error}; give --issuer"
        ))
    })?;
    let missing =
        || Failure::configuration("--issuer: expected the issuer, which the login provider does not say");
    endpoints.issuer.clone().ok_or_else(missing)
}
