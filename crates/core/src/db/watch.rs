//! Knows whether Postgres is within reach, over a connection of its own, so that a busy pool is
//! not mistaken for an outage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::Database;
use crate::config::values::OutageExit;
use crate::failure::{Failure, causes};

/// Between two questions while all is well, and the first pause of the backoff.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause of the backoff. Behind a failover it is what everybody waits for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(3);

/// When Postgres is back, what is still under way on older connections has so long to be answered: a server
/// that was only slow answers at once, one that is gone never.
const GRACE: Duration = Duration::from_secs(1);

/// Whether Postgres is out of reach now, and when it last was.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage(Arc<State>);

#[derive(Debug, Default)]
struct State {
    on: AtomicBool,
    last: Mutex<Option<std::time::Instant>>,
    began: Notify,
    ended: Notify,
}

impl Outage {
    pub(super) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Whether Postgres was out of reach after `moment`; connections from before cannot be trusted.
    pub(super) fn was_after(&self, moment: std::time::Instant) -> bool {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last > moment)
    }

    /// Returns when Postgres is out of reach; at once, where it is already.
    pub(super) async fn begins(&self) {
        let mut began = std::pin::pin!(self.0.began.notified());
        // From here on it is told of every beginning, so that none falls between the look and the wait.
        began.as_mut().enable();
        if !self.is_on() {
            began.await;
        }
    }

    /// Returns when an outage that came after `moment` is over, and nothing is to be expected any more of
    /// connections from before it.
    pub(super) async fn outlived(&self, moment: std::time::Instant) {
        loop {
            self.0.ended.notified().await;
            if self.was_after(moment) {
                return sleep(GRACE).await;
            }
        }
    }

    fn begin_or_go_on(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::time::Instant::now());
        if !self.0.on.swap(true, Ordering::Relaxed) {
            self.0.began.notify_waiters();
        }
    }

    fn end(&self) {
        self.0.on.store(false, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }
}

pub(super) async fn until_given_up(
    database: &Database,
    outage: &Outage,
    connect_timeout: Duration,
    exit: OutageExit,
) -> Failure {
    let mut connection = None;
    let mut lost: Option<(Instant, Duration)> = None;
    loop {
        let patience = match (&connection, &exit, &lost) {
            (Some(_), ..) => PATIENCE,
            // The hosts are tried one after the other, but not beyond the time of giving up.
            (None, OutageExit::After(limit), Some((since, _))) => {
                connect_timeout.min(limit.saturating_sub(since.elapsed()))
            }
            (None, ..) => connect_timeout,
        };
        let Err(cause) = ask(database, &mut connection, patience).await else {
            if let Some((since, _)) = lost.take() {
                tracing::info!(seconds = since.elapsed().as_secs(), "Postgres is back");
                outage.end();
            }
            sleep(PAUSE).await;
            continue;
        };
        connection = None;
        outage.begin_or_go_on();
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

async fn ask(
    database: &Database,
    connection: &mut Option<tokio_postgres::Client>,
    patience: Duration,
) -> Result<(), String> {
    let asked = async {
        let client = match connection.take() {
            Some(client) => client,
            None => database.connect().await?,
        };
        client.simple_query("").await?;
        Ok::<_, tokio_postgres::Error>(client)
    };
    match timeout(patience, asked).await {
        Ok(Ok(client)) => {
            *connection = Some(client);
            Ok(())
        }
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
