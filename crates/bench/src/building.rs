//! How long it takes to build and to test everything from nothing, in a fresh clone.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use identity_core::failure::Failure;

use crate::report::{Figure, Report, Target};

/// The rows.
pub const ROWS: [&str; 2] = [
    "build: cargo build --release from nothing",
    "build: cargo test --workspace from nothing",
];

/// Adds the rows, of what is committed at `root`. They take half an hour together on two cores.
pub fn measure(root: &Path, report: &mut Report) -> Result<(), Failure> {
    let commands: [(&[&str], f64); 2] = [
        (&["build", "--release"], 12.0),
        (&["test", "--workspace", "--quiet"], 20.0),
    ];
    for (name, (arguments, allowed)) in ROWS.into_iter().zip(commands) {
        if !report.wants(name) {
            continue;
        }
        let place =
            tempfile::TempDir::new().map_err(|error| Failure::because("making a directory", error))?;
        let clone = place.path().join("clone");
        run(Command::new("git")
            .args(["clone", "--quiet"])
            .arg(root)
            .arg(&clone))?;
        run(cargo(&clone).args(["fetch", "--locked"]))?;
        let began = Instant::now();
        run(cargo(&clone).args(arguments).arg("--locked"))?;
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        report.add(
            name,
            Figure::minutes(minutes),
            (Figure::minutes(allowed), "allowed"),
            Target::AtMost(1.0),
        );
    }
    Ok(())
}

/// Cargo in `clone`, as one calls it there: nothing of the cargo that runs this one is told to it.
fn cargo(clone: &Path) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_toolchain = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&&*text);
        if (text.starts_with("CARGO") || text.starts_with("RUST")) && !of_toolchain {
            command.env_remove(&name);
        }
    }
    command.current_dir(clone);
    command
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let what = format!("{command:?}");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| Failure::because(&what, error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Other(format!("{what} failed: {status}")))
    }
}
