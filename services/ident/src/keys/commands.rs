//! `ident keys` and `ident configuration`: signing keys from the terminal.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_core::failure::Failure;
use secrecy::SecretString;

use super::model::{Configuration, SigningKeyPem};
use super::{rotation, store};
use crate::state::Shared;
use crate::tokens::announce;

/// What an operator does with keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeysCommand {
    /// List the signing keys that are published
    List {
        /// As JSON, a line each
        #[arg(long)]
        json: bool,
    },
    /// Make the next signing key: published now, it signs when everybody can know it
    Rotate {
        /// `RS256`, `ES256` or `EdDSA`; default: as the newest key
        #[arg(long, value_parser = algorithm)]
        algorithm: Option<Algorithm>,
    },
    /// Withdraw a key at once: no token of it is accepted any more
    Withdraw {
        /// The key's id, of `list`
        kid: String,
    },
}

/// What an operator does with the configuration of tokens.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigurationCommand {
    /// Show issuer and lifetimes
    Show,
    /// Make the first configuration, where it is not made by itself
    Create {
        /// The `iss` of tokens
        #[arg(long)]
        issuer: String,
        /// How long a token is valid, in seconds
        #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(i32).range(1..))]
        expiration: i32,
        /// How often a token is refreshed
        #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(i32).range(0..))]
        max_refreshes: i32,
        /// The private key (PEM); default: a new P-256 key
        #[arg(long, value_name = "FILE")]
        private_key: Option<PathBuf>,
    },
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let all = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    let found = all
        .into_iter()
        .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "expected RS256, ES256 or EdDSA".to_owned())
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Other`] when Postgres refuses or there is no such key.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run_keys(command: KeysCommand, state: &Shared) -> Result<(), Failure> {
    let failed = |error| Failure::because("keys", error);
    let now = state.clock.now();
    let client = state.database.client().await.map_err(failed)?;
    match command {
        KeysCommand::List { json } => {
            let keys = store::list(&client, &state.keys, &[], now)
                .await
                .map_err(failed)?;
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_header(["kid", "algorithm", "signs from", "withdrawn at"]);
            for key in keys {
                let public = key.key.public();
                if json {
                    let line = serde_json::json!({
                        "kid": public.kid(), "algorithm": public.algorithm().as_str(),
                        "signs_from": key.signs_from, "withdrawn_at": key.withdrawn_at,
                    });
                    println!("{line}");
                }
                let withdrawn = key.withdrawn_at.map(|at| format!("{at:.0}")).unwrap_or_default();
                let row = [
                    public.kid(),
                    public.algorithm().as_str(),
                    &format!("{:.0}", key.signs_from),
                    &withdrawn,
                ];
                table.add_row(row);
            }
            if !json {
                println!("{table}");
            }
        }
        KeysCommand::Rotate { algorithm } => {
            let known = store::list(&client, &state.keys, &[], now)
                .await
                .map_err(failed)?;
            let newest = known.last().map(|key| key.key.public().algorithm());
            let algorithm = algorithm.or(newest).unwrap_or(Algorithm::ES256);
            let rotated = state
                .rotation
                .rotate(&state.database, &state.keys, algorithm, &state.clock)
                .await;
            let (kid, signs_from) = rotated.map_err(failed)?;
            println!("key {kid} is published and signs from {signs_from:.0} on");
        }
        KeysCommand::Withdraw { kid } => {
            if !store::withdraw(&client, &kid, now).await.map_err(failed)? {
                return Err(Failure::Other(format!("no key {kid} is published")));
            }
            announce(&client).await.map_err(failed)?;
            println!("key {kid} is withdrawn");
        }
    }
    Ok(())
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Configuration`] for a key that cannot be used, [`Failure::Other`] when there is a
/// configuration already, or none to show.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run_configuration(command: ConfigurationCommand, state: &Shared) -> Result<(), Failure> {
    let failed = |error| Failure::because("configuration", error);
    match command {
        ConfigurationCommand::Show => {
            let client = state.database.client().await.map_err(failed)?;
            let found = store::find_configuration(&client).await.map_err(failed)?;
            let found = found.ok_or_else(|| Failure::Other("there is no configuration yet".to_owned()))?;
            println!(
                "{}",
                serde_json::to_string_pretty(&found).map_err(|error| Failure::because("showing", error))?
            );
        }
        ConfigurationCommand::Create {
            issuer,
            expiration,
            max_refreshes,
            private_key,
        } => {
            let key = match private_key {
                None => rotation::generate(Algorithm::ES256).map_err(failed)?,
                Some(file) => {
                    let pem = SecretString::from(identity_core::config::read_file("--private-key", &file)?);
                    let key = SigningKey::from_pem(secrecy::ExposeSecret::expose_secret(&pem));
                    let key =
                        key.map_err(|error| Failure::configuration(format!("--private-key: {error}")))?;
                    SigningKeyPem { key, pem }
                }
            };
            let configuration = Configuration {
                jwt_expiration: expiration,
                jwt_issuer: issuer,
                jwt_max_refreshes: max_refreshes,
            };
            let (database, keys, now) = (&state.database, &state.keys, state.clock.now());
            if !rotation::configure(database, keys, &configuration, &key, now)
                .await
                .map_err(failed)?
            {
                return Err(Failure::Other("there is a configuration already".to_owned()));
            }
            println!("tokens are signed by key {}", key.key.public().kid());
        }
    }
    Ok(())
}
