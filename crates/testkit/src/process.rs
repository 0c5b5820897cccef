//! The real binary as a process, for what only a process can show: exit statuses, signals, its log.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::wait::eventually;

/// A command of `binary` in an environment of its own.
#[must_use]
pub fn command(binary: &str, environment: &BTreeMap<&str, String>, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .envs(environment)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Runs `command`, which must end by itself, to its end.
pub async fn output(command: Command) -> Output {
    let mut command = tokio::process::Command::from(command);
    let ended = command.kill_on_drop(true).output();
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    ended.expect("the command ends by itself").unwrap()
}

/// A running binary, killed with the test.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts `command`, its standard error caught.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let stderr = File::options().append(true).open(log.path()).unwrap();
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, log }
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The lines of its log that are JSON.
    #[must_use]
    pub fn entries(&self) -> Vec<serde_json::Value> {
        let log = self.log();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Where it listens, which its log says when it serves.
    pub async fn address(&self) -> SocketAddr {
        self.address_in("listening").await
    }

    /// Where `/metrics` is.
    pub async fn metrics_address(&self) -> SocketAddr {
        self.address_in("listening for metrics").await
    }

    async fn address_in(&self, message: &str) -> SocketAddr {
        eventually(message, async || {
            let entries = self.entries();
            let line = entries
                .iter()
                .find(|line| line.get("message").is_some_and(|text| text == message))?;
            line.get("address")?.as_str()?.parse().ok()
        })
        .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its number, by which the system tells of it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
