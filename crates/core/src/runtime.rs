//! What a running service is given from outside: its listener, the time, and the word to stop.

use std::net::TcpListener;

use tokio::sync::watch;

use crate::clock::Clock;

/// Given by `main` to a service, by a test to the same service, and by the development launcher.
#[derive(Debug)]
pub struct Runtime {
    /// Where requests are accepted. It need not listen yet: that begins when the service serves.
    pub listener: TcpListener,
    /// The time.
    pub clock: Clock,
    /// Tells when to stop.
    pub stop: Stop,
}

/// Becomes true once, when the service shall stop. Clones share one word.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Gives the word to stop; dropping it gives it too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A pair: one side says stop, the other hears it.
#[must_use]
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was said.
    #[must_use]
    pub fn is_said(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns when it is said.
    pub async fn said(&self) {
        // An error means that the stopper is gone, which says the same.
        let _ = self.0.clone().wait_for(|said| *said).await;
    }

    /// Says stop at SIGTERM or SIGINT.
    #[must_use]
    pub fn at_signals() -> Self {
        let (stopper, stop) = stop();
        tokio::spawn(async move {
            signalled().await;
            stopper.stop();
            // A second signal must not find the stopper gone: it lives as long as the process.
            std::future::pending::<()>().await;
        });
        stop
    }
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be heard; only SIGKILL will stop this process");
            std::future::pending::<()>().await;
        }
    }
}
