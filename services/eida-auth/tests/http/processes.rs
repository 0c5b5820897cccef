//! The real binary, for what only a process can show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use identity_testkit::command;

/// `eida-auth` in exactly this environment.
pub fn eida_in(environment: &[(&'static str, &str)], arguments: &[&str]) -> Command {
    let environment: BTreeMap<_, _> = environment
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    command(env!("CARGO_BIN_EXE_eida-auth"), &environment, arguments)
}

/// `eida-auth` on the database at `url`, on a free port.
pub fn eida_at(url: &str, arguments: &[&str]) -> Command {
    let environment = [
        ("EIDA_AUTH__DATABASE__POSTGRES__URL", url),
        ("EIDA_AUTH__SERVER__BIND", "127.0.0.1:0"),
        ("EIDA_AUTH__SERVER__WORKERS", "1"),
        ("EIDA_AUTH__LOG__LEVEL", "info"),
    ];
    eida_in(&environment, arguments)
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
