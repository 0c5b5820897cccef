//! What the handlers and the commands share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::issuer::{Issuers, Refused};
use identity_core::crypto::jwt::TokenError;
use identity_core::crypto::password::Hasher;
use identity_core::db::{Database, Error, Gathered, Reader};
use identity_core::http::{Invalid, Problem};
use identity_core::metrics::Metrics;
use identity_core::throttle::Throttle;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::access::Permissions;
use crate::clients::RememberedSecrets;
use crate::config::RecordsAccess;
use crate::keys::Rotation;
use crate::notifications::{EventKind, NewEvent};
use crate::records::{ById, ServiceName, checked_text};
use crate::tokens::{self, Authority, Verified};

/// How many verified tokens a worker remembers; then it forgets all.
const MOST_VERIFIED: usize = 4096;
/// The most characters of an audience.
const LONGEST_AUDIENCE: usize = 255;

/// What all workers of an instance share, and its commands.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) records: RecordsAccess,
    pub(crate) allowed_services: Arc<[ServiceName]>,
    /// Wakes the dispatcher; none where changes are not told.
    pub(crate) written: Option<Arc<Notify>>,
    pub(crate) authority: Authority,
    pub(crate) issuers: Issuers,
    pub(crate) hasher: Hasher,
    pub(crate) remembered: Arc<RememberedSecrets>,
    pub(crate) throttle: Throttle,
    pub(crate) rotation: Rotation,
    /// The audience of tokens for this service.
    pub(crate) audience: String,
    pub(crate) retry_window: Duration,
    /// Under which the service is reached, without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) counts: Counts,
}

/// What is counted of tokens.
#[derive(Debug, Clone)]
pub struct Counts {
    pub(crate) issued: Counter,
    pub(crate) failed_logins: Counter,
}

impl Counts {
    /// Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            issued: metrics.counter("tokens_issued", "Tokens that were issued or refreshed"),
            failed_logins: metrics.counter("logins_failed", "Wrong passwords, secrets and signatures"),
        }
    }
}

/// The state of one worker.
#[derive(Debug)]
pub struct State {
    shared: Shared,
    /// The worker's own connection for reads of one statement.
    pub(crate) reader: Reader,
    /// People's records, found over it for many requests at once.
    pub(crate) users: Gathered<ById>,
    /// Tokens that this worker has verified, by their digests.
    verified: Mutex<std::collections::HashMap<[u8; 32], Arc<Verified>>>,
}

impl std::ops::Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The event of a change, where changes are told.
    pub(crate) fn event(&self, kind: EventKind, payload: impl FnOnce() -> Value) -> Option<NewEvent> {
        self.written.is_some().then(|| NewEvent::new(kind, payload()))
    }

    /// Says that `event` is committed.
    pub(crate) fn told(&self, event: Option<&NewEvent>) {
        if let (Some(written), Some(_)) = (&self.written, event) {
            written.notify_one();
        }
    }

    /// Brings what this instance knows of keys and revocations up to date now.
    pub(crate) async fn learn(&self) -> Result<(), Error> {
        tokens::learn(&self.database, &self.keys, &self.authority, &self.clock).await
    }

    /// The audience that a request names; this service's where it names none.
    pub(crate) fn audience_of(&self, document: &Value) -> Result<String, Problem> {
        match document.get("audience") {
            None | Some(Value::Null) => Ok(self.audience.clone()),
            Some(Value::String(audience)) if Self::is_audience(audience) => Ok(audience.clone()),
            Some(_) => Err(Problem::invalid(vec![Invalid::new(
                "/audience",
                format!("expected a text of 1 to {LONGEST_AUDIENCE} characters"),
            )])),
        }
    }

    /// Whether a text can be an audience.
    pub(crate) fn is_audience(text: &str) -> bool {
        checked_text(text, LONGEST_AUDIENCE).is_ok_and(|checked| checked == text)
    }
}

impl State {
    /// The state of one more worker.
    #[must_use]
    pub fn of_worker(shared: &Shared) -> Self {
        let reader = shared.database.reader();
        Self {
            users: Gathered::new(&reader),
            reader,
            shared: shared.clone(),
            verified: Mutex::default(),
        }
    }

    /// Verifies a token of ours for one of `audiences`; for any where none is given.
    pub(crate) async fn verify(
        &self,
        token: &str,
        audiences: Option<&[&str]>,
    ) -> Result<Verified, TokenError> {
        let now = self.clock.now();
        let looked =
            tokens::look_for_key(token, &self.database, &self.keys, &self.authority, &self.clock).await;
        if let Err(error) = looked {
            tracing::warn!(%error, "an unknown key could not be looked for");
        }
        self.authority.snapshot().verify(token, audiences, now)
    }

    /// What a bearer token permits here: one of ours, or of a trusted issuer.
    pub(crate) async fn permissions_of(&self, token: &str) -> Result<Permissions, Refused> {
        if let Some(issuer) = self.issuers.issuer_of(token) {
            let claims = issuer.verify(token, self.clock.now()).await?;
            let permissions = claims
                .own
                .get("permissions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let permissions = permissions.filter_map(Value::as_str).map(ToOwned::to_owned);
            return Ok(Permissions::Theirs(permissions.collect()));
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let now = self.clock.now();
        let snapshot = self.authority.snapshot();
        let known = self
            .verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest)
            .cloned();
        let verified = match known {
            Some(known) if snapshot.still_holds(&known, now) => known,
            _ => {
                let verified = Arc::new(self.verify(token, Some(&[&self.audience])).await?);
                let mut all = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() >= MOST_VERIFIED {
                    all.clear();
                }
                all.insert(digest, verified.clone());
                verified
            }
        };
        Ok(Permissions::Ours(verified))
    }
}
