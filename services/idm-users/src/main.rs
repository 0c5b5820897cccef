//! The program `idm-users`: arguments, configuration, and then what was asked.

use std::process::ExitCode;

use clap::Parser;
use identity_core::cli::{self, Command, Options};
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::runtime::{Runtime, Stop};
use identity_core::telemetry;
use idm_users::Instance;
use idm_users::audit::commands::{self as audit, AuditCommand};
use idm_users::config::{Config, SCHEMA};
use idm_users::import::commands::{self as takeover, ImportCommand};
use idm_users::secret::commands::{self as secret, SecretCommand};
use idm_users::subjects::commands::{self as subjects, SubjectsCommand};
use idm_users::users::commands::{self as users, UsersCommand};
use idm_users::users::import::{self, CreateUsers};

/// Users, study subjects, their links to an app and an audit trail, for study sites
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
    /// Make users at a running service: one by one on the terminal, or from a CSV file
    CreateUsers(CreateUsers),
    /// Make, list, change and delete users in the database
    #[command(subcommand)]
    Users(UsersCommand),
    /// Export subjects
    #[command(subcommand)]
    Subjects(SubjectsCommand),
    /// Check and export the audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Take over the users, subjects, links and histories of C3-PRO's IDM service, as mongoexport writes them
    ///
    /// Links keep their ids and histories their moments; users set new passwords. All is taken in one transaction; a
    /// document that cannot be taken is named with the reason, and a second run changes nothing.
    Import(ImportCommand),
    /// Change `jwt.secret`
    #[command(subcommand)]
    Secret(SecretCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::run("idm-users", program(arguments))
}

async fn program(Arguments { options, command }: Arguments) -> Result<(), Failure> {
    let command = match command.unwrap_or(Asked::Common(Command::Serve)) {
        // It speaks to a service elsewhere, and needs no configuration of one.
        Asked::CreateUsers(command) => return import::run(command).await,
        command => command,
    };
    let settings = options.settings(&SCHEMA)?;
    let config = Config::read(&settings);
    match command {
        Asked::CreateUsers(_) => Ok(()),
        Asked::Common(Command::Config) => {
            cli::print_config(&settings);
            config.map(|_| ())
        }
        Asked::Common(Command::Health) => cli::health(&config?.base).await,
        Asked::Common(Command::Migrate) => {
            cli::migrated(&idm_users::migrate(&idm_users::open(&config?).await?).await?)
        }
        Asked::Common(Command::Serve) => {
            let config = config?;
            telemetry::start(&config.base.log)?;
            let listener = cli::listen(&config.base)?;
            let runtime = Runtime {
                listener,
                clock: Clock::system(),
                stop: Stop::at_signals(),
            };
            idm_users::run(config, runtime).await
        }
        Asked::Users(command) => {
            let instance = Instance::open(config?, Clock::system()).await?;
            users::run(command, &instance.shared).await
        }
        Asked::Subjects(command) => subjects::run(command, &idm_users::open(&config?).await?).await,
        Asked::Audit(command) => audit::run(command, &idm_users::open(&config?).await?).await,
        Asked::Import(command) => {
            let instance = Instance::open(config?, Clock::system()).await?;
            takeover::run(command, &instance.shared).await
        }
        Asked::Secret(command) => secret::run(command, &config?).await,
    }
}
