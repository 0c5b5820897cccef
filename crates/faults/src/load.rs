//! Clients that go on asking until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use identity_core::crypto::random;
use tokio::task::JoinSet;

/// Whether a client shall go on.
#[derive(Debug, Clone)]
pub struct Running(Arc<AtomicBool>);

impl Running {
    /// Whether to ask once more.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    running: Running,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts `count` clients, each of which is told its number.
    pub fn start<F>(count: usize, client: impl Fn(usize, Running) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = Running(Arc::new(AtomicBool::new(true)));
        let mut clients = JoinSet::new();
        for number in 0..count {
            clients.spawn(client(number, running.clone()));
        }
        Self { running, clients }
    }

    /// Lets every client end what it has begun.
    pub async fn stop(self) {
        self.running.0.store(false, Ordering::Relaxed);
        self.finish().await;
    }

    /// Waits until every client has ended by itself.
    pub async fn finish(mut self) {
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("the client ends well");
        }
    }
}

/// A random number below `limit`.
#[must_use]
pub fn random_below(limit: u64) -> u64 {
    u64::from_le_bytes(random::bytes()) % limit
}

/// Waits until `count` has grown by `more`; gives how long that took.
///
/// # Panics
/// When it has not after `limit`.
pub async fn grown(limit: Duration, more: usize, count: impl Fn() -> usize) -> Duration {
    let (began, before) = (Instant::now(), count());
    while count() < before + more {
        let grown = count() - before;
        assert!(began.elapsed() < limit, "{grown} of {more} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// Lets the clients have `more` answers to be counted by `count`, and stops at any moment after.
pub async fn some_moment_after(more: usize, count: impl Fn() -> usize) {
    grown(Duration::from_mins(1), more, count).await;
    tokio::time::sleep(Duration::from_millis(random_below(200))).await;
}
