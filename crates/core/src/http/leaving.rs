//! The end of a service's work, behind a proxy that must not lose a request by it: nobody new comes, who is here is
//! served, and only then is anything closed.
//!
//! A proxy keeps connections open and sends its next request on one of them. If that was closed in the same moment, it
//! does not know whether a POST was carried out, and cannot send it to another instance. So at the word to stop idle
//! connections stay open for a while and new ones are refused, which a proxy takes as "ask another"; each answer says
//! `Connection: close`, so that the proxy itself stops using them.
//!
//! Between "taken" and "refused" there is no moment in which a connection is made that nobody takes: first none begins
//! any more, then those that had begun are taken, then the listener is closed ([`super::address`]).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use tokio::sync::Notify;

use super::address;
use crate::runtime::Stop;

/// When no request has come for so long, no proxy has a connection left that it uses often.
const QUIET: Duration = Duration::from_millis(100);
/// A handshake that has begun is over after so long, and its connection is taken: between two machines of one place it
/// takes a millisecond or less.
const HANDSHAKE: Duration = Duration::from_millis(20);
/// Between two looks, and what a thread needs to do what it was told.
const PAUSE: Duration = Duration::from_millis(10);

/// The requests of a server, and whether it is leaving. Clones are one.
#[derive(Debug, Clone)]
pub struct Leaving(Arc<State>);

#[derive(Debug)]
struct State {
    on: AtomicBool,
    open: AtomicUsize,
    began: Instant,
    /// When a request came or ended last, in milliseconds from `began` on.
    last: AtomicU64,
    over: Notify,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Open(Leaving);

impl Default for Leaving {
    fn default() -> Self {
        Self(Arc::new(State {
            on: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            began: Instant::now(),
            last: AtomicU64::new(0),
            over: Notify::new(),
        }))
    }
}

impl Leaving {
    /// Counts a request for as long as the value lives.
    pub(super) fn open(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        self.note();
        Open(self.clone())
    }

    /// Whether answers shall end their connections.
    pub(super) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Acquire)
    }

    /// Returns when connections can be closed.
    pub(super) async fn over(&self) {
        self.0.over.notified().await;
    }

    /// At the word to stop: refuses new connections to `listener`, the one of `server`, and waits until its requests
    /// are answered, at most for `grace`. What is open then is cut off.
    pub(super) async fn see_off(
        self,
        stop: Stop,
        server: ServerHandle,
        listener: TcpListener,
        grace: Duration,
    ) {
        stop.said().await;
        if let Err(error) = refuse(&server, &listener).await {
            tracing::warn!(%error, "new connections could not be refused");
        }
        self.0.on.store(true, Ordering::Release);
        let deadline = Instant::now() + grace;
        while !self.is_quiet() {
            if Instant::now() >= deadline {
                server.stop(false).await;
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.0.over.notify_one();
    }

    fn is_quiet(&self) -> bool {
        let since = self.now().saturating_sub(self.0.last.load(Ordering::Acquire));
        self.0.open.load(Ordering::Acquire) == 0 && u128::from(since) >= QUIET.as_millis()
    }

    fn note(&self) {
        self.0.last.store(self.now(), Ordering::Release);
    }

    fn now(&self) -> u64 {
        // As if it had begun earlier: a server without any request is quiet at once.
        let passed = self.0.began.elapsed() + QUIET;
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Refuses connections from now on, when all that were begun are taken.
async fn refuse(server: &ServerHandle, listener: &TcpListener) -> io::Result<()> {
    address::begin_none(listener)?;
    tokio::time::sleep(HANDSHAKE).await;
    // Else it would take what is closed for an error, and say so in the log. It is told, but not done when this returns.
    server.pause().await;
    tokio::time::sleep(PAUSE).await;
    address::refuse(listener)
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.note();
        self.0.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
