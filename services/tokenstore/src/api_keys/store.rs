//! API keys in Postgres.

use std::sync::Arc;

use identity_core::crypto::token::TokenDigest;
use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Client, Error, GenericClient, Lookup};
use jiff::Timestamp;
use uuid::Uuid;

use super::model::{Found, Listed};
use crate::access::{Person, Profile};

/// Makes a key; false where its owner has as many as anybody may.
pub async fn insert(
    client: &impl GenericClient,
    person: &Person,
    profile: &Profile,
    key: &Listed,
    digest: &TokenDigest,
    most: i64,
) -> Result<bool, Error> {
    let sql = "INSERT INTO api_keys (issuer, subject, id, digest, name, profile, created_at, expires_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8
               WHERE (SELECT count(*) FROM api_keys WHERE issuer = $1 AND subject = $2) < $9";
    let Person { issuer, subject } = person;
    // Texts can always be written.
    let profile = serde_json::to_value(profile).unwrap_or_default();
    let made = client
        .execute(
            sql,
            &[
                issuer,
                subject,
                &key.id,
                &digest.as_str(),
                &key.name,
                &profile,
                &key.created_at,
                &key.expires_at,
                &most,
            ],
        )
        .await?;
    Ok(made > 0)
}

/// Keys by their digests, for many requests at once; also those that are over.
#[derive(Debug)]
pub enum ByDigest {}

impl Lookup for ByDigest {
    type Key = String;
    type Found = Found;

    async fn find(client: &Client, digests: &[String]) -> Result<Vec<(String, Found)>, Error> {
        let sql = "SELECT digest, issuer, subject, id, profile, expires_at, last_used_at FROM api_keys
                   WHERE digest = ANY($1)";
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&digests]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("digest")?, found(row)?)))
            .collect()
    }
}

/// A row with the columns of a key.
pub(crate) fn found(row: &Row) -> Result<Found, Error> {
    let profile: serde_json::Value = row.try_get("profile")?;
    Ok(Found {
        person: Person {
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
        },
        id: row.try_get("id")?,
        profile: serde_json::from_value(profile)
            .map(Arc::new)
            .map_err(|error| Error::corrupt(error.to_string()))?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

/// Notes that a key was used.
pub async fn update_used(client: &impl GenericClient, key: &Found, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE api_keys SET last_used_at = $4 WHERE issuer = $1 AND subject = $2 AND id = $3";
    let statement = client.prepare_cached(sql).await?;
    let Person { issuer, subject } = &key.person;
    client
        .execute(&statement, &[issuer, subject, &key.id, &now])
        .await?;
    Ok(())
}

/// A person's keys, the newest first.
pub async fn list(client: &impl GenericClient, person: &Person) -> Result<Vec<Listed>, Error> {
    let sql = "SELECT id, name, created_at, expires_at, last_used_at FROM api_keys
               WHERE issuer = $1 AND subject = $2 ORDER BY created_at DESC, id";
    let statement = client.prepare_cached(sql).await?;
    let rows = client
        .query(&statement, &[&person.issuer, &person.subject])
        .await?;
    let listed = |row: &identity_core::db::tokio_postgres::Row| {
        Ok(Listed {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    };
    rows.iter().map(listed).collect()
}

/// Takes a person's key away; false where there is none of this id.
pub async fn delete(client: &impl GenericClient, person: &Person, id: Uuid) -> Result<bool, Error> {
    let sql = "DELETE FROM api_keys WHERE issuer = $1 AND subject = $2 AND id = $3";
    let deleted = client
        .execute(sql, &[&person.issuer, &person.subject, &id])
        .await?;
    Ok(deleted > 0)
}

/// Forgets keys that ended before `before`.
pub async fn sweep(client: &impl GenericClient, before: Timestamp) -> Result<u64, Error> {
    Ok(client
        .execute("DELETE FROM api_keys WHERE expires_at < $1", &[&before])
        .await?)
}
