//! Remembers with which keys the database's secrets are encrypted, so that a service with other
//! keys stops at its start instead of failing at some request.
//!
//! Every schema with secrets has the table
//! `encryption_keys (fingerprint text PRIMARY KEY, recorded_at timestamptz NOT NULL)`.

use jiff::Timestamp;

use super::{Database, Error, GenericClient};
use crate::crypto::fernet::Keys;
use crate::failure::Failure;

/// Records the key that encrypts from now on, after all that are recorded were found in `keys`.
///
/// Gives the fingerprint of the first recorded key that `keys` lacks, if any, and records nothing
/// then.
///
/// # Errors
/// What Postgres says.
pub async fn record(
    client: &impl GenericClient,
    keys: &Keys,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    for row in client
        .query(
            "SELECT fingerprint FROM encryption_keys ORDER BY recorded_at",
            &[],
        )
        .await?
    {
        let recorded: String = row.try_get(0)?;
        if !keys.fingerprints().any(|fingerprint| fingerprint == recorded) {
            return Ok(Some(recorded));
        }
    }
    if let Some(first) = keys.fingerprints().next() {
        let insert =
            "INSERT INTO encryption_keys (fingerprint, recorded_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        client.execute(insert, &[&first, &now]).await?;
    }
    Ok(None)
}

/// Refuses to start with keys that cannot read what the database holds; `setting` names them.
///
/// # Errors
/// [`Failure::Configuration`] with the fingerprint of the key that is missing.
pub async fn require(database: &Database, keys: &Keys, setting: &str, now: Timestamp) -> Result<(), Failure> {
    let checking = |error| Failure::because(&format!("checking {setting}"), error);
    let client = database.client().await.map_err(checking)?;
    match record(&client, keys, now).await.map_err(checking)? {
        None => Ok(()),
        Some(missing) => Err(Failure::configuration(format!(
            "{setting}: the database holds secrets of the key with fingerprint {missing}, which is not among the \
             configured ones; put it back behind the first"
        ))),
    }
}

/// Forgets every key but the one that encrypts; called when nothing is left that another made.
///
/// # Errors
/// What Postgres says.
pub async fn forget_others(client: &impl GenericClient, keys: &Keys) -> Result<u64, Error> {
    let first = keys.fingerprints().next().unwrap_or_default();
    Ok(client
        .execute("DELETE FROM encryption_keys WHERE fingerprint <> $1", &[&first])
        .await?)
}
