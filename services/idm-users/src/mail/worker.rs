//! Sends what is in the outbox.

use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::db::{Database, Error};
use identity_core::metrics::Metrics;
use identity_core::runtime::Stop;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use secrecy::ExposeSecret;

use super::Postbox;
use super::model::{GIVE_UP_AFTER, Mail, pause};
use super::store::{self, Claimed};

/// Mails are claimed one by one: what was not begun when the service stops is anybody's at once.
const AT_ONCE: i64 = 1;
/// How often an instance looks for mails that another one wrote, or that come due again.
const POLL: Duration = Duration::from_secs(1);
/// How long a claim lasts: longer than a mail can take.
const LEASE: Duration = Duration::from_mins(2);
/// How long Postgres may take: on a connection whose other end is gone it would be for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most characters of an error that are kept.
const LONGEST_ERROR: usize = 500;

/// Sends the mails of one instance.
#[derive(Debug)]
pub(crate) struct Worker {
    postbox: Postbox,
    database: Database,
    clock: Clock,
    retry_interval: Duration,
    sent: Counter,
    failed: Counter,
    waiting: Gauge,
    oldest: Gauge,
}

impl Worker {
    /// A worker that empties `postbox`.
    pub(crate) fn new(
        postbox: Postbox,
        database: Database,
        clock: Clock,
        retry_interval: Duration,
        metrics: &Metrics,
    ) -> Self {
        Self {
            postbox,
            database,
            clock,
            retry_interval,
            sent: metrics.counter("mails_sent", "Mails that the mail server took"),
            failed: metrics.counter("mails_failed", "Tries to send a mail that failed"),
            waiting: metrics.gauge("mails_waiting", "Mails that are still to be sent"),
            oldest: metrics.gauge("mails_oldest_seconds", "Age of the oldest mail that waits"),
        }
    }

    /// Sends until `stop` is said; what is being sent ends first.
    pub(crate) async fn run(&self, stop: &Stop) {
        while !stop.is_said() {
            let claimed = in_time(self.claim()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "mails cannot be claimed");
                Vec::new()
            });
            let more_may_be_due = !claimed.is_empty();
            for mail in claimed {
                self.deliver(mail).await;
            }
            if let Ok((waiting, oldest)) = in_time(self.depth()).await {
                self.waiting.set(waiting);
                self.oldest.set(oldest);
            }
            if more_may_be_due {
                continue;
            }
            tokio::select! {
                () = stop.said() => {}
                () = self.postbox.written.notified() => {}
                () = self.clock.sleep(POLL) => {}
            }
        }
    }

    async fn claim(&self) -> Result<Vec<Claimed>, Error> {
        let client = self.database.client().await?;
        store::claim(&client, AT_ONCE, LEASE, self.clock.now()).await
    }

    async fn depth(&self) -> Result<(i64, i64), Error> {
        store::depth(&self.database.client().await?, self.clock.now()).await
    }

    async fn deliver(&self, claimed: Claimed) {
        let sent = match self.open(&claimed) {
            Some(mail) => self.postbox.sender.send(claimed.id, &mail, claimed.created).await,
            None => Err("it was written under another jwt.secret".to_owned()),
        };
        let noted = match &sent {
            Ok(()) => in_time(self.note_sent(&claimed)).await,
            Err(error) => in_time(self.note_failed(&claimed, error)).await,
        };
        if let Err(error) = noted {
            // The claim runs out by itself, and the mail is sent again.
            tracing::warn!(%error, mail = %claimed.id, "how the sending of a mail went could not be noted");
        }
    }

    fn open(&self, claimed: &Claimed) -> Option<Mail> {
        let keys = &self.postbox.signing.at_rest;
        let content = keys.open_text(&store::place(claimed.id), &claimed.content).ok()?;
        Mail::stored(claimed.recipient.clone(), content.expose_secret())
    }

    async fn note_sent(&self, claimed: &Claimed) -> Result<(), Error> {
        self.sent.inc();
        tracing::info!(mail = %claimed.id, attempts = claimed.attempts, "a mail was sent");
        store::delete(&self.database.client().await?, claimed.id).await
    }

    async fn note_failed(&self, claimed: &Claimed, error: &str) -> Result<(), Error> {
        self.failed.inc();
        let now = self.clock.now();
        let given_up = now.duration_since(claimed.created).as_secs() >= GIVE_UP_AFTER;
        if given_up {
            tracing::error!(mail = %claimed.id, error, "a mail was given up");
        } else {
            tracing::warn!(mail = %claimed.id, attempts = claimed.attempts, error, "a mail could not be sent");
        }
        let error: String = error.chars().take(LONGEST_ERROR).collect();
        let next = now + pause(self.retry_interval, claimed.attempts);
        let client = self.database.client().await?;
        store::update_failed(&client, claimed.id, &error, next, given_up.then_some(now)).await
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| Err(Error::unavailable("no answer in time")))
}
