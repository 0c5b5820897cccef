//! The audit log in Postgres.

use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::Entry;

/// Notes `entry`.
pub async fn insert(client: &impl GenericClient, entry: &Entry) -> Result<(), Error> {
    insert_all(client, std::slice::from_ref(entry)).await
}

/// Notes `entries`, all or none.
pub async fn insert_all(client: &impl GenericClient, entries: &[Entry]) -> Result<(), Error> {
    let sql = "INSERT INTO audit (at, id, issuer, subject, action, provider, by, address, times, detail)
               SELECT * FROM unnest($1::timestamptz[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                                    $7::text[], $8::text[], $9::int[], $10::text[])";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(
            &statement,
            &[
                &column(entries, |entry| entry.at),
                &column(entries, |_| random::uuid()),
                &column(entries, |entry| entry.person.issuer.as_str()),
                &column(entries, |entry| entry.person.subject.as_str()),
                &column(entries, |entry| entry.action.as_str()),
                &column(entries, |entry| entry.provider.as_deref()),
                &column(entries, |entry| entry.by),
                &column(entries, |entry| entry.address.map(|address| address.to_string())),
                &column(entries, |entry| entry.times),
                &column(entries, |entry| entry.detail.as_deref()),
            ],
        )
        .await?;
    Ok(())
}

fn column<'a, T>(entries: &'a [Entry], member: impl Fn(&'a Entry) -> T) -> Vec<T> {
    entries.iter().map(member).collect()
}

/// Forgets what is older than `before`.
pub async fn delete_before(client: &impl GenericClient, before: Timestamp) -> Result<u64, Error> {
    Ok(client
        .execute("DELETE FROM audit WHERE at < $1", &[&before])
        .await?)
}
