//! The outbox in Postgres.

use std::time::Duration;

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use uuid::Uuid;

/// A mail that was claimed, its content sealed.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) id: Uuid,
    pub(super) recipient: String,
    pub(super) content: String,
    pub(super) created: Timestamp,
    pub(super) attempts: i32,
}

/// Where the content of a mail is kept.
pub(crate) fn place(id: Uuid) -> String {
    format!("mails.content.{id}")
}

pub(super) async fn insert(
    transaction: &impl GenericClient,
    id: Uuid,
    recipient: &str,
    content: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql =
        "INSERT INTO mails (id, recipient, content, created, next_attempt_at) VALUES ($1, $2, $3, $4, $4)";
    let statement = transaction.prepare_cached(sql).await?;
    transaction
        .execute(&statement, &[&id, &recipient, &content, &now])
        .await?;
    Ok(())
}

/// Takes up to `most` mails that are due out of everybody else's reach for the time of `lease`: an
/// instance that dies gives them back by not coming back.
pub(super) async fn claim(
    client: &impl GenericClient,
    most: i64,
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Claimed>, Error> {
    let sql = "WITH due AS MATERIALIZED (
                   SELECT id AS due FROM mails WHERE dead_at IS NULL AND next_attempt_at <= $1
                   ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
               UPDATE mails SET attempts = attempts + 1, next_attempt_at = $3 FROM due WHERE id = due
               RETURNING id, recipient, content, created, attempts";
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&now, &most, &(now + lease)]).await?;
    let claimed = |row: &Row| {
        Ok(Claimed {
            id: row.try_get(0)?,
            recipient: row.try_get(1)?,
            content: row.try_get(2)?,
            created: row.try_get(3)?,
            attempts: row.try_get(4)?,
        })
    };
    rows.iter().map(claimed).collect()
}

/// Removes a mail that was sent.
pub(super) async fn delete(client: &impl GenericClient, id: Uuid) -> Result<(), Error> {
    let statement = client.prepare_cached("DELETE FROM mails WHERE id = $1").await?;
    client.execute(&statement, &[&id]).await?;
    Ok(())
}

/// Notes a failed try: to be tried again at `next`, or given up from `dead_at` on.
pub(super) async fn update_failed(
    client: &impl GenericClient,
    id: Uuid,
    error: &str,
    next: Timestamp,
    dead_at: Option<Timestamp>,
) -> Result<(), Error> {
    let sql = "UPDATE mails SET last_error = $2, next_attempt_at = $3, dead_at = $4 WHERE id = $1";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(&statement, &[&id, &error, &next, &dead_at])
        .await?;
    Ok(())
}

/// How many mails wait, and the age of the oldest in seconds.
pub(super) async fn depth(client: &impl GenericClient, now: Timestamp) -> Result<(i64, i64), Error> {
    let sql = "SELECT count(*), coalesce(extract(epoch FROM $1 - min(created))::bigint, 0)
               FROM mails WHERE dead_at IS NULL";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_one(&statement, &[&now]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
