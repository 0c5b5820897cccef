//! Fresh tokens: one refresh at a time for a link, over all callers and processes, and a new token is
//! committed before anybody sees it.
//!
//! A refresh is a task of its own, which goes on when its caller has gone: what the provider has answered
//! must be stored. All callers of one process wait for the same task; processes exclude each other by
//! [`super::lock`]. A refresh that waited its turn looks whether another has done its work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Error};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock::{Held, Locks};
use super::model::{Fit, Link, LinkKey, Sealed, Token};
use super::store;
use crate::audit::{self, Action, Entry};
use crate::outbox::{self, Outbox};
use crate::providers::{Obtained, Provider, ProviderError};
use crate::state::Counts;

/// How long another process's refresh is waited for.
const TURN: Duration = Duration::from_secs(25);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// For how long it is tried to store what the provider has answered: it will not answer it again.
const COMMIT_WITHIN: Duration = Duration::from_mins(1);
/// When the provider is down and does not say for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// Why there is no fresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// There is no link.
    NotLinked,
    /// Its owner has to link the account again.
    ReauthorizationRequired,
    /// The provider does not answer, or not usefully; the stored token is kept.
    ProviderDown(Duration),
    /// Postgres does not answer.
    Unavailable,
    /// A fault of ours, for the log.
    Failed(String),
}

impl From<Error> for NoToken {
    fn from(error: Error) -> Self {
        match error.kind() {
            identity_core::db::ErrorKind::Other => Self::Failed(error.to_string()),
            _ => Self::Unavailable,
        }
    }
}

type Fresh = Result<Token, NoToken>;
type Running = Shared<BoxFuture<'static, Fresh>>;

/// Refreshes the links of one instance. Clones share what is running.
#[derive(Clone)]
pub struct Refresher(Arc<Parts>);

struct Parts {
    database: Database,
    clock: Clock,
    keys: Arc<Keys>,
    outbox: Outbox,
    locks: Locks,
    counts: Counts,
    /// The program's own: a worker's ends with the worker, and what runs on it too.
    runtime: Handle,
    running: Mutex<HashMap<LinkKey, Running>>,
    ended: Notify,
}

impl std::fmt::Debug for Refresher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Refresher")
    }
}

impl Refresher {
    /// A refresher over `database`, whose work is done by the runtime that it is made in.
    #[must_use]
    pub fn new(
        database: &Database,
        clock: &Clock,
        keys: &Arc<Keys>,
        outbox: &Outbox,
        counts: &Counts,
    ) -> Self {
        Self(Arc::new(Parts {
            database: database.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            outbox: outbox.clone(),
            locks: Locks::new(database),
            counts: counts.clone(),
            runtime: Handle::current(),
            running: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    /// A token newer than the one of generation `seen`, which was not good for `wanted`.
    ///
    /// # Errors
    /// [`NoToken`]
    pub async fn refresh(
        &self,
        provider: &Arc<Provider>,
        key: &LinkKey,
        seen: i64,
        wanted: Duration,
    ) -> Fresh {
        let running = {
            let mut all = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = all.get(key) {
                running.clone()
            } else {
                let running = self.start(provider.clone(), key.clone(), seen, wanted);
                all.insert(key.clone(), running.clone());
                running
            }
        };
        running.await
    }

    /// Returns when no refresh is running: a process must not end with an answer that is not stored.
    pub async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            let none = {
                let all = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
                all.is_empty()
            };
            if none {
                return;
            }
            // A look from time to time, in case that an end was missed between the two lines above.
            let _ = tokio::time::timeout(LOOK, ended).await;
        }
    }

    fn start(&self, provider: Arc<Provider>, key: LinkKey, seen: i64, wanted: Duration) -> Running {
        let parts = self.0.clone();
        let task = self.0.runtime.spawn(async move {
            let _ended = Ended {
                parts: parts.clone(),
                key: key.clone(),
            };
            parts.refresh(&provider, &key, seen, wanted).await
        });
        let joined = async move {
            task.await
                .unwrap_or_else(|error| Err(NoToken::Failed(format!("a refresh broke off: {error}"))))
        };
        joined.boxed().shared()
    }
}

/// Takes the refresh out of those that run, however it ends.
struct Ended {
    parts: Arc<Parts>,
    key: LinkKey,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut all = self.parts.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.key);
        self.parts.ended.notify_waiters();
    }
}

impl Parts {
    async fn refresh(&self, provider: &Provider, key: &LinkKey, seen: i64, wanted: Duration) -> Fresh {
        let until = Instant::now() + TURN;
        let _held: Held = loop {
            if let Some(held) = self.locks.try_take(key).await? {
                break held;
            }
            tokio::time::sleep(LOOK).await;
            if let Some(token) = self.done_by_another(&self.find(key).await?, seen)? {
                return Ok(token);
            }
            if Instant::now() >= until {
                return Err(NoToken::ProviderDown(DEFAULT_WAIT));
            }
        };
        let link = self.find(key).await?;
        if let Some(token) = self.done_by_another(&link, seen)? {
            return Ok(token);
        }
        match link.fit(self.clock.now(), wanted) {
            Fit::Fresh => return self.open(&link),
            Fit::Broken => return Err(NoToken::ReauthorizationRequired),
            Fit::Stale => {}
        }
        let sealed = link.refresh_token.as_deref().unwrap_or_default();
        let opened = self.keys.open_text(&key.place("refresh_token"), sealed);
        let token = opened.map_err(|error| NoToken::Failed(error.to_string()))?;
        match provider.refresh(&token, self.clock.now()).await {
            Ok(obtained) => self.keep(&link, &obtained).await,
            Err(ProviderError::InvalidGrant(reason)) => self.broken(&link, &reason).await,
            Err(ProviderError::Unreachable(down)) => {
                self.counts.providers_failed.inc();
                tracing::warn!(provider = key.provider, error = %down, "a provider gave no token");
                Err(NoToken::ProviderDown(down.wait.unwrap_or(DEFAULT_WAIT)))
            }
            Err(refused) => {
                self.counts.providers_failed.inc();
                // It is us whom it does not accept: no fault of the link, which the operator has to mend.
                tracing::error!(provider = key.provider, error = %refused, "a provider refuses this service");
                Err(NoToken::ProviderDown(DEFAULT_WAIT))
            }
        }
    }

    async fn find(&self, key: &LinkKey) -> Result<Link, NoToken> {
        let client = self.database.client().await?;
        store::find(&client, key).await?.ok_or(NoToken::NotLinked)
    }

    /// The token that another has stored since `seen`: a still newer one is not to be had.
    fn done_by_another(&self, link: &Link, seen: i64) -> Result<Option<Token>, NoToken> {
        if link.generation != seen && link.is_valid(self.clock.now()) {
            return self.open(link).map(Some);
        }
        Ok(None)
    }

    fn open(&self, link: &Link) -> Fresh {
        link.token(&self.keys)
            .map_err(|error| NoToken::Failed(error.to_string()))
    }

    /// Stores what came, however often it takes, and only then shows it.
    async fn keep(&self, link: &Link, obtained: &Obtained) -> Fresh {
        let sealed = Sealed::new(&self.keys, &link.key, obtained, self.clock.now());
        let until = Instant::now() + COMMIT_WITHIN;
        let mut is_doubtful = false;
        loop {
            match self.store(link, &sealed).await {
                Ok(Some(stored)) => {
                    self.counts.refreshed.inc();
                    return self.open(&stored);
                }
                Ok(None) => return self.overtaken(link, obtained, is_doubtful).await,
                Err(error) if Instant::now() >= until => {
                    tracing::error!(provider = link.key.provider, %error, "a refreshed token could not be stored");
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(provider = link.key.provider, %error, "storing a refreshed token again");
                    is_doubtful = true;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// What is to be had where the link is no longer as it was when the refresh began. `is_doubtful`: an attempt at
    /// storing had no answer, and may have been carried out.
    async fn overtaken(&self, link: &Link, obtained: &Obtained, is_doubtful: bool) -> Fresh {
        let now = self.find(&link.key).await;
        let is_same = now.as_ref().is_ok_and(|now| now.linked_at == link.linked_at);
        if is_doubtful && is_same {
            // It was carried out: what is there is what we have stored, or what has come of it since.
            self.counts.refreshed.inc();
            return self.open(&now?);
        }
        // Linked anew or revoked meanwhile: these tokens are nobody's.
        self.outbox.revoke_orphans(&link.key, obtained).await?;
        self.open(&now?)
    }

    async fn store(&self, link: &Link, sealed: &Sealed) -> Result<Option<Link>, Error> {
        let client = self.database.client().await?;
        store::update_tokens(&client, &link.key, link.generation, sealed).await
    }

    /// The provider has taken the link back: noted, and told to the operator in the same transaction.
    async fn broken(&self, link: &Link, reason: &str) -> Fresh {
        let now = self.clock.now();
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await.map_err(Error::from)?;
        let noted = store::update_broken(&transaction, &link.key, link.generation, reason, now).await?;
        if !noted {
            drop(transaction);
            let link = self.find(&link.key).await?;
            return match link.fit(now, Duration::ZERO) {
                Fit::Broken => Err(NoToken::ReauthorizationRequired),
                _ => self.open(&link),
            };
        }
        let entry = Entry::of_service(Action::Broken, &link.key, now).with_detail(reason);
        audit::store::insert(&transaction, &entry).await?;
        if self.outbox.tells_operator() {
            let message = outbox::Message::broken(&self.keys, &link.key, reason, now);
            outbox::store::insert(&transaction, &message).await?;
        }
        transaction.commit().await.map_err(Error::from)?;
        self.outbox.written();
        self.counts.broken.inc();
        tracing::warn!(
            provider = link.key.provider,
            "a link broke: its owner has to link the account again"
        );
        Err(NoToken::ReauthorizationRequired)
    }
}
