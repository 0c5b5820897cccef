//! The real binary as a process, for what only a process can show: exit statuses, signals, its log.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

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

    /// Where it listens, which its log says when it serves.
    pub async fn address(&self) -> SocketAddr {
        eventually("the process listens", async || {
            let log = self.log();
            let line = log
                .lines()
                .find(|line| line.contains("\"listening\""))?
                .to_owned();
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
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
