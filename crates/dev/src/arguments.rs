//! The command line of `cargo dev`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::services::SERVICES;

/// Runs the services with a private Postgres and demo data; Ctrl-C stops it all
#[derive(Debug, Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    args_conflicts_with_subcommands = true,
    after_help = include_str!("help.txt")
)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Run in the background; returns when all is ready
    #[arg(long)]
    pub detach: bool,
    /// Where data, log and lock are kept: for the launcher's own tests.
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is run, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these services, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = service_names())]
    pub only: Vec<String>,
    /// Services on N, N+1, N+2, N+3, Postgres on N+9, metrics from N+10 on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1024..=65_500))]
    pub port_base: Option<u16>,
    /// Begin anew: erase the kept data first (with `DATABASE_URL`: drop the schemas made there)
    #[arg(long)]
    pub fresh: bool,
    /// Show the whole log on the terminal, not only warnings
    #[arg(long, short)]
    pub verbose: bool,
    /// We are what `--detach` left in the background.
    #[arg(long, hide = true)]
    pub detached: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Stop the launcher that runs for this checkout, detached or not
    Stop,
}

fn service_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.iter().map(|service| service.name))
}
