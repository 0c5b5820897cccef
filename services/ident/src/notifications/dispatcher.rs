//! Delivers events: claims what is due, posts it, and notes how that went.

use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::random;
use identity_core::db::{Database, Error};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Stop;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::model::{Destination, Event};
use super::store;

/// How many deliveries run at once in an instance.
const AT_ONCE: usize = 16;

/// How often an instance looks for events that another one wrote, or that come due again.
const POLL: Duration = Duration::from_millis(500);

/// How much longer a claim lasts than the longest delivery, so that no other instance takes up what
/// is still on its way.
const LEASE_BEYOND_TIMEOUT: Duration = Duration::from_secs(20);

/// How long Postgres may take to give events out or to note how a delivery went: on a connection
/// whose other end is gone it would be for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers the events of one instance.
#[derive(Debug, Clone)]
pub struct Dispatcher(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    database: Database,
    clock: Clock,
    destination: Destination,
    outgoing: Outgoing,
    lease: Duration,
    written: Arc<Notify>,
    counts: Counts,
}

#[derive(Debug)]
struct Counts {
    delivered: Counter,
    failed: Counter,
    dead: Counter,
    waiting: Gauge,
    oldest: Gauge,
    kept_dead: Gauge,
}

impl Counts {
    fn new(metrics: &Metrics) -> Self {
        Self {
            delivered: metrics.counter("events_delivered", "Notifications that a receiver took"),
            failed: metrics.counter("events_failed", "Attempts to deliver a notification that failed"),
            dead: metrics.counter("events_given_up", "Notifications that were given up"),
            waiting: metrics.gauge("events_waiting", "Notifications that are still to be delivered"),
            oldest: metrics.gauge(
                "events_oldest_seconds",
                "Age of the oldest notification that waits",
            ),
            kept_dead: metrics.gauge("events_dead", "Notifications that were given up and are kept"),
        }
    }
}

impl Dispatcher {
    /// A dispatcher to `destination`; `timeout` is that of outgoing requests, and `written` tells
    /// that this instance has committed an event.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Clock,
        destination: Destination,
        outgoing: Outgoing,
        timeout: Duration,
        written: Arc<Notify>,
        metrics: &Metrics,
    ) -> Self {
        let counts = Counts::new(metrics);
        let lease = timeout + LEASE_BEYOND_TIMEOUT;
        Self(Arc::new(Parts {
            database,
            clock,
            destination,
            outgoing,
            lease,
            written,
            counts,
        }))
    }

    /// Delivers until `stop` is said; deliveries under way end first.
    pub async fn run(&self, stop: &Stop) {
        let mut deliveries = JoinSet::new();
        while !stop.is_said() {
            let claimed = match in_time(self.claim(AT_ONCE.saturating_sub(deliveries.len()))).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(%error, "events cannot be claimed");
                    Vec::new()
                }
            };
            let more_may_be_due = !claimed.is_empty();
            for event in claimed {
                let dispatcher = self.clone();
                deliveries.spawn(async move { dispatcher.deliver(event).await });
            }
            if more_may_be_due && deliveries.len() < AT_ONCE {
                continue;
            }
            tokio::select! {
                () = stop.said() => {}
                // A delivered event lets its user's next one go.
                Some(_) = deliveries.join_next() => {}
                () = self.0.written.notified(), if deliveries.len() < AT_ONCE => {}
                () = self.0.clock.sleep(POLL), if deliveries.len() < AT_ONCE => {}
            }
        }
        while deliveries.join_next().await.is_some() {}
    }

    async fn claim(&self, most: usize) -> Result<Vec<Event>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let client = self.0.database.client().await?;
        store::claim(&client, most, self.0.lease, self.0.clock.now()).await
    }

    async fn deliver(&self, event: Event) {
        let posted = self.post(&event).await;
        let noted = match &posted {
            Ok(()) => in_time(self.delivered(&event)).await,
            Err(error) => in_time(self.failed(&event, error)).await,
        };
        if let Err(error) = noted {
            // The claim runs out by itself, and the event is told again.
            tracing::warn!(%error, event = event.id, "how a delivery went could not be noted");
        }
    }

    async fn post(&self, event: &Event) -> Result<(), String> {
        let Parts {
            destination,
            outgoing,
            clock,
            ..
        } = &*self.0;
        let url = destination
            .url_for(event.user_id)
            .map_err(|error| error.to_string())?;
        let (id, timestamp) = (event.webhook_id.to_string(), clock.now().as_second());
        outgoing
            .notify(url, &destination.signer, &id, timestamp, event.body())
            .await
    }

    async fn delivered(&self, event: &Event) -> Result<(), Error> {
        self.0.counts.delivered.inc();
        store::delete(&self.0.database.client().await?, event).await
    }

    async fn failed(&self, event: &Event, error: &str) -> Result<(), Error> {
        let Parts {
            database,
            clock,
            destination,
            counts,
            ..
        } = &*self.0;
        counts.failed.inc();
        let now = clock.now();
        let [chance] = random::bytes();
        let next = now + event.pause(chance);
        let dead = now.duration_since(event.created_at)
            >= destination
                .give_up_after
                .try_into()
                .unwrap_or(jiff::SignedDuration::MAX);
        store::update_failed(&database.client().await?, event, error, next, dead.then_some(now)).await?;
        // Only now: what is counted and told as given up is kept as such, whatever happens to this process.
        if dead {
            counts.dead.inc();
            tracing::error!(
                event = event.id,
                user = event.user_id,
                error,
                "a notification was given up"
            );
        } else {
            tracing::warn!(
                event = event.id,
                user = event.user_id,
                attempts = event.attempts,
                error,
                "a notification failed"
            );
        }
        Ok(())
    }

    /// Keeps the gauges of what waits up to date until `stop` is said.
    pub async fn measure(&self, stop: &Stop) {
        while !stop.is_said() {
            let depth = async {
                let client = self.0.database.client().await?;
                store::depth(&client, self.0.clock.now()).await
            };
            if let Ok((waiting, oldest, dead)) = in_time(depth).await {
                self.0.counts.waiting.set(waiting);
                self.0.counts.oldest.set(oldest);
                self.0.counts.kept_dead.set(dead);
            }
            tokio::select! {
                () = stop.said() => {}
                () = tokio::time::sleep(Duration::from_secs(15)) => {}
            }
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| Err(Error::unavailable("no answer in time")))
}
