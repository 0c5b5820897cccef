//! Removes expired accounts in batches, by itself and when it is asked; of all instances one at a time.

use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::db::{Error, lock};
use identity_core::runtime::Stop;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;

use super::store;
use crate::credentials::Ledger;
use crate::databases::Databases;

/// How many accounts are removed by one transaction: requests wait for none of them for long.
const BATCH: i64 = 500;

/// Removes what has expired. Clones share their turn.
#[derive(Debug, Clone)]
pub struct Cleaner {
    /// Where.
    pub databases: Databases,
    /// What was given for which token.
    pub ledger: Ledger,
    /// The time.
    pub clock: Clock,
    /// How often by itself.
    pub interval: Duration,
    /// Counts removed accounts.
    pub removed: Counter,
    /// Each needs two connections, which must not wait for each other.
    pub turn: Arc<Mutex<()>>,
}

impl Cleaner {
    /// Removes everything that has expired, and gives the number of accounts.
    ///
    /// # Errors
    /// What a database says; what was removed before stays removed.
    pub async fn clean(&self) -> Result<u64, Error> {
        let _turn = self.turn.lock().await;
        let mut removed = 0;
        loop {
            let batch = self.batch(true).await?.unwrap_or_default();
            removed += batch;
            if batch == 0 {
                break;
            }
        }
        self.ledger.forget_expired(self.clock.now()).await?;
        Ok(removed)
    }

    /// Removes one batch and gives its number; none where another instance is at it and `wait` does not hold.
    ///
    /// The privileges go first and are gone for good before their accounts are: a crash between the two
    /// leaves expired accounts, which the next cleanup finds.
    async fn batch(&self, wait: bool) -> Result<Option<u64>, Error> {
        let now = self.clock.now();
        let Databases {
            auth,
            privileges,
            accounts,
            networks,
            ..
        } = &self.databases;
        let mut client = auth.client().await?;
        let transaction = client.transaction().await?;
        let key = lock::key(auth.schema(), "eida-auth cleanup");
        if !store::take_turn(&transaction, key, wait).await? {
            return Ok(None);
        }
        let expired = store::expired(&transaction, accounts, now, BATCH).await?;
        if expired.is_empty() {
            return Ok(Some(0));
        }
        let logins: Vec<&str> = expired.iter().map(|account| account.login.as_str()).collect();
        // By itself a transaction: committed before the accounts are.
        store::delete_privileges(&privileges.client().await?, networks, &logins).await?;
        let indexes: Vec<i64> = expired.iter().map(|account| account.index).collect();
        let removed = store::delete_accounts(&transaction, accounts, &indexes).await?;
        transaction.commit().await?;
        self.removed.inc_by(removed);
        Ok(Some(removed))
    }

    /// Cleans at intervals until the word to stop.
    pub async fn run(&self, stop: &Stop) {
        loop {
            tokio::select! {
                () = self.clock.sleep(self.interval) => {}
                () = stop.said() => return,
            }
            match self.clean_unless_another_does().await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed expired accounts"),
                Err(error) => tracing::warn!(%error, "expired accounts could not be removed; later again"),
            }
        }
    }

    async fn clean_unless_another_does(&self) -> Result<u64, Error> {
        let _turn = self.turn.lock().await;
        let mut removed = 0;
        while let Some(batch) = self.batch(false).await? {
            removed += batch;
            if batch == 0 {
                self.ledger.forget_expired(self.clock.now()).await?;
                break;
            }
        }
        Ok(removed)
    }
}
