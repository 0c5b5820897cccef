//! The log of the launcher and all services: in a file, and on the terminal what a developer has to
//! see at once.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use identity_core::failure::Failure;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What goes into the file: libraries tell at `info` what only their authors need.
const FILE: &str = "info,actix_server=warn,refinery_core=warn";

/// What is kept off the terminal: the launcher prints what it has to say itself, and that a connection or
/// a download is tried again matters only if it fails in the end.
const NOT_SHOWN: &str = "dev=off,identity_core::db=error,reqwest_retry=error";

/// Which part of the log is shown on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// As much as is in the file.
    All,
    /// Warnings and errors.
    Warnings,
    /// Nothing: there is no terminal.
    Nothing,
}

/// Begins the file at `path` anew, and gives it open for appending.
pub fn start(path: &Path, shown: Shown) -> Result<Arc<File>, Failure> {
    let opening = |error| Failure::because(&format!("opening {}", path.display()), error);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(opening)?;
    file.set_len(0).map_err(opening)?;
    let file = Arc::new(file);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false);
    let to_file = lines.with_writer(file.clone()).with_filter(EnvFilter::new(FILE));
    let directives = match shown {
        Shown::All => format!("{FILE},dev=off"),
        Shown::Warnings => format!("warn,{NOT_SHOWN}"),
        Shown::Nothing => "off".to_owned(),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let to_terminal = lines
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::new(directives));
    let started = tracing_subscriber::registry()
        .with(to_file)
        .with(to_terminal)
        .try_init();
    started.map_err(|error| Failure::because("starting the log", error))?;
    Ok(file)
}
