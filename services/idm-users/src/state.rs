//! What the handlers and the commands share.

use std::sync::Arc;

use actix_web::HttpRequest;
use identity_core::clock::Clock;
use identity_core::config::values::Rate;
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::issuer::Issuers;
use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use identity_core::crypto::password::Hasher;
use identity_core::db::{Database, Reader};
use identity_core::metrics::Metrics;
use identity_core::throttle::Throttle;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::mail::Postbox;
use crate::setup::Setup;

/// What all workers of an instance share, and its commands.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) signing: Arc<Signing>,
    pub(crate) issuers: Issuers,
    pub(crate) hasher: Hasher,
    pub(crate) throttle: Throttle,
    pub(crate) mails_per_account: Rate,
    pub(crate) shortest_password: usize,
    /// Under which the service is reached, without a slash at the end.
    pub(crate) public_url: Arc<str>,
    pub(crate) postbox: Postbox,
    pub(crate) setup: Arc<Setup>,
    /// Says that somebody has forgotten a password.
    pub(crate) asked: Arc<Notify>,
    pub(crate) counts: Counts,
}

/// How tokens are signed.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) key: SharedKey,
    pub(crate) algorithm: SharedAlgorithm,
    pub(crate) secret: SecretString,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) expiration_seconds: i64,
    /// Protects what the database keeps for later; derived from the secret.
    pub(crate) at_rest: Keys,
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Counts {
    pub(crate) signed_in: Counter,
    pub(crate) failed_logins: Counter,
}

impl Counts {
    /// Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            signed_in: metrics.counter("tokens_issued", "Tokens that users signed in for"),
            failed_logins: metrics.counter("logins_failed", "Wrong passwords"),
        }
    }
}

/// The state of one worker.
#[derive(Debug)]
pub struct State {
    shared: Shared,
    /// The worker's own connection for reads of one statement.
    pub(crate) reader: Reader,
}

impl State {
    /// The state of one more worker.
    #[must_use]
    pub fn of_worker(shared: &Shared) -> Self {
        Self {
            reader: shared.database.reader(),
            shared: shared.clone(),
        }
    }
}

impl std::ops::Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The present moment in microseconds, which is what Postgres keeps of it.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

/// Whether a browser says that another site's page made this request. What is no browser says
/// nothing, and carries nobody's cookies that could be misused.
pub(crate) fn is_of_another_site(request: &HttpRequest, public_url: &str) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = header("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = header("origin") else {
        return false;
    };
    let ours = url::Url::parse(public_url).map(|url| url.origin().ascii_serialization());
    // Also by the address that the browser used: a service can be reached under several.
    let host = header("host").unwrap_or_default();
    let addressed = origin.split_once("://").map(|(_, authority)| authority) == Some(host);
    !addressed && ours.as_deref() != Ok(origin)
}
