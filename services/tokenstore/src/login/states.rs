//! Logins that have begun, in Postgres.

use identity_core::crypto::token::{PlainToken, TokenDigest};
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

/// Notes that `browser` began the login of `state`.
pub async fn insert(
    client: &impl GenericClient,
    state: &PlainToken,
    browser: &TokenDigest,
    secrets: &str,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO login_states (digest, browser, secrets, expires_at) VALUES ($1, $2, $3, $4)";
    let digest = state.digest();
    client
        .execute(sql, &[&digest.as_str(), &browser.as_str(), &secrets, &expires_at])
        .await?;
    Ok(())
}

/// Takes out the login of `state` that `browser` began, so that it ends once; gives its secrets.
pub async fn take(
    client: &impl GenericClient,
    state: &PlainToken,
    browser: &TokenDigest,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let sql =
        "DELETE FROM login_states WHERE digest = $1 AND browser = $2 AND expires_at > $3 RETURNING secrets";
    let digest = state.digest();
    let row = client
        .query_opt(sql, &[&digest.as_str(), &browser.as_str(), &now])
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Forgets those that nobody ended in time.
pub async fn sweep(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    Ok(client
        .execute("DELETE FROM login_states WHERE expires_at <= $1", &[&now])
        .await?)
}
