//! `ident clients`: machine clients from the terminal.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use identity_core::failure::Failure;
use identity_core::http::Problem;
use serde_json::{Value, json};

use super::model::Change;
use super::{api, store};
use crate::state::Shared;
use crate::tokens::Permission;

/// What an operator does with clients.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClientsCommand {
    /// Make a machine client; its secret is shown this once
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        /// With this permission; can be repeated
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<Permission>,
        /// For tokens to this audience; can be repeated
        #[arg(long = "audience", value_name = "AUDIENCE")]
        audiences: Vec<String>,
        /// With this public key (PEM)
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// With a secret also where there is a public key
        #[arg(long)]
        secret: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the machine clients
    List {
        /// As JSON, a line each
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Configuration`] for what is not valid, [`Failure::Other`] when Postgres refuses.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: ClientsCommand, state: &Shared) -> Result<(), Failure> {
    let failed =
        |problem: Problem| Failure::Other(problem.cause().unwrap_or_else(|| problem.detail()).to_owned());
    match command {
        ClientsCommand::Create {
            name,
            permissions,
            audiences,
            public_key,
            secret,
            json,
        } => {
            let mut document = json!({"name": name, "permissions": permissions, "audiences": audiences});
            if let Some(file) = public_key {
                document["public_key"] = identity_core::config::read_file("--public-key", &file)?.into();
            }
            if secret {
                document["generate_secret"] = Value::Bool(true);
            }
            let change = Change::read(document).map_err(|errors| {
                let wrong: Vec<_> = errors
                    .iter()
                    .map(|error| format!("{} {}", error.pointer, error.detail))
                    .collect();
                Failure::configuration(wrong.join("; "))
            })?;
            let created = api::insert(state, change).await.map_err(failed)?;
            if json {
                println!(
                    "{}",
                    serde_json::to_string(&created).map_err(|error| Failure::because("showing", error))?
                );
            } else {
                println!("client {} was made", created.client.id);
                if let Some(secret) = created.client_secret {
                    println!("its secret, shown this once: {secret}");
                }
            }
        }
        ClientsCommand::List { json } => {
            let client = state
                .database
                .client()
                .await
                .map_err(|error| Failure::because("clients", error))?;
            let clients = store::list(&client, None, i64::MAX).await;
            let clients = clients.map_err(|error| Failure::because("clients", error))?;
            if json {
                for client in clients {
                    println!(
                        "{}",
                        serde_json::to_string(&client).map_err(|error| Failure::because("showing", error))?
                    );
                }
                return Ok(());
            }
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header([
                "id",
                "name",
                "permissions",
                "audiences",
                "state",
            ]);
            for client in clients {
                table.add_row([
                    client.id.to_string(),
                    client.name,
                    client.permissions.join(" "),
                    client.audiences.join(" "),
                    if client.disabled { "disabled" } else { "enabled" }.to_owned(),
                ]);
            }
            println!("{table}");
        }
    }
    Ok(())
}
