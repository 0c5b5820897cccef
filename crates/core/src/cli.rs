//! The command line that every service has: where its configuration is, and the commands `serve`,
//! `migrate`, `config` and `health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Base, Environment, Schema, Settings, Sources, explain};
use crate::failure::{Failure, causes};
use crate::http::address;

/// Enough open files for the most connections that the listener takes.
const ENOUGH_FILES: u64 = 65_536;

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over all other places; can be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Commands of every service.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Serve requests until SIGTERM or SIGINT (this is the default)
    Serve,
    /// Apply outstanding migrations and end
    Migrate,
    /// Print every setting in force and where it came from, secrets masked
    Config,
    /// Ask the service that runs with this configuration whether it is ready: exit status 0 or 1
    Health,
}

impl Options {
    /// The settings of `schema`'s service from all their places.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn settings(&self, schema: &'static Schema) -> Result<Settings, Failure> {
        let environment = Environment::of_process();
        Settings::load(
            schema,
            &Sources {
                file: self.config.clone(),
                environment,
                overrides: self.set.clone(),
            },
        )
    }
}

/// Runs a program to its end and gives its exit status; a failure is one line on standard error.
pub fn run(name: &str, program: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(program),
        Err(error) => Err(Failure::because("starting the runtime", error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            failure.exit_code()
        }
    }
}

/// Takes the address of `server.bind`. Connections are refused until the service serves: what it needs for that it has
/// yet to find out, and a proxy that is refused asks another instance.
///
/// # Errors
/// [`Failure::Other`] naming the address: most often another program has the port.
pub fn listen(base: &Base) -> Result<TcpListener, Failure> {
    open_as_many_files_as_allowed();
    let bind = base.server.bind.0;
    address::take(bind).map_err(|error| Failure::because(&format!("listening on server.bind {bind}"), error))
}

/// Raises the number of files that the process may have open, connections among them, from what is usual (1,024) to
/// what it is allowed. The usual one is for programs that use `select`.
fn open_as_many_files_as_allowed() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(ENOUGH_FILES, |most| most.min(ENOUGH_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        // What is refused leaves things as they are: there are fewer connections, then.
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

/// Prints what [`explain`] says.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub fn print_config(settings: &Settings) {
    println!("{}", explain(settings));
}

/// Prints the lines of `/readyz` of the service that runs with `base`.
///
/// # Errors
/// [`Failure::Other`] when it does not answer or is not ready.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn health(base: &Base) -> Result<(), Failure> {
    let mut address = base.server.bind.0;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if base.server.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let asked = async {
        // Its certificate names a host, not this address; nothing secret is sent.
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true);
        let client = client.timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(format!("{scheme}://{address}/readyz")).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, lines) = asked
        .await
        .map_err(|error| Failure::Other(format!("not ready: {}", causes(&error))))?;
    print!("{lines}");
    if status.is_success() {
        Ok(())
    } else {
        Err(Failure::Other(format!("not ready: {status}")))
    }
}

/// Prints what the command `migrate` did.
///
/// # Errors
/// None; the form serves the end of a program.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub fn migrated(applied: &[String]) -> Result<(), Failure> {
    for name in applied {
        println!("applied {name}");
    }
    println!("{} migrations applied; the schema is up to date", applied.len());
    Ok(())
}
