//! Knows whether Postgres is within reach, over a connection of its own, so that a busy pool is
//! not mistaken for an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Database;
use crate::config::values::OutageExit;
use crate::failure::{Failure, causes};

/// Between two questions while all is well, and the first pause of the backoff.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause of the backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether Postgres is out of reach now.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage(Arc<AtomicBool>);

impl Outage {
    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }
}

pub(super) async fn until_given_up(database: &Database, outage: &Outage, exit: OutageExit) -> Failure {
    let mut connection = None;
    let mut lost: Option<(Instant, Duration)> = None;
    loop {
        let Err(cause) = ask(database, &mut connection).await else {
            if let Some((since, _)) = lost.take() {
                tracing::info!(seconds = since.elapsed().as_secs(), "Postgres is back");
                outage.set(false);
            }
            sleep(PAUSE).await;
            continue;
        };
        connection = None;
        outage.set(true);
        let (since, pause) = *lost.get_or_insert_with(|| {
            tracing::error!(cause, "Postgres is out of reach; requests are answered 503");
            (Instant::now(), PAUSE)
        });
        let left = match exit {
            OutageExit::Never => pause,
            OutageExit::After(limit) => match limit.checked_sub(since.elapsed()) {
                None | Some(Duration::ZERO) => return Failure::Unreachable(cause),
                Some(left) => left,
            },
        };
        sleep(pause.min(left)).await;
        lost = Some((since, (pause * 2).min(LONGEST_PAUSE)));
    }
}

async fn ask(database: &Database, connection: &mut Option<tokio_postgres::Client>) -> Result<(), String> {
    let asked = async {
        let client = match connection.take() {
            Some(client) => client,
            None => database.connect().await?,
        };
        client.simple_query("").await?;
        Ok::<_, tokio_postgres::Error>(client)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(client)) => {
            *connection = Some(client);
            Ok(())
        }
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
