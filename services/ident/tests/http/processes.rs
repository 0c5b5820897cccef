//! The real binary, for what only a process can show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use identity_testkit::{Process, TestDatabase, command, output};

/// The key of all tests that need no other.
pub const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// `ident` in exactly this environment.
pub fn ident_in(environment: &[(&'static str, &str)], arguments: &[&str]) -> Command {
    let environment: BTreeMap<_, _> = environment
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    command(env!("CARGO_BIN_EXE_ident"), &environment, arguments)
}

/// `ident` on the database at `url`, with open records on a free port.
pub fn ident_at(url: &str, arguments: &[&str]) -> Command {
    let environment = [
        ("IDENT__DATABASE__POSTGRES__URL", url),
        ("IDENT__DATABASE__ENCRYPTION_KEY", KEY),
        ("IDENT__SERVER__BIND", "127.0.0.1:0"),
        ("IDENT__SERVER__WORKERS", "1"),
        ("IDENT__AUTH__RECORDS", "open"),
        ("IDENT__OUTGOING__ALLOW_PRIVATE", "true"),
    ];
    ident_in(&environment, arguments)
}

/// Serves on `database`, with `settings` (`key=value`) over the usual ones.
pub fn serve(database: &TestDatabase, settings: &[&str]) -> Process {
    Process::start(ident_at(&database.url(), &set(settings)))
}

/// Runs a command of `ident` on `database` to its end.
pub async fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    output(ident_at(&database.url(), arguments)).await
}

/// `key=value` as arguments.
pub fn set<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|&setting| ["--set", setting]).collect()
}

/// The exit status.
pub fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// What it printed.
pub fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of.
pub fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
