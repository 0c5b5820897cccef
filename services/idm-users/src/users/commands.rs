//! `idm-users users`: for an operator who can reach the database.

use std::io::Read;
use std::path::PathBuf;

use comfy_table::{Table, presets};
use identity_core::failure::Failure;
use identity_core::http::Problem;
use secrecy::SecretString;

use super::model::{NewUser, UserChange, Username};
use super::{api, store};
use crate::state::Shared;

/// The name that stands in the audit trail for what an operator does by command.
const OPERATOR: &str = "operator";

/// What an operator does with users.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum UsersCommand {
    /// Make a user
    Create {
        /// Their email address
        #[arg(long)]
        username: String,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
        /// Who may make other users
        #[arg(long)]
        admin: bool,
    },
    /// List all users
    List,
    /// Set a user's password, which ends their tokens
    SetPassword {
        /// Their email address
        #[arg(long)]
        username: String,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Delete a user
    Delete {
        /// Their email address
        #[arg(long)]
        username: String,
    },
}

/// Where a password comes from; without either it is asked for on the terminal.
#[derive(Debug, Clone, clap::Args)]
pub struct PasswordSource {
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    pub password_stdin: bool,
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password; asked for as `prompt` says.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be read.
    pub fn read(&self, prompt: &str) -> Result<SecretString, Failure> {
        let reading = |error| Failure::because("reading the password", error);
        let text = match (self.password_stdin, &self.password_file) {
            (true, _) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(reading)?;
                text
            }
            (false, Some(file)) => identity_core::config::read_file("--password-file", file)?,
            (false, None) => rpassword::prompt_password(prompt).map_err(reading)?,
        };
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Configuration`] for what is not valid, [`Failure::Other`] when it is taken, unknown or
/// refused.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: UsersCommand, state: &Shared) -> Result<(), Failure> {
    match command {
        UsersCommand::Create {
            username,
            password,
            admin,
        } => {
            let username = parse(&username)?;
            let password = checked(state, password.read("Password: ")?)?;
            let wish = NewUser {
                username,
                password,
                admin,
            };
            let made = api::make(state, Some(OPERATOR), &wish).await.map_err(failed)?;
            let user =
                made.ok_or_else(|| Failure::Other("there is a user of this name already".to_owned()))?;
            println!(
                "user {} was made{}",
                user.username,
                if admin { ", an administrator" } else { "" }
            );
        }
        UsersCommand::List => {
            let listing = |error| Failure::because("listing the users", error);
            let client = state.database.client().await.map_err(listing)?;
            let users = store::list(&client).await.map_err(listing)?;
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_header(["username", "admin"]);
            for user in users {
                table.add_row([user.username, user.admin.to_string()]);
            }
            println!("{}", table.trim_fmt());
        }
        UsersCommand::SetPassword { username, password } => {
            let client = state.database.client().await;
            let client = client.map_err(|error| Failure::because("looking for the user", error))?;
            let found = store::find(&client, &Username::of_any(&username)).await;
            let found = found.map_err(|error| Failure::because("looking for the user", error))?;
            let user = found.ok_or_else(|| Failure::Other("there is no user of this name".to_owned()))?;
            drop(client);
            let change = UserChange {
                password: Some(checked(state, password.read("New password: ")?)?),
                current_password: None,
                admin: None,
            };
            api::apply(state, OPERATOR, &user, &change)
                .await
                .map_err(failed)?;
            println!(
                "the password of {} was set, and their tokens are not valid any more",
                user.username
            );
        }
        UsersCommand::Delete { username } => {
            let named = Username::of_any(&username);
            api::remove(state, Some(OPERATOR), &named).await.map_err(failed)?;
            println!("user {} was deleted", named.text);
        }
    }
    Ok(())
}

fn parse(username: &str) -> Result<Username, Failure> {
    Username::parse(username).map_err(|detail| Failure::configuration(format!("--username: {detail}")))
}

fn checked(state: &Shared, password: SecretString) -> Result<SecretString, Failure> {
    let checked = state.rules().check(&password);
    checked.map_err(|error| Failure::configuration(format!("the password {error}")))?;
    Ok(password)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(problem: Problem) -> Failure {
    Failure::Other(problem.cause().unwrap_or_else(|| problem.detail()).to_owned())
}
