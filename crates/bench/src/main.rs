//! `cargo bench-services`: how fast the services are, as ratios to floors that are measured in the
//! same run on the same machine, so that a figure means the same on another one.
//!
//! The services are the release binaries, each a process; Postgres is a private one with fsync; the
//! load comes from wrk, the floors of SQL from pgbench. With `--write` the table becomes
//! docs/benchmarks.md.

mod eida_auth;
mod floors;
mod ident;
mod load;
mod receiver;
mod report;
mod size;
mod stage;
mod tokenstore;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use identity_core::cli;
use identity_core::failure::Failure;

use report::Report;
use stage::Stage;

/// Measure the services against floors of the same run
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the rows whose name contains this; can be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// For how long each figure is taken, in seconds, after a warm-up of an eighth of it
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    /// Write docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    cli::run("cargo bench-services", program(Arguments::parse()))
}

async fn program(arguments: Arguments) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stage = Stage::build(&root, Duration::from_secs(arguments.seconds)).await?;
    let mut report = Report::new(arguments.only, arguments.seconds);
    let measured = measure(&stage, &mut report).await;
    let written = if arguments.write && measured.is_ok() {
        report.write(&root.join("docs/benchmarks.md"))
    } else {
        Ok(())
    };
    report.print();
    stage.end().await?;
    measured.and(written)
}

async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    ident::measure(stage, report).await?;
    tokenstore::measure(stage, report).await?;
    eida_auth::measure(stage, report).await?;
    size::measure(stage, report).await
}
