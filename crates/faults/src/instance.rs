//! A process of a service that keeps its address when it is killed and started again.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use identity_testkit::{Process, Signal, command, eventually, output};
use reqwest::Client;

use crate::binaries::binary;

/// A process of a real binary.
#[derive(Debug)]
pub struct Instance {
    /// Where it is reached, without a slash at the end.
    pub url: String,
    service: &'static str,
    settings: Vec<String>,
    process: Process,
    http: Client,
}

impl Instance {
    /// Starts `service` with `settings` (`key=value`) and waits until it is ready.
    pub async fn start(service: &'static str, settings: &[String]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let own = [
            format!("server.bind={address}"),
            "server.workers=1".to_owned(),
            // What a kill leaves of a line for each request is of no use.
            "log.level=warn,identity_core::http::server=info".to_owned(),
        ];
        let settings: Vec<String> = own.iter().chain(settings).cloned().collect();
        let instance = Self {
            url: format!("http://{address}"),
            service,
            process: Process::start(command_of(service, &settings, &[])),
            settings,
            http: crate::client(),
        };
        instance.ready().await;
        instance
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, where it was and as it was, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.process = Process::start(command_of(self.service, &self.settings, &[]));
        self.ready().await;
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&self) {
        eventually("the service is ready", async || {
            let asked = self.http.get(format!("{}/readyz", self.url));
            let answer = asked.timeout(Duration::from_secs(5)).send().await;
            answer.ok().filter(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Waits until `/readyz` has said so all the time for a second, in which the watch asks Postgres at least once.
    pub async fn steady(&self) {
        let mut since = Instant::now();
        eventually("the service stays ready", async || {
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
            if !answer.is_ok_and(|answer| answer.status().is_success()) {
                since = Instant::now();
            }
            (since.elapsed() > Duration::from_secs(1)).then_some(())
        })
        .await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// The number of the process that runs now.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the process that runs now has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs a command of the program, with the same configuration, to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(command_of(self.service, &self.settings, arguments)).await
    }
}

fn command_of(service: &str, settings: &[String], arguments: &[&str]) -> Command {
    let binary = binary(service);
    let mut command = command(binary.to_str().unwrap(), &BTreeMap::new(), &[]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.args(arguments);
    command
}

/// A port that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
