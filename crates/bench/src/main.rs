//! `cargo bench-services`: how fast the services are, as ratios to floors that are measured in the
//! same run on the same machine, so that a figure means the same on another one.
//!
//! The services are the release binaries, each a process; Postgres is a private one with fsync; the
//! load comes from wrk, the floors of SQL from pgbench. With `--write` the table becomes
//! docs/benchmarks.md; `--profile` tells where the time of a request goes.

mod building;
mod eida_auth;
mod floors;
mod growth;
mod ident;
mod idm_users;
mod load;
mod page;
mod pgbench;
mod profile;
mod receiver;
mod report;
mod rounds;
mod size;
mod stage;
mod tokenstore;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use identity_core::cli;
use identity_core::failure::Failure;

use report::Report;
use stage::Stage;

/// Measure the services against floors of the same run
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
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
    /// Measure also how long building and testing take from nothing, in a fresh clone of what is committed
    #[arg(long)]
    build: bool,
    /// Take the binaries in target/release as they are
    #[arg(long)]
    as_built: bool,
    /// Count instructions and system calls of single requests instead (Debian: valgrind, strace)
    #[arg(long, conflicts_with_all = ["write", "build"])]
    profile: bool,
    /// Where the binaries with symbols are, rather than to build them
    #[arg(long, value_name = "DIR", requires = "profile")]
    symbols: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::run("cargo bench-services", program(Arguments::parse()))
}

async fn program(arguments: Arguments) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut report = Report::new(arguments.only.clone());
    let stage = Stage::set(&root, Duration::from_secs(arguments.seconds), arguments.as_built).await?;
    if arguments.profile {
        let profiled = profile::measure(&stage, &root, &report, arguments.symbols).await;
        return profiled.and(stage.end().await);
    }
    measure(&stage, &mut report).await;
    stage.end().await?;
    if arguments.build {
        // By itself: it needs both cores.
        let built = building::measure(&root, &mut report);
        report.note_failure(built);
    }
    report.print();
    if arguments.write {
        let command = format!("cargo bench-services --seconds {} --write", arguments.seconds);
        page::write(&root.join("docs/benchmarks.md"), &report, &command)?;
    }
    report.into_result()
}

/// What cannot be measured does not keep the rest from being measured.
async fn measure(stage: &Stage, report: &mut Report) {
    let measured = ident::measure(stage, report).await;
    report.note_failure(measured);
    let measured = tokenstore::measure(stage, report).await;
    report.note_failure(measured);
    let measured = idm_users::measure(stage, report).await;
    report.note_failure(measured);
    let measured = eida_auth::measure(stage, report).await;
    report.note_failure(measured);
    let measured = growth::measure(stage, report).await;
    report.note_failure(measured);
    let measured = size::measure(stage, report).await;
    report.note_failure(measured);
}
