//! Browsers that are signed in.

use std::sync::Arc;
use std::time::Duration;

use identity_core::crypto::fernet::Keys;
use identity_core::crypto::token::{PlainToken, TokenDigest};
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::access::{Person, Profile};
use crate::config;
use crate::state::State;

/// Noting that a session is used spares a write at most requests.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// A session that begins.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Who signed in.
    pub person: &'a Person,
    /// What the provider said of them.
    pub profile: &'a Profile,
    /// The ID token, which the provider wants back at the end.
    pub id_token: Option<&'a SecretString>,
}

/// The place of the ID token of a session.
#[must_use]
pub fn place(digest: &str) -> String {
    format!("tokenstore.sessions.id_token/{digest}")
}

/// Begins a session and gives the secret for its cookie.
pub async fn insert(
    client: &impl GenericClient,
    keys: &Keys,
    session: &NewSession<'_>,
    now: Timestamp,
) -> Result<PlainToken, Error> {
    let secret = PlainToken::generate("");
    let digest = secret.digest();
    let id_token = session
        .id_token
        .map(|token| keys.seal(&place(digest.as_str()), token.expose_secret().as_bytes()));
    // Texts and lists of texts can always be written.
    let profile = serde_json::to_value(session.profile).unwrap_or_default();
    let sql = "INSERT INTO sessions (digest, issuer, subject, profile, id_token, created_at, last_seen_at)
               VALUES ($1, $2, $3, $4, $5, $6, $6)";
    let Person { issuer, subject } = session.person;
    client
        .execute(
            sql,
            &[&digest.as_str(), issuer, subject, &profile, &id_token, &now],
        )
        .await?;
    Ok(secret)
}

/// Whose session it is; none where it is over.
pub async fn find(state: &State, secret: &PlainToken) -> Result<Option<(Person, Arc<Profile>)>, Error> {
    let client = state.reader.client().await?;
    let now = state.clock.now();
    let config::Session { idle, lifetime } = state.session;
    let sql = "SELECT issuer, subject, profile, last_seen_at FROM sessions
               WHERE digest = $1 AND created_at > $2 AND last_seen_at > $3";
    let statement = client.prepare_cached(sql).await?;
    let digest = secret.digest();
    let row = client
        .query_opt(&statement, &[&digest.as_str(), &(now - lifetime), &(now - idle)])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let profile: serde_json::Value = row.try_get("profile")?;
    let profile: Profile =
        serde_json::from_value(profile).map_err(|error| Error::corrupt(error.to_string()))?;
    let seen: Timestamp = row.try_get("last_seen_at")?;
    if seen + NOTED_EVERY.min(idle / 4) < now {
        let note = "UPDATE sessions SET last_seen_at = $2 WHERE digest = $1";
        client.execute(note, &[&digest.as_str(), &now]).await?;
    }
    let person = Person {
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
    };
    Ok(Some((person, Arc::new(profile))))
}

/// Ends a session and gives its ID token, encrypted.
pub async fn delete(client: &impl GenericClient, digest: &TokenDigest) -> Result<Option<String>, Error> {
    let sql = "DELETE FROM sessions WHERE digest = $1 RETURNING id_token";
    let row = client.query_opt(sql, &[&digest.as_str()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Forgets sessions that are over.
pub async fn sweep(
    client: &impl GenericClient,
    session: config::Session,
    now: Timestamp,
) -> Result<u64, Error> {
    let sql = "DELETE FROM sessions WHERE created_at <= $1 OR last_seen_at <= $2";
    Ok(client
        .execute(sql, &[&(now - session.lifetime), &(now - session.idle)])
        .await?)
}
