//! `ident encryption`: which keys protect the database, and the way from one to the next.

use identity_core::db::encryption_keys;
use identity_core::failure::Failure;

use super::store;
use crate::state::Shared;

/// What an operator does with encryption keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum EncryptionCommand {
    /// Encrypt all secrets anew with the first configured key; then the others can go
    Reencrypt,
}

/// Does what was asked and prints it.
///
/// Instances may run meanwhile, if they have the same first key. What is interrupted is taken up by
/// the next call.
///
/// # Errors
/// [`Failure::Other`] when Postgres refuses, or a secret cannot be decrypted.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: EncryptionCommand, state: &Shared) -> Result<(), Failure> {
    let EncryptionCommand::Reencrypt = command;
    let failed = |error| Failure::because("encrypting anew", error);
    let client = state.database.client().await.map_err(failed)?;
    let accounts = store::reencrypt_accounts(&client, &state.keys)
        .await
        .map_err(failed)?;
    println!("{accounts} access tokens of linked accounts");
    let signing = store::reencrypt_signing_keys(&client, &state.keys)
        .await
        .map_err(failed)?;
    println!("{signing} signing keys");
    let successors = store::reencrypt_successors(&client, &state.keys)
        .await
        .map_err(failed)?;
    println!("{successors} tokens of refreshes");
    let forgotten = encryption_keys::forget_others(&client, &state.keys)
        .await
        .map_err(failed)?;
    println!("{forgotten} keys are not needed any more");
    Ok(())
}
