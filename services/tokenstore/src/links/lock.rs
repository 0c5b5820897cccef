//! Of all processes, one refreshes a link: an advisory lock of Postgres, held by a session of its own. It
//! goes with that session, so that of a holder that dies nothing is left, and no transaction is open and no
//! connection of the pool taken while the provider is asked (decision 0030).

use std::sync::Arc;
use std::time::Duration;

use identity_core::db::tokio_postgres::{self, Client};
use identity_core::db::{Database, Error, lock};
use tokio::sync::Mutex;

use super::model::LinkKey;

/// How long Postgres may take to say whether a lock is free. A connection whose other end is gone would
/// be waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The locks of one instance.
#[derive(Debug)]
pub struct Locks {
    database: Database,
    session: Mutex<Option<Arc<Client>>>,
}

/// A lock, until it is dropped.
#[derive(Debug)]
pub struct Held {
    session: Arc<Client>,
    key: i64,
}

impl Locks {
    /// Locks in `database`; the session begins with the first.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            session: Mutex::default(),
        }
    }

    /// Takes the lock of a link, if no other process has it.
    ///
    /// Within a process the caller sees to it that a link is asked for once at a time: to Postgres all
    /// locks of a session are one owner's.
    ///
    /// # Errors
    /// [`Error`] where Postgres does not answer.
    pub async fn try_take(&self, link: &LinkKey) -> Result<Option<Held>, Error> {
        let key = lock::key(self.database.schema(), &link.place("refresh"));
        let session = self.session().await?;
        let asked = async {
            session
                .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
                .await
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let Ok(answer) = answer else {
            // Not used again; what it holds goes with it.
            *self.session.lock().await = None;
            return Err(Error::unavailable("no answer about a lock"));
        };
        let taken: bool = answer?.try_get(0)?;
        Ok(taken.then_some(Held { session, key }))
    }

    async fn session(&self) -> Result<Arc<Client>, Error> {
        let mut session = self.session.lock().await;
        match &*session {
            Some(client) if !client.is_closed() => Ok(client.clone()),
            _ => {
                let made: Result<Client, tokio_postgres::Error> = self.database.connect().await;
                let client = Arc::new(made?);
                *session = Some(client.clone());
                Ok(client)
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (session, key) = (self.session.clone(), self.key);
        tokio::spawn(async move {
            if let Err(error) = session.execute("SELECT pg_advisory_unlock($1)", &[&key]).await {
                tracing::debug!(%error, "a lock went with its session");
            }
        });
    }
}
