//! The audit trail in Postgres.

use identity_core::db::tokio_postgres::Row as Stored;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::{BEGINNING, Entry, Row, Shown};

/// The columns of [`row_of`].
const ROW: &str = "seq, at, actor, kind, object, sssid, action, previous_hash, hash";

/// Notes changes in their own transaction, which should do nothing slow after it: until its end nobody
/// else can note any.
///
/// # Errors
/// What Postgres says.
pub(crate) async fn append(
    transaction: &impl GenericClient,
    now: Timestamp,
    entries: &[Entry],
) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.audit', 0))";
    let lock = transaction.prepare_cached(lock).await?;
    transaction.execute(&lock, &[]).await?;
    // A statement of its own: only what begins after the lock sees the last row.
    let last = transaction
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        .await?;
    let (mut seq, mut hash) = match transaction.query_opt(&last, &[]).await? {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, BEGINNING.to_vec()),
    };
    let insert = format!("INSERT INTO audit ({ROW}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let insert = transaction.prepare_cached(&insert).await?;
    for entry in entries {
        let row = Row::following(seq, &hash, entry, now);
        let Row {
            at,
            actor,
            kind,
            object,
            sssid,
            action,
            previous_hash,
            ..
        } = &row;
        transaction
            .execute(
                &insert,
                &[
                    &row.seq,
                    at,
                    actor,
                    kind,
                    object,
                    sssid,
                    action,
                    previous_hash,
                    &row.hash,
                ],
            )
            .await?;
        (seq, hash) = (row.seq, row.hash);
    }
    Ok(())
}

/// The history of a subject and its links, the oldest change first.
pub(super) async fn list_of_subject(client: &impl GenericClient, sssid: &str) -> Result<Vec<Shown>, Error> {
    let sql = "SELECT at, actor, kind, action FROM audit WHERE sssid = $1 ORDER BY seq";
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&sssid]).await?;
    let shown = |row: &Stored| {
        let (at, kind, action): (Timestamp, &str, &str) = (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?);
        let of = if kind == "link" { "[Link] " } else { "" };
        Ok(Shown {
            datetime: crate::subjects::shown(at),
            actor: row.try_get(1)?,
            action: format!("{of}{action}"),
        })
    };
    rows.iter().map(shown).collect()
}

/// Up to `most` rows behind `seq`.
pub(super) async fn list_after(client: &impl GenericClient, seq: i64, most: i64) -> Result<Vec<Row>, Error> {
    let sql = format!("SELECT {ROW} FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
    let rows = client.query(&sql, &[&seq, &most]).await?;
    rows.iter().map(row_of).collect()
}

fn row_of(row: &Stored) -> Result<Row, Error> {
    Ok(Row {
        seq: row.try_get(0)?,
        at: row.try_get(1)?,
        actor: row.try_get(2)?,
        kind: row.try_get(3)?,
        object: row.try_get(4)?,
        sssid: row.try_get(5)?,
        action: row.try_get(6)?,
        previous_hash: row.try_get(7)?,
        hash: row.try_get(8)?,
    })
}
