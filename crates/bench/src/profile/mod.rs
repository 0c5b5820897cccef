//! `--profile`: where the time of a request goes. Counts of instructions and of system calls are free of
//! what else the machine does; times are those of the processor, divided by the requests.

mod callgrind;
mod cases;
mod processor;
mod syscalls;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity_core::failure::Failure;

use crate::report::Report;
use crate::stage::{Stage, build};
use cases::Case;
use processor::Spent;

const SERVICES: [&str; 3] = ["ident", "tokenstore", "eida-auth"];

/// Prints what each kind of request costs, in Markdown. The binaries with `symbols` are built unless they are given.
#[expect(clippy::print_stdout, reason = "it is what the option is for")]
pub async fn measure(
    stage: &Stage,
    root: &Path,
    report: &Report,
    symbols: Option<PathBuf>,
) -> Result<(), Failure> {
    let copies = tempfile::TempDir::new().map_err(|error| Failure::because("making a directory", error))?;
    let symbols = if let Some(symbols) = symbols {
        symbols
    } else {
        with_symbols(root, copies.path())?;
        copies.path().to_owned()
    };
    println!("{HEAD}");
    let mut parts = String::new();
    for case in Case::all() {
        if !report.wants(case.name) {
            continue;
        }
        let shipped = case
            .start(stage, &[stage.binaries.join(case.service).into()])
            .await?;
        let (url, pid) = (&shipped.running.url, shipped.running.pid());
        shipped.script.warm_up(url, case.connections, stage.time).await?;
        let before = Spent::now(pid, stage.postgres.pid());
        let measured = shipped.script.run(url, case.connections, stage.time).await?;
        let spent = Spent::now(pid, stage.postgres.pid()).since(&before, measured.requests);
        let calls = syscalls::count(&shipped, case.connections, Duration::from_secs(4)).await?;
        drop(shipped);
        let counted = callgrind::count(stage, &case, &symbols.join(case.service)).await?;
        println!(
            "| {} | {:.0} | {} | {:.2} | {:.0} |",
            case.name,
            measured.per_second(),
            spent.cells(),
            calls.total,
            counted.total
        );
        // Writing to a String cannot fail.
        let _ = write!(parts, "\n{}: {}\n\n{}", case.name, calls.text, counted.table());
    }
    println!("{parts}");
    Ok(())
}

const HEAD: &str = "\
| request | answered /s | service, user µs | service, system µs | Postgres, user µs | Postgres, system µs | wrk µs | \
switches of the service | system calls of the service | instructions of the service |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The same binaries, with the names of their functions; those in target/release are as they were.
fn with_symbols(root: &Path, place: &Path) -> Result<(), Failure> {
    let named = SERVICES.map(|service| format!("--config=profile.release.package.{service}.strip=false"));
    build(root, &named)?;
    for service in SERVICES {
        let binary = root.join("target/release").join(service);
        std::fs::copy(binary, place.join(service))
            .map_err(|error| Failure::because("copying the binaries", error))?;
    }
    build(root, &[])
}
