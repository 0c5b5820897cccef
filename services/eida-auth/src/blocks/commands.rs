//! `eida-auth block`: refuses a token from now on and ends its logins.

use std::path::Path;

use identity_core::db::Error;
use identity_core::failure::Failure;

use super::store;
use crate::credentials::{end_account, end_privileges};
use crate::state::Shared;
use crate::tokens::TokenId;

/// Blocks the token in the file `token`, or of the digest `token`.
///
/// # Errors
/// [`Failure`] when it is neither a genuine token nor a digest, or a database cannot be reached.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(token: &str, shared: &Shared) -> Result<(), Failure> {
    let failed = |error: Error| Failure::because("blocking the token", error);
    let databases = &shared.writer.databases;
    let Some(own) = &databases.own else {
        return Err(Failure::configuration(
            "database.postgres.database: expected a database of our own, in which blocked tokens are kept",
        ));
    };
    let id = token_id(token, shared)?;
    let mut client = own.client().await.map_err(failed)?;
    let transaction = client.transaction().await.map_err(|error| failed(error.into()))?;
    let mut logins = store::block(&transaction, id, shared.writer.clock.now())
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(|error| failed(error.into()))?;
    logins.extend(shared.writer.maker.derived_login(id));
    logins.sort();
    logins.dedup();
    for login in &logins {
        let ended = end_privileges(&databases.privileges, &databases.networks, login).await;
        ended.map_err(failed)?;
        end_account(&databases.auth, &databases.accounts, login)
            .await
            .map_err(failed)?;
    }
    store::forget(&client, id).await.map_err(failed)?;
    println!("blocked {id}; {} logins ended", logins.len());
    Ok(())
}

/// The digest of a token that is genuine; whether it is still valid does not matter.
fn token_id(token: &str, shared: &Shared) -> Result<TokenId, Failure> {
    if let Ok(id) = token.parse() {
        return Ok(id);
    }
    let path = Path::new(token);
    let body = std::fs::read(path).map_err(|error| {
        Failure::because(&format!("{token} is no digest, and reading it as a file"), error)
    })?;
    let id = shared.acceptor.identify(&body);
    id.map_err(|refused| Failure::Other(format!("{token}: {refused}; it would not be accepted anyway")))
}
