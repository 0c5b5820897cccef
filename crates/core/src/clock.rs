//! The time, as an argument: real for programs, turned by hand for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Tells the time. Clones share one clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Turned>);

#[derive(Debug, Default)]
struct Turned {
    ahead_millis: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The present moment.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.0.ahead_millis.load(Ordering::Relaxed));
        Timestamp::now() + ahead
    }

    /// Turns the clock forward, waking whoever sleeps by it.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2);
        self.0.ahead_millis.fetch_add(millis, Ordering::Relaxed);
        self.0.moved.notify_waiters();
    }

    /// Returns when `span` has passed by this clock.
    pub async fn sleep(&self, span: Duration) {
        let until = self.now() + span;
        loop {
            let moved = self.0.moved.notified();
            let left = until.duration_since(self.now());
            let Ok(left) = Duration::try_from(left) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = moved => {}
            }
        }
    }
}
