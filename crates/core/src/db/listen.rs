//! LISTEN: what one instance changed, another hears at once. What is said while the connection is
//! lost is not heard, so that whoever listens also looks from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::hosts::Hosts;
use crate::failure::causes;

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells that something was said; several sayings may be heard as one. Ends when it is dropped.
#[derive(Debug)]
pub struct Changes {
    heard: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Changes {
    /// Returns when something was said since the last time, or within `at_most`.
    pub async fn next(&self, at_most: Duration) {
        // Whether it was heard or the time is over, the caller looks.
        let _ = tokio::time::timeout(at_most, self.heard.notified()).await;
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(hosts: Hosts, channel: &'static str) -> Changes {
    let heard = Arc::new(Notify::new());
    let said = heard.clone();
    let task = tokio::spawn(async move {
        loop {
            if let Err(error) = listen(&hosts, channel, &said).await {
                tracing::debug!(error = causes(&error), channel, "not listening; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Changes { heard, task }
}

/// Listens until the connection is lost.
async fn listen(hosts: &Hosts, channel: &str, said: &Arc<Notify>) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = hosts.connect_hearing(said).await?;
    client.batch_execute(&format!("LISTEN {channel}")).await?;
    // What was said before this moment was not heard.
    said.notify_one();
    // How it ended does not matter: it is made anew.
    let _ = connection.await;
    Ok(())
}
