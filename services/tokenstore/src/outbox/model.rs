//! Messages that wait to be delivered.

use std::sync::Arc;
use std::time::Duration;

use identity_core::crypto::fernet::{Keys, OpenError};
use identity_core::crypto::random;
use identity_core::db::{Database, Error};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::store;
use crate::links::LinkKey;
use crate::providers::Obtained;

/// The first pause after a failure; each next is twice as long, up to an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// One message as it is stored.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: Uuid,
    pub kind: Kind,
    pub provider: String,
    pub content: String,
    pub created_at: Timestamp,
    pub attempts: i32,
}

/// To whom it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the provider, which shall revoke a token (RFC 7009).
    Revocation,
    /// To the operator.
    Webhook,
}

impl Kind {
    /// Its name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Webhook => "webhook",
        }
    }
}

/// The content of a revocation.
#[derive(Serialize, Deserialize)]
pub struct Revocation {
    /// The token.
    pub token: String,
    /// `token_type_hint`
    pub hint: String,
}

impl Message {
    /// The provider of `key` shall revoke `token`.
    #[must_use]
    pub fn revocation(keys: &Keys, key: &LinkKey, token: &SecretString, hint: &str, now: Timestamp) -> Self {
        let content = json!({"token": token.expose_secret(), "hint": hint});
        Self::new(keys, Kind::Revocation, &key.provider, &content, now)
    }

    /// The operator shall know that the link of `key` broke.
    #[must_use]
    pub fn broken(keys: &Keys, key: &LinkKey, reason: &str, now: Timestamp) -> Self {
        let content = json!({
            "type": "link.reauthorization_required",
            "timestamp": now,
            "data": {
                "provider": key.provider,
                "issuer": key.person.issuer,
                "subject": key.person.subject,
                "reason": reason,
            },
        });
        Self::new(keys, Kind::Webhook, &key.provider, &content, now)
    }

    fn new(keys: &Keys, kind: Kind, provider: &str, content: &serde_json::Value, now: Timestamp) -> Self {
        let id = random::uuid();
        Self {
            id,
            kind,
            provider: provider.to_owned(),
            content: keys.seal(&place(id), content.to_string().as_bytes()),
            created_at: now,
            attempts: 0,
        }
    }

    /// The content, decrypted.
    ///
    /// # Errors
    /// [`OpenError`] where the ciphertext is of another key or place.
    pub fn open(&self, keys: &Keys) -> Result<SecretString, OpenError> {
        keys.open_text(&place(self.id), &self.content)
    }

    /// How long to wait before the next attempt.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let doublings = u32::try_from(self.attempts).unwrap_or_default().min(12);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

/// The place of a message's content.
#[must_use]
pub fn place(id: Uuid) -> String {
    format!("tokenstore.outbox.content/{id}")
}

/// Where messages are left. Clones wake the same dispatcher.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
    keys: Arc<Keys>,
    clock: identity_core::clock::Clock,
    written: Arc<Notify>,
    tells_operator: bool,
}

impl Outbox {
    /// The outbox in `database`.
    #[must_use]
    pub fn new(
        database: &Database,
        keys: &Arc<Keys>,
        clock: &identity_core::clock::Clock,
        tells_operator: bool,
    ) -> Self {
        Self {
            database: database.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
            written: Arc::new(Notify::new()),
            tells_operator,
        }
    }

    /// Whether the operator is told of broken links.
    #[must_use]
    pub fn tells_operator(&self) -> bool {
        self.tells_operator
    }

    /// Says that a message is committed.
    pub fn written(&self) {
        self.written.notify_one();
    }

    /// Returns when something was written.
    pub async fn wait(&self) {
        self.written.notified().await;
    }

    /// Has tokens revoked that no link holds.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn revoke_orphans(&self, key: &LinkKey, obtained: &Obtained) -> Result<(), Error> {
        let (token, hint) = match &obtained.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&obtained.access_token, "access_token"),
        };
        let message = Message::revocation(&self.keys, key, token, hint, self.clock.now());
        store::insert(&self.database.client().await?, &message).await?;
        self.written();
        Ok(())
    }
}
