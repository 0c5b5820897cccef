//! The program `ident`: arguments, configuration, and then what was asked.

use std::process::ExitCode;

use clap::Parser;
use ident::Instance;
use ident::clients::commands::{self as clients, ClientsCommand};
use ident::config::{Config, SCHEMA};
use ident::encryption::commands::{self as encryption, EncryptionCommand};
use ident::import::commands::{self as import, ImportCommand};
use ident::keys::commands::{self as keys, ConfigurationCommand, KeysCommand};
use ident::notifications::commands::{self as events, EventsCommand};
use ident::users::commands::{self as users, UsersCommand};
use identity_core::cli::{self, Command, Options};
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::runtime::{Runtime, Stop};
use identity_core::telemetry;

/// People's records with linked accounts, change notifications, and signed tokens
#[derive(Parser)]
#[command(version, after_help = include_str!("examples.txt"))]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Asked>,
}

#[derive(clap::Subcommand)]
enum Asked {
    #[command(flatten)]
    Common(Command),
    /// See and replay notifications of changes
    #[command(subcommand)]
    Events(EventsCommand),
    /// Make people who can sign in
    #[command(subcommand)]
    Users(UsersCommand),
    /// Make and list machine clients
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// List, rotate and withdraw signing keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Bring the database's secrets under a new encryption key
    #[command(subcommand)]
    Encryption(EncryptionCommand),
    /// Take over people, users and clients from the database of one of the originals
    ///
    /// Ids, passwords and secrets stay as they are, and access tokens are encrypted anew. All is taken in one
    /// transaction; a row that cannot be taken is named with the reason, and a second run changes nothing.
    Import(ImportCommand),
    /// Show or make the configuration of tokens
    #[command(subcommand)]
    Configuration(ConfigurationCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::run("ident", program(arguments))
}

async fn program(Arguments { options, command }: Arguments) -> Result<(), Failure> {
    let settings = options.settings(&SCHEMA)?;
    let config = Config::read(&settings);
    match command.unwrap_or(Asked::Common(Command::Serve)) {
        Asked::Common(Command::Config) => {
            cli::print_config(&settings);
            config.map(|_| ())
        }
        Asked::Common(Command::Health) => cli::health(&config?.base).await,
        Asked::Common(Command::Migrate) => {
            cli::migrated(&ident::migrate(&ident::open(&config?).await?).await?)
        }
        Asked::Common(Command::Serve) => {
            let config = config?;
            telemetry::start(&config.base.log)?;
            let listener = cli::listen(&config.base)?;
            ident::run(
                config,
                Runtime {
                    listener,
                    clock: Clock::system(),
                    stop: Stop::at_signals(),
                },
            )
            .await
        }
        Asked::Events(command) => events::run(command, &ident::open(&config?).await?, &Clock::system()).await,
        Asked::Users(command) => users::run(command, &instance(config?).await?.shared).await,
        Asked::Clients(command) => clients::run(command, &instance(config?).await?.shared).await,
        Asked::Keys(command) => keys::run_keys(command, &instance(config?).await?.shared).await,
        Asked::Encryption(command) => encryption::run(command, &instance(config?).await?.shared).await,
        Asked::Import(command) => {
            let config = config?;
            let settings = config.base.database.postgres.clone();
            import::run(command, &settings, &instance(config).await?.shared).await
        }
        Asked::Configuration(command) => {
            keys::run_configuration(command, &instance(config?).await?.shared).await
        }
    }
}

/// For commands that need what a running instance has.
async fn instance(config: Config) -> Result<Instance, Failure> {
    Instance::open(config, Clock::system()).await
}
