//! `--profile`: where the time of a request goes. Counts of instructions and of system calls are free of
//! what else the machine does; times are those of the processor, divided by the requests.

mod callgrind;
mod cases;
mod processor;
mod syscalls;

use std::path::Path;
use std::time::Duration;

use identity_core::failure::Failure;

use crate::report::Report;
use crate::stage::{Stage, build};
use cases::Case;
use processor::Spent;

/// What is profiled is asked for over so many connections, as in the rows.
const CONNECTIONS: u32 = 32;
const SERVICES: [&str; 3] = ["ident", "tokenstore", "eida-auth"];

/// Prints what each kind of request costs, in Markdown.
#[expect(clippy::print_stdout, reason = "it is what the option is for")]
pub async fn measure(stage: &Stage, root: &Path, report: &Report) -> Result<(), Failure> {
    let symbols = with_symbols(root)?;
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
        shipped.script.warm_up(url, CONNECTIONS, stage.time).await?;
        let before = Spent::now(pid, stage.postgres.pid());
        let measured = shipped.script.run(url, CONNECTIONS, stage.time).await?;
        let spent = Spent::now(pid, stage.postgres.pid()).since(&before, measured.requests);
        let calls = syscalls::count(&shipped, CONNECTIONS, Duration::from_secs(4)).await?;
        drop(shipped);
        let counted = callgrind::count(stage, &case, &symbols.path().join(case.service)).await?;
        println!(
            "| {} | {:.0} | {} | {:.2} | {:.0} |",
            case.name,
            measured.per_second(),
            spent.cells(),
            calls.total,
            counted.total
        );
        parts += &format!("\n{}: {}\n\n{}", case.name, calls.text, counted.table());
    }
    println!("{parts}");
    Ok(())
}

const HEAD: &str = "\
| request | answered /s | service, user µs | service, system µs | Postgres, user µs | Postgres, system µs | wrk µs | \
switches of the service | system calls of the service | instructions of the service |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The same binaries, with the names of their functions; those in target/release are as they were.
fn with_symbols(root: &Path) -> Result<tempfile::TempDir, Failure> {
    let failed = |error| Failure::because("copying the binaries", error);
    let named = SERVICES.map(|service| format!("--config=profile.release.package.{service}.strip=false"));
    build(root, &named)?;
    let copies = tempfile::TempDir::new().map_err(failed)?;
    for service in SERVICES {
        let binary = root.join("target/release").join(service);
        std::fs::copy(binary, copies.path().join(service)).map_err(failed)?;
    }
    build(root, &[])?;
    Ok(copies)
}
