//! The program `ident`: arguments, configuration, and then what was asked.

use std::process::ExitCode;

use clap::Parser;
use ident::config::{Config, SCHEMA};
use ident::notifications::commands::{self, EventsCommand};
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
        Asked::Events(command) => {
            commands::run(command, &ident::open(&config?).await?, &Clock::system()).await
        }
    }
}
