//! `ident users`: the first administrator, and anybody else who shall sign in.

use std::io::Read;
use std::path::PathBuf;

use identity_core::failure::Failure;
use secrecy::SecretString;
use serde_json::json;

use super::api;
use super::model::{Credentials, CredentialsChange, Username, check_password};
use crate::records::Draft;
use crate::state::Shared;
use crate::tokens::Permission;

/// What an operator does with people.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum UsersCommand {
    /// Make a person who can sign in
    Create {
        /// With which they sign in
        #[arg(long)]
        username: String,
        /// Their name
        #[arg(long)]
        name: String,
        /// Their address
        #[arg(long)]
        email: String,
        /// Read the password from standard input
        #[arg(long, conflicts_with = "password_file")]
        password_stdin: bool,
        /// Read the password from a file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// With all permissions
        #[arg(long)]
        admin: bool,
        /// With this permission; can be repeated
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<Permission>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Configuration`] for what is not valid, [`Failure::Other`] when it is taken or Postgres
/// refuses.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: UsersCommand, state: &Shared) -> Result<(), Failure> {
    let UsersCommand::Create {
        username,
        name,
        email,
        password_stdin,
        password_file,
        admin,
        permissions,
        json,
    } = command;
    let password = read_password(password_stdin, password_file)?;
    let draft = Draft::read(json!({"name": name, "email": email}), &[]);
    let draft = draft.map_err(|errors| {
        let wrong: Vec<_> = errors
            .iter()
            .map(|error| format!("{} {}", error.pointer, error.detail))
            .collect();
        Failure::configuration(wrong.join("; "))
    })?;
    let permissions = if admin {
        Permission::ALL.to_vec()
    } else {
        permissions
    };
    let change = CredentialsChange {
        username: Some(Username::new(&username)),
        password,
        permissions: Some(permissions),
        disabled: None,
    };
    let failed = |problem: identity_core::http::Problem| {
        Failure::Other(problem.cause().unwrap_or_else(|| problem.detail()).to_owned())
    };
    let credentials = state
        .hashed(change, Credentials::default())
        .await
        .map_err(failed)?;
    let account = api::insert(state, draft, credentials).await.map_err(failed)?;
    if json {
        println!(
            "{}",
            serde_json::to_string(&account).map_err(|error| Failure::because("showing", error))?
        );
    } else {
        println!("user {} ({username}) was made", account.id);
    }
    Ok(())
}

fn read_password(from_stdin: bool, file: Option<PathBuf>) -> Result<Option<SecretString>, Failure> {
    let text = match (from_stdin, file) {
        (true, _) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::because("reading the password", error))?;
            text
        }
        (false, Some(file)) => identity_core::config::read_file("--password-file", &file)?,
        (false, None) => return Ok(None),
    };
    let password = SecretString::from(text.trim_end_matches(['\r', '\n']));
    check_password(password)
        .map(Some)
        .map_err(|error| Failure::configuration(format!("password: {error}")))
}
