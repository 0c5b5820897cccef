//! The audit log in Postgres.

use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::Entry;

/// Notes `entry`.
pub async fn insert(client: &impl GenericClient, entry: &Entry) -> Result<(), Error> {
    let sql = "INSERT INTO audit (at, id, issuer, subject, action, provider, by, address, times, detail)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let statement = client.prepare_cached(sql).await?;
    let address = entry.address.map(|address| address.to_string());
    client
        .execute(
            &statement,
            &[
                &entry.at,
                &random::uuid(),
                &entry.person.issuer,
                &entry.person.subject,
                &entry.action.as_str(),
                &entry.provider,
                &entry.by,
                &address,
                &entry.times,
                &entry.detail,
            ],
        )
        .await?;
    Ok(())
}

/// Forgets what is older than `before`.
pub async fn delete_before(client: &impl GenericClient, before: Timestamp) -> Result<u64, Error> {
    Ok(client
        .execute("DELETE FROM audit WHERE at < $1", &[&before])
        .await?)
}
