//! Refreshing: a token is exchanged for its successor, once; the same again gives the same, and a
//! reuse that can be no retry ends the family.

use std::time::Duration;

use identity_core::crypto::fernet::Keys;
use identity_core::crypto::jwt::TokenError;
use identity_core::db::{Database, Error, tokio_postgres};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::authority::{IssueError, Issued, Snapshot};
use super::model::{Grant, Link, Verified};
use super::{announce, store};
use crate::{clients, users};

/// Why a token is not refreshed.
#[derive(Debug)]
pub enum RefreshError {
    /// It is not valid, was ended, or was used too often; the reason is for the log.
    Refused(String),
    /// No successor can be issued.
    Issue(IssueError),
    /// The database.
    Database(Error),
}

impl From<TokenError> for RefreshError {
    fn from(error: TokenError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<IssueError> for RefreshError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}

impl From<Error> for RefreshError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<tokio_postgres::Error> for RefreshError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What refreshing needs.
#[derive(Debug)]
pub struct Refreshing<'a> {
    pub database: &'a Database,
    pub keys: &'a Keys,
    pub snapshot: &'a Snapshot,
    pub retry_window: Duration,
    pub now: Timestamp,
}

impl Refreshing<'_> {
    /// The successor of `token`.
    pub async fn refresh(&self, token: &Verified) -> Result<Issued, RefreshError> {
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await?;
        let configuration = self
            .snapshot
            .configuration
            .as_ref()
            .ok_or(IssueError::NotConfigured)?;
        let lifetime = jiff::SignedDuration::from_secs(configuration.jwt_expiration.into());
        let family = store::lock_family(&transaction, token.link, self.now + lifetime).await?;
        if family.is_revoked {
            return Err(RefreshError::Refused("the family was ended".to_owned()));
        }
        if let Some((refreshed_at, sealed)) = store::find_refresh(&transaction, token.link).await? {
            let soon = self.now.duration_since(refreshed_at).unsigned_abs() <= self.retry_window;
            let successor_unused = family.generation == token.link.generation.saturating_add(1);
            if soon || successor_unused {
                return self.again(token.link, &sealed);
            }
            store::revoke_family(&transaction, token.link.family, self.now + lifetime, self.now).await?;
            announce(&transaction).await?;
            transaction.commit().await?;
            return Err(RefreshError::Refused(
                "it was used again: the family is ended".to_owned(),
            ));
        }
        if token.link.generation >= configuration.jwt_max_refreshes {
            return Err(RefreshError::Refused(
                "it was refreshed as often as it may be".to_owned(),
            ));
        }
        let grant = self.grant(&transaction, token).await?;
        let issued = self.snapshot.issue(&grant, token.link.next(), self.now)?;
        let sealed = self.keys.seal(&place(token.link), issued.token.as_bytes());
        store::insert_refresh(&transaction, token.link, &sealed, self.now).await?;
        // Committed before it is shown: an answer that is lost can be asked for again.
        transaction.commit().await?;
        Ok(issued)
    }

    fn again(&self, link: Link, sealed: &str) -> Result<Issued, RefreshError> {
        let token = self.keys.open_text(&place(link), sealed);
        let token = token.map_err(|error| Error::corrupt(format!("successor of {link}: {error}")))?;
        let token = token.expose_secret().to_owned();
        let verified = self.snapshot.verify(&token, None, self.now)?;
        Ok(Issued {
            expires_in: verified.claims.expires_at.duration_since(self.now).as_secs(),
            token,
        })
    }

    /// What the subject may do now: permissions may have changed since the last token.
    async fn grant(
        &self,
        client: &impl identity_core::db::GenericClient,
        token: &Verified,
    ) -> Result<Grant, RefreshError> {
        let permissions = match token.subject {
            super::Subject::User(id) => users::permissions_of(client, id).await?,
            super::Subject::Client(id) => clients::permissions_of(client, id).await?,
        };
        let mut permissions =
            permissions.ok_or_else(|| RefreshError::Refused("its subject is gone or disabled".to_owned()))?;
        // A token that was asked for with a narrower scope stays narrow.
        permissions.retain(|permission| token.claims.own.permissions.contains(permission));
        let audience = token.claims.audience.first().cloned().unwrap_or_default();
        let email = match (token.subject, &token.claims.own.email) {
            (super::Subject::User(id), Some(_)) => users::email_of(client, id).await?,
            _ => None,
        };
        Ok(Grant {
            subject: token.subject,
            audience,
            permissions,
            email,
        })
    }
}

/// Where the successor of a token is stored, to which its ciphertext is bound.
pub fn place_of_successor(family: Uuid, generation: i32) -> String {
    format!("ident.token_refreshes.successor/{family}.{generation}")
}

fn place(link: Link) -> String {
    place_of_successor(link.family, link.generation)
}
