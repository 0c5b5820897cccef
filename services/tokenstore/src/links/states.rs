//! Links that have begun, in Postgres.

use identity_core::crypto::token::{PlainToken, TokenDigest};
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::LinkKey;
use crate::access::Person;

/// A link that has begun.
#[derive(Debug)]
pub struct LinkState {
    /// Whose, to which provider.
    pub key: LinkKey,
    /// The browser that began it.
    pub browser: TokenDigest,
    /// Whether it was begun with a session's cookie.
    pub by_session: bool,
    /// Nonce, verifier and return URL, encrypted.
    pub secrets: String,
}

/// Notes `begun` under `state`.
pub async fn insert(
    client: &impl GenericClient,
    state: &PlainToken,
    begun: &LinkState,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO link_states (digest, browser, issuer, subject, provider, by_session, secrets, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let digest = state.digest();
    let Person { issuer, subject } = &begun.key.person;
    client
        .execute(
            sql,
            &[
                &digest.as_str(),
                &begun.browser.as_str(),
                issuer,
                subject,
                &begun.key.provider,
                &begun.by_session,
                &begun.secrets,
                &expires_at,
            ],
        )
        .await?;
    Ok(())
}

/// What was begun under `state` at `provider` and is still under way.
pub async fn find(
    client: &impl GenericClient,
    state: &PlainToken,
    provider: &str,
    now: Timestamp,
) -> Result<Option<LinkState>, Error> {
    let sql = "SELECT browser, issuer, subject, provider, by_session, secrets FROM link_states
               WHERE digest = $1 AND provider = $2 AND expires_at > $3";
    let digest = state.digest();
    let Some(row) = client
        .query_opt(sql, &[&digest.as_str(), &provider, &now])
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(LinkState {
        key: LinkKey {
            person: Person {
                issuer: row.try_get("issuer")?,
                subject: row.try_get("subject")?,
            },
            provider: row.try_get("provider")?,
        },
        browser: TokenDigest::stored(row.try_get("browser")?),
        by_session: row.try_get("by_session")?,
        secrets: row.try_get("secrets")?,
    }))
}

/// Takes it out; false where another callback was faster.
pub async fn take(client: &impl GenericClient, state: &PlainToken) -> Result<bool, Error> {
    let digest = state.digest();
    let taken = client
        .execute("DELETE FROM link_states WHERE digest = $1", &[&digest.as_str()])
        .await?;
    Ok(taken > 0)
}

/// Forgets those that nobody ended in time.
pub async fn sweep(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    Ok(client
        .execute("DELETE FROM link_states WHERE expires_at <= $1", &[&now])
        .await?)
}
