//! The log: where its lines go and in which form. Traces beside it.

pub mod traces;

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::failure::Failure;

/// Where our own lines come from. At debug and trace only these speak, whatever `log.level` says:
/// libraries tell the values of parameters and headers there, which nobody may read.
const OURS: [&str; 5] = ["identity_core", "ident", "tokenstore", "idm_users", "eida_auth"];

/// Starts logging to standard error for this process.
///
/// # Errors
/// [`Failure::Configuration`] when `log.level` is no level and no list of directives.
pub fn start(log: &Log) -> Result<(), Failure> {
    // A bare level is meant for our own lines; libraries tell at theirs what only their authors need. What
    // actix-http tells are errors of strangers, who could fill the log with them.
    let directives = match log.level.parse::<LevelFilter>() {
        Ok(_) => format!(
            "{},actix_http=off,actix_server=warn,refinery_core=warn,pgp=error",
            log.level
        ),
        Err(_) if log.level.contains(['=', ',']) => log.level.clone(),
        // To the filter it would be the name of a library, and nothing would be logged.
        Err(_) => {
            return Err(Failure::configuration(format!(
                "log.level: expected error, warn, info, debug, trace, or directives such as `info,ident=debug`, found `{}`",
                log.level
            )));
        }
    };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::configuration(format!("log.level: {error}")))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let discreet = filter_fn(|about| {
        let source = about.target().split("::").next().unwrap_or_default();
        *about.level() <= Level::INFO || OURS.contains(&source)
    });
    let registry = tracing_subscriber::registry().with(filter).with(discreet);
    let started = if json {
        registry
            .with(
                lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init()
    } else {
        registry.with(lines.with_target(false)).try_init()
    };
    started.map_err(|error| Failure::because("starting the log", error))
}
