//! What the handlers and the commands share.

use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::issuer::Issuers;
use identity_core::db::{Database, Gathered, Reader};
use identity_core::http::Problem;
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OnceCell;
use url::Url;

use crate::api_keys::store::ByDigest;
use crate::audit::Recorder;
use crate::config;
use crate::cookies::Cookies;
use crate::links::Refresher;
use crate::links::asking::LinkedKeys;
use crate::links::store::ByKey;
use crate::login::bearer::Remembered;
use crate::outbox::Outbox;
use crate::providers::{Provider, Providers};
use crate::return_url::ReturnUrls;

/// What all workers of an instance share, and its commands.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) outgoing: Outgoing,
    /// The login provider.
    pub(crate) login: Arc<Provider>,
    /// The same as an issuer of bearer tokens, when it is known.
    pub(crate) issuers: Arc<OnceCell<Issuers>>,
    /// What bearer tokens must name as `aud`.
    pub(crate) audience: String,
    pub(crate) providers: Providers,
    pub(crate) refresher: Refresher,
    pub(crate) outbox: Outbox,
    pub(crate) recorder: Recorder,
    pub(crate) session: config::Session,
    pub(crate) refresh_margin: Duration,
    pub(crate) audit_keep: Duration,
    /// Under which the service is reached, without a slash at the end.
    pub(crate) public_url: String,
    /// The same as browsers name it: scheme, host and port.
    pub(crate) origin: String,
    pub(crate) return_urls: ReturnUrls,
    pub(crate) cookies: Cookies,
    pub(crate) allowed_origins: Arc<[String]>,
    pub(crate) counts: Counts,
}

/// What is counted, for Prometheus.
#[derive(Debug, Clone)]
pub struct Counts {
    pub(crate) handed_out: Counter,
    pub(crate) linked: Counter,
    pub(crate) revoked: Counter,
    pub(crate) refreshed: Counter,
    pub(crate) broken: Counter,
    pub(crate) providers_failed: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) oldest: Gauge,
}

impl Counts {
    /// Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            handed_out: metrics.counter("tokens_handed_out", "Access tokens that were handed out"),
            linked: metrics.counter("links_made", "Accounts that were linked"),
            revoked: metrics.counter("links_revoked", "Links that their owners ended"),
            refreshed: metrics.counter("refreshes", "Refreshes that brought a new token"),
            broken: metrics.counter("links_broken", "Links that a provider took back"),
            providers_failed: metrics.counter(
                "refreshes_failed",
                "Refreshes to which a provider gave no useful answer",
            ),
            waiting: metrics.gauge("outbox_waiting", "Messages that are still to be delivered"),
            oldest: metrics.gauge("outbox_oldest_seconds", "Age of the oldest message that waits"),
        }
    }
}

/// The state of one worker.
#[derive(Debug)]
pub struct State {
    shared: Shared,
    /// The worker's own connection for reads of one statement.
    pub(crate) reader: Reader,
    /// Links, found over it for many requests at once.
    pub(crate) links: Gathered<ByKey>,
    /// API keys, in the same way.
    pub(crate) api_keys: Gathered<ByDigest>,
    /// API keys with their owners' links, in the same way.
    pub(crate) linked_keys: Gathered<LinkedKeys>,
    /// Bearer tokens that this worker has verified.
    pub(crate) remembered: Remembered,
}

impl std::ops::Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The provider of this id.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn provider(&self, id: &str) -> Result<Arc<Provider>, Problem> {
        self.providers
            .find(id)
            .ok_or_else(|| Problem::not_found("There is no such provider."))
    }

    /// The address of the page.
    pub(crate) fn page(&self) -> Url {
        // Always allowed, since it is our own.
        self.return_urls.own().clone()
    }
}

impl State {
    /// The state of one more worker.
    #[must_use]
    pub fn of_worker(shared: &Shared) -> Self {
        let reader = shared.database.reader();
        Self {
            links: Gathered::new(&reader),
            api_keys: Gathered::new(&reader),
            linked_keys: Gathered::new(&reader),
            reader,
            shared: shared.clone(),
            remembered: Remembered::default(),
        }
    }
}
