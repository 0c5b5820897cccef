//! What a worker's handlers share.

use std::sync::Arc;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Reader};
use serde_json::Value;
use tokio::sync::Notify;

use crate::config::RecordsAccess;
use crate::notifications::{EventKind, NewEvent};
use crate::records::ServiceName;

/// What all workers of an instance share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) records: RecordsAccess,
    pub(crate) allowed_services: Arc<[ServiceName]>,
    /// Wakes the dispatcher; none where changes are not told.
    pub(crate) written: Option<Arc<Notify>>,
}

/// The state of one worker.
#[derive(Debug)]
pub struct State {
    shared: Shared,
    /// The worker's own connection for reads of one statement.
    pub(crate) reader: Reader,
}

impl std::ops::Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
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
}
