//! The services while they run: started together in this process, waited for, and stopped together.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use identity_core::clock::Clock;
use identity_core::config::Settings;
use identity_core::failure::Failure;
use identity_core::runtime::{self, Runtime, Stop, Stopper};
use reqwest::Client;
use tokio::task::JoinSet;

use crate::service::{Planned, Service};

/// How long a service may take until it is ready, its migrations included.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);

/// Services that run until they are stopped.
#[derive(Debug)]
pub struct Running {
    tasks: JoinSet<(&'static str, Result<(), Failure>)>,
    stopper: Stopper,
    stop: Stop,
}

impl Running {
    /// None so far.
    pub fn new() -> Self {
        let (stopper, stop) = runtime::stop();
        Self {
            tasks: JoinSet::new(),
            stopper,
            stop,
        }
    }

    /// Starts one more.
    pub fn start(&mut self, service: &'static Service, settings: Settings, listener: TcpListener) {
        let runtime = Runtime {
            listener,
            clock: Clock::system(),
            stop: self.stop.clone(),
        };
        let work = (service.run)(settings, runtime);
        self.tasks.spawn(async move { (service.name, work.await) });
    }

    /// Returns when all of `planned` are ready.
    ///
    /// Errors: one of them ended instead, or takes too long.
    pub async fn ready(&mut self, client: &Client, planned: &[Planned]) -> Result<(), Failure> {
        tokio::select! {
            ready = all_ready(client, planned) => ready,
            failure = self.first_end() => Err(failure),
        }
    }

    /// Returns when a service has ended, which none does unasked unless it fails.
    pub async fn first_end(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(ended) => match failure(ended) {
                Some(failure) => failure,
                None => Failure::Other("a service has ended by itself".to_owned()),
            },
            None => std::future::pending().await,
        }
    }

    /// Stops all of them and waits until they have ended.
    ///
    /// Errors: the first failure.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.stopper.stop();
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            first = first.and(failure(ended).map_or(Ok(()), Err));
        }
        first
    }
}

type Ended = Result<(&'static str, Result<(), Failure>), tokio::task::JoinError>;

/// Why a service has ended, unless it was asked to.
fn failure(ended: Ended) -> Option<Failure> {
    match ended {
        Ok((_, Ok(()))) => None,
        Ok((name, Err(failure))) => Some(Failure::Other(format!("{name}: {failure}"))),
        Err(error) => Some(Failure::because("running a service", error)),
    }
}

async fn all_ready(client: &Client, planned: &[Planned]) -> Result<(), Failure> {
    let begun = Instant::now();
    for planned in planned {
        let url = format!("{}/readyz", planned.url());
        loop {
            let reason = match client.get(&url).timeout(QUESTION).send().await {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => format!("{url} answers {}", answer.status()),
                Err(error) => identity_core::failure::causes(&error),
            };
            if begun.elapsed() > PATIENCE {
                let name = planned.service.name;
                return Err(Failure::Other(format!(
                    "{name} is not ready within {PATIENCE:?}: {reason}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
