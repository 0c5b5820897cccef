//! The program `eida-auth`: arguments, configuration, and then what was asked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use eida_auth::config::{Config, SCHEMA};
use eida_auth::mappings::commands::{self as mappings, MappingCommand};
use eida_auth::{Instance, blocks, cleanup, databases, tokens};
use identity_core::cli::{self, Command, Options};
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::runtime::{Runtime, Stop};
use identity_core::telemetry;

/// A temporary login for a signed token of EIDA
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
    /// Remove expired accounts, with their credentials and privileges
    Cleanup,
    /// Keep the mapping of memberships to networks
    #[command(subcommand)]
    Mapping(MappingCommand),
    /// Tell what a token says and whether it would be accepted, and why not
    Verify {
        /// The file with the token; - for standard input
        file: PathBuf,
    },
    /// Refuse a token from now on and end its logins
    Block {
        /// The file with the token, or its digest as `verify` and the log tell it
        token: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::run("eida-auth", program(arguments))
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
        Asked::Common(Command::Migrate) => cli::migrated(&databases::migrate(&config?).await?),
        Asked::Common(Command::Serve) => {
            let config = config?;
            telemetry::start(&config.base.log)?;
            let listener = cli::listen(&config.base)?;
            let (clock, stop) = (Clock::system(), Stop::at_signals());
            eida_auth::run(
                config,
                Runtime {
                    listener,
                    clock,
                    stop,
                },
            )
            .await
        }
        Asked::Cleanup => cleanup::commands::run(&instance(config?).await?.shared).await,
        Asked::Mapping(command) => mappings::run(command, &databases::Databases::open(&config?).await?).await,
        Asked::Verify { file } => tokens::commands::verify(&file, &config?).await,
        Asked::Block { token } => blocks::commands::run(&token, &instance(config?).await?.shared).await,
    }
}

/// For commands that need what a running instance has.
async fn instance(config: Config) -> Result<Instance, Failure> {
    Instance::open(config, Clock::system()).await
}
