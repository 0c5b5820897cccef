//! What the handlers and the commands share.

use std::sync::Arc;

use url::Url;

use crate::cleanup::Cleaner;
use crate::config::{Cleanup, RunMode};
use crate::credentials::Writer;
use crate::tokens::Acceptor;

/// What all workers of an instance share, and its commands. Clones share it.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(crate) acceptor: Acceptor,
    pub(crate) writer: Writer,
    pub(crate) cleaner: Cleaner,
    pub(crate) cleanup: Arc<Cleanup>,
    pub(crate) run_mode: RunMode,
    pub(crate) contact_email: Option<Arc<str>>,
    pub(crate) token_url: Option<Arc<Url>>,
    /// Under which the service is reached, without a slash at the end.
    pub(crate) public_url: Arc<str>,
    /// Whether tokens of the new EAS are accepted.
    pub(crate) knows_eas: bool,
}
