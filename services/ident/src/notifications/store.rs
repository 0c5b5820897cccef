//! Events in Postgres.

use std::time::Duration;

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::Event;

/// The columns of [`event_of`].
const EVENT: &str = "user_id, id, webhook_id, type, payload, created_at, attempts";

fn event_of(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        user_id: row.try_get(0)?,
        id: row.try_get(1)?,
        webhook_id: row.try_get(2)?,
        kind: row.try_get(3)?,
        payload: row.try_get(4)?,
        created_at: row.try_get(5)?,
        attempts: row.try_get(6)?,
    })
}

/// Takes up to `most` events that are due, each the oldest of its user, out of everybody else's
/// reach for the time of `lease`: an instance that dies gives them back by not coming back.
pub async fn claim(
    client: &impl GenericClient,
    most: usize,
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Event>, Error> {
    // Materialized: a plan may run a sub-query more than once, and would then claim more than `most`.
    let sql = format!(
        "WITH due AS MATERIALIZED (
             SELECT e.user_id AS due_user, e.id AS due_id FROM user_events e
             WHERE e.dead_at IS NULL AND e.next_attempt_at <= $1
               AND NOT EXISTS (SELECT FROM user_events p
                               WHERE p.user_id = e.user_id AND p.id < e.id AND p.dead_at IS NULL)
             ORDER BY e.next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE user_events SET attempts = attempts + 1, next_attempt_at = $3
         FROM due WHERE user_id = due_user AND id = due_id
         RETURNING {EVENT}"
    );
    let statement = client.prepare_cached(&sql).await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&now, &most, &(now + lease)]).await?;
    rows.iter().map(event_of).collect()
}

/// Removes a delivered event.
pub async fn delete(client: &impl GenericClient, event: &Event) -> Result<(), Error> {
    let statement = client
        .prepare_cached("DELETE FROM user_events WHERE user_id = $1 AND id = $2")
        .await?;
    client.execute(&statement, &[&event.user_id, &event.id]).await?;
    Ok(())
}

/// Notes a failed attempt: to be tried again at `next`, or dead from `dead_at` on.
pub async fn update_failed(
    client: &impl GenericClient,
    event: &Event,
    error: &str,
    next: Timestamp,
    dead_at: Option<Timestamp>,
) -> Result<(), Error> {
    let sql = "UPDATE user_events SET last_error = $3, next_attempt_at = $4, dead_at = $5 WHERE user_id = $1 AND id = $2";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(&statement, &[&event.user_id, &event.id, &error, &next, &dead_at])
        .await?;
    Ok(())
}

/// How many events wait, the age of the oldest in seconds, and how many are dead.
pub async fn depth(client: &impl GenericClient, now: Timestamp) -> Result<(i64, i64, i64), Error> {
    let sql = "SELECT count(*) FILTER (WHERE dead_at IS NULL),
                      coalesce(extract(epoch FROM $1 - min(created_at) FILTER (WHERE dead_at IS NULL))::bigint, 0),
                      count(*) FILTER (WHERE dead_at IS NOT NULL)
               FROM user_events";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_one(&statement, &[&now]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// An event as an operator sees it.
#[derive(Debug)]
pub struct Listed {
    pub event: Event,
    pub last_error: Option<String>,
    pub is_dead: bool,
}

/// Up to `most` events that wait or are dead, the oldest first.
pub async fn list(client: &impl GenericClient, dead_only: bool, most: i64) -> Result<Vec<Listed>, Error> {
    let sql = format!(
        "SELECT {EVENT}, last_error, dead_at IS NOT NULL FROM user_events
         WHERE dead_at IS NOT NULL OR NOT $1 ORDER BY id LIMIT $2"
    );
    let rows = client.query(&sql, &[&dead_only, &most]).await?;
    let listed = |row: &Row| {
        Ok(Listed {
            event: event_of(row)?,
            last_error: row.try_get(7)?,
            is_dead: row.try_get(8)?,
        })
    };
    rows.iter().map(listed).collect()
}

/// Brings dead events back, all of them or the one with this id; gives how many.
///
/// Their age counts from now, or they would be dead again after one attempt.
pub async fn revive(client: &impl GenericClient, id: Option<i64>, now: Timestamp) -> Result<u64, Error> {
    let sql = "UPDATE user_events SET dead_at = NULL, attempts = 0, created_at = $1, next_attempt_at = $1
               WHERE dead_at IS NOT NULL AND ($2::bigint IS NULL OR id = $2)";
    Ok(client.execute(sql, &[&now, &id]).await?)
}
