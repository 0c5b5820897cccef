//! The outbox in Postgres.

use std::time::Duration;

use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::{Kind, Message};

/// Leaves `message`, due at once.
pub async fn insert(client: &impl GenericClient, message: &Message) -> Result<(), Error> {
    let sql = "INSERT INTO outbox (id, kind, provider, content, created_at, due_at)
               VALUES ($1, $2, $3, $4, $5, $5)";
    let statement = client.prepare_cached(sql).await?;
    let Message {
        id,
        kind,
        provider,
        content,
        created_at,
        ..
    } = message;
    client
        .execute(&statement, &[id, &kind.as_str(), provider, content, created_at])
        .await?;
    Ok(())
}

/// Gives out what is due, which is not due for anybody else until `lease` is over.
pub async fn claim(
    client: &impl GenericClient,
    most: i64,
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Message>, Error> {
    let sql = "UPDATE outbox SET due_at = $2
               WHERE id IN (SELECT id FROM outbox WHERE due_at <= $1 ORDER BY due_at LIMIT $3
                            FOR UPDATE SKIP LOCKED)
               RETURNING id, kind, provider, content, created_at, attempts";
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&now, &(now + lease), &most]).await?;
    let message = |row: &identity_core::db::tokio_postgres::Row| {
        let kind: String = row.try_get("kind")?;
        Ok(Message {
            id: row.try_get("id")?,
            kind: if kind == Kind::Webhook.as_str() {
                Kind::Webhook
            } else {
                Kind::Revocation
            },
            provider: row.try_get("provider")?,
            content: row.try_get("content")?,
            created_at: row.try_get("created_at")?,
            attempts: row.try_get("attempts")?,
        })
    };
    rows.iter().map(message).collect()
}

/// Takes out what was delivered, or given up.
pub async fn delete(client: &impl GenericClient, message: &Message) -> Result<(), Error> {
    client
        .execute("DELETE FROM outbox WHERE id = $1", &[&message.id])
        .await?;
    Ok(())
}

/// Notes that a delivery failed, and when it is tried again.
pub async fn update_failed(
    client: &impl GenericClient,
    message: &Message,
    error: &str,
    due_at: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE outbox SET attempts = attempts + 1, last_error = $2, due_at = $3 WHERE id = $1";
    client.execute(sql, &[&message.id, &error, &due_at]).await?;
    Ok(())
}

/// How many messages wait, and for how many seconds the oldest does.
pub async fn depth(client: &impl GenericClient, now: Timestamp) -> Result<(i64, i64), Error> {
    let row = client
        .query_one("SELECT count(*), min(created_at) FROM outbox", &[])
        .await?;
    let oldest: Option<Timestamp> = row.try_get(1)?;
    let age = oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0));
    Ok((row.try_get(0)?, age))
}
