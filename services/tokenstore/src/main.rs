//! The program `tokenstore`: arguments, configuration, and then what was asked.

use std::process::ExitCode;

use clap::Parser;
use identity_core::cli::{self, Command, Options};
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::runtime::{Runtime, Stop};
use identity_core::telemetry;
use tokenstore::Instance;
use tokenstore::config::{Config, SCHEMA};
use tokenstore::encryption::commands::{self as keys, KeysCommand};
use tokenstore::import::commands::{self as import, ImportCommand};
use tokenstore::providers::commands as doctor;

/// Accounts at external providers linked once, fresh access tokens for their owner's applications
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
    /// Make encryption keys, bring the database's secrets under a new one, retire the old
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Take over the refresh tokens from the database of the original
    ///
    /// They are encrypted anew, and belong to the same people at the same providers. All is taken in one transaction;
    /// a row that cannot be taken is named with the reason, and a second run changes nothing.
    Import(ImportCommand),
    /// Check every provider by a dry run and say what users would meet
    Doctor,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::run("tokenstore", program(arguments))
}

async fn program(Arguments { options, command }: Arguments) -> Result<(), Failure> {
    // The first key is made before there is a configuration that could be read.
    if let Some(Asked::Keys(KeysCommand::Add { file: None })) = command {
        return keys::print_new();
    }
    let settings = options.settings(&SCHEMA)?;
    let config = Config::read(&settings);
    match command.unwrap_or(Asked::Common(Command::Serve)) {
        Asked::Common(Command::Config) => {
            cli::print_config(&settings);
            config.map(|_| ())
        }
        Asked::Common(Command::Health) => cli::health(&config?.base).await,
        Asked::Common(Command::Migrate) => {
            cli::migrated(&tokenstore::migrate(&tokenstore::open(&config?).await?).await?)
        }
        Asked::Common(Command::Serve) => {
            let config = config?;
            telemetry::start(&config.base.log)?;
            let listener = cli::listen(&config.base)?;
            tokenstore::run(
                config,
                Runtime {
                    listener,
                    clock: Clock::system(),
                    stop: Stop::at_signals(),
                },
            )
            .await
        }
        Asked::Keys(command) => {
            let instance = Instance::open(config?, Clock::system(), None).await?;
            keys::run(command, &instance.shared).await
        }
        Asked::Import(command) => {
            let config = config?;
            let settings = config.base.database.postgres.clone();
            let instance = Instance::open(config, Clock::system(), None).await?;
            import::run(command, &settings, &instance.shared).await
        }
        Asked::Doctor => doctor::run(config?).await,
    }
}
