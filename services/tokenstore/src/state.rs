//! What the handlers and the commands share.

use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::issuer::Issuers;
use identity_core::db::{Database, Reader};
use identity_core::http::Problem;
use identity_core::outgoing::Outgoing;
use tokio::sync::OnceCell;
use url::Url;

use crate::audit::Recorder;
use crate::config;
use crate::cookies::Cookies;
use crate::links::Refresher;
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
}

/// The state of one worker.
#[derive(Debug)]
pub struct State {
    shared: Shared,
    /// The worker's own connection for reads of one statement.
    pub(crate) reader: Reader,
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
        Self {
            reader: shared.database.reader(),
            shared: shared.clone(),
            remembered: Remembered::default(),
        }
    }
}
