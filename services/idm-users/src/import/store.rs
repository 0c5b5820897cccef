//! The documents in a table of their own, for the time of the import: a link can come before its subject, and a
//! history is told in its order.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::model::{Document, Kind};

/// How many documents are written or read at once.
pub const PAGE: usize = 500;

/// Makes the table. It goes with the transaction, or is dropped in it.
pub async fn create(transaction: &impl GenericClient) -> Result<(), Error> {
    let sql = "CREATE UNLOGGED TABLE imported_documents (
                   number   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                   label    text        NOT NULL,
                   id       text        NOT NULL UNIQUE,
                   kind     text        NOT NULL,
                   key      text,
                   -- Of a line of a history.
                   at       timestamptz NOT NULL,
                   document json        NOT NULL,
                   -- What it became here: a username, an SSSID, a link's id and SSSID.
                   object   text,
                   sssid    text
               );
               CREATE INDEX imported_documents_order ON imported_documents (kind, at, number);
               CREATE INDEX imported_documents_key ON imported_documents (kind, key) WHERE object IS NOT NULL;";
    Ok(transaction.batch_execute(sql).await?)
}

/// Drops the table.
pub async fn drop(transaction: &impl GenericClient) -> Result<(), Error> {
    Ok(transaction.batch_execute("DROP TABLE imported_documents").await?)
}

/// Adds documents, each with a label; gives the labels of those whose `_id` was there already.
pub async fn add(
    transaction: &impl GenericClient,
    documents: &[(String, Document)],
) -> Result<Vec<String>, Error> {
    let sql = "INSERT INTO imported_documents (label, at, id, kind, key, document)
               SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::json[])
               ON CONFLICT (id) DO NOTHING RETURNING label";
    let statement = transaction.prepare_cached(sql).await?;
    let labels: Vec<&str> = documents.iter().map(|(label, _)| label.as_str()).collect();
    let moments: Vec<Timestamp> = documents.iter().map(|(_, one)| one.at).collect();
    let ids: Vec<&str> = documents.iter().map(|(_, one)| one.id.as_str()).collect();
    let kinds: Vec<&str> = documents.iter().map(|(_, one)| one.kind.as_str()).collect();
    let keys: Vec<Option<&str>> = documents.iter().map(|(_, one)| one.key.as_deref()).collect();
    let values = documents
        .iter()
        .map(|(_, one)| Value::Object(one.members.clone()));
    let values: Vec<Value> = values.collect();
    let rows = transaction
        .query(&statement, &[&labels, &moments, &ids, &kinds, &keys, &values])
        .await?;
    let added = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<&str>, _>>()?;
    let twice = labels.iter().filter(|label| !added.contains(label));
    Ok(twice.map(|label| (*label).to_owned()).collect())
}

/// A document out of the table.
#[derive(Debug)]
pub struct Stored {
    pub number: i64,
    pub label: String,
    pub id: String,
    pub members: Map<String, Value>,
}

/// Where a page ends.
pub type Position = (Timestamp, i64);

/// Up to [`PAGE`] documents of a kind behind a position, in the order of their moments, and where they end.
pub async fn page(
    transaction: &impl GenericClient,
    kind: Kind,
    after: Option<Position>,
) -> Result<(Vec<Stored>, Option<Position>), Error> {
    let sql = "SELECT number, label, id, document, at
               FROM imported_documents
               WHERE kind = $1 AND ($2::bigint IS NULL OR (at, number) > ($3::timestamptz, $2))
               ORDER BY at, number LIMIT $4";
    let statement = transaction.prepare_cached(sql).await?;
    let (at, number) = (after.map(|after| after.0), after.map(|after| after.1));
    let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let rows = transaction
        .query(&statement, &[&kind.as_str(), &number, &at, &most])
        .await?;
    let stored = |row: &Row| {
        let document: Value = row.try_get(3)?;
        Ok(Stored {
            number: row.try_get(0)?,
            label: row.try_get(1)?,
            id: row.try_get(2)?,
            members: document.as_object().cloned().unwrap_or_default(),
        })
    };
    let end = rows
        .last()
        .map(|row| Ok::<_, Error>((row.try_get(4)?, row.try_get(0)?)));
    Ok((
        rows.iter().map(stored).collect::<Result<_, Error>>()?,
        end.transpose()?,
    ))
}

/// Notes what a document became.
pub async fn note(
    transaction: &impl GenericClient,
    number: i64,
    object: &str,
    sssid: Option<&str>,
) -> Result<(), Error> {
    let sql = "UPDATE imported_documents SET object = $2, sssid = $3 WHERE number = $1";
    let statement = transaction.prepare_cached(sql).await?;
    transaction
        .execute(&statement, &[&number, &object, &sssid])
        .await?;
    Ok(())
}

/// Whether a document of this kind and key was taken in this run.
pub async fn is_taken(transaction: &impl GenericClient, kind: Kind, key: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM imported_documents WHERE kind = $1 AND key = $2 AND object IS NOT NULL";
    let statement = transaction.prepare_cached(sql).await?;
    Ok(!transaction
        .query(&statement, &[&kind.as_str(), &key])
        .await?
        .is_empty())
}

/// A document that was taken.
#[derive(Debug)]
pub struct Taken {
    pub number: i64,
    pub object: String,
    pub sssid: Option<String>,
}

/// Up to [`PAGE`] documents of a kind that were taken, behind the number `after`.
pub async fn taken(transaction: &impl GenericClient, kind: Kind, after: i64) -> Result<Vec<Taken>, Error> {
    let sql = "SELECT number, object, sssid FROM imported_documents
               WHERE kind = $1 AND at = $2 AND number > $3 AND object IS NOT NULL ORDER BY number LIMIT $4";
    let statement = transaction.prepare_cached(sql).await?;
    let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
    // Of all but lines of a history the moment is the same, so that the index goes by the number.
    let at = Timestamp::UNIX_EPOCH;
    let rows = transaction
        .query(&statement, &[&kind.as_str(), &at, &after, &most])
        .await?;
    let taken = |row: &Row| {
        Ok(Taken {
            number: row.try_get(0)?,
            object: row.try_get(1)?,
            sssid: row.try_get(2)?,
        })
    };
    rows.iter().map(taken).collect()
}

/// What a document is and became, by its `_id`.
#[derive(Debug)]
pub struct Known {
    pub kind: String,
    /// Of a user, as the original knew them.
    pub username: Option<String>,
    /// As [`Document`] has it.
    pub key: Option<String>,
    pub object: Option<String>,
    pub sssid: Option<String>,
}

/// The document of this `_id`.
pub async fn find(transaction: &impl GenericClient, id: &str) -> Result<Option<Known>, Error> {
    let sql =
        "SELECT kind, document ->> 'username', object, sssid, key FROM imported_documents WHERE id = $1";
    let statement = transaction.prepare_cached(sql).await?;
    let row = transaction.query_opt(&statement, &[&id]).await?;
    let known = |row: Row| {
        Ok(Known {
            kind: row.try_get(0)?,
            username: row.try_get(1)?,
            key: row.try_get(4)?,
            object: row.try_get(2)?,
            sssid: row.try_get(3)?,
        })
    };
    row.map(known).transpose()
}

/// Sets when a subject was made.
pub async fn set_created(
    transaction: &impl GenericClient,
    sssid: &str,
    created: Timestamp,
) -> Result<(), Error> {
    let statement = transaction
        .prepare_cached("UPDATE subjects SET created = $2 WHERE sssid = $1")
        .await?;
    transaction.execute(&statement, &[&sssid, &created]).await?;
    Ok(())
}

/// Lets dates follow the links that only repeat what the links say: the original stored what it had worked out of
/// them.
pub async fn let_follow(transaction: &impl GenericClient, sssid: &str) -> Result<(), Error> {
    let sql = "UPDATE subjects s SET
                   enrolled_by_hand = enrolled_by_hand AND NOT EXISTS (
                       SELECT FROM links l WHERE l.sssid = s.sssid AND l.linked_at = s.enrolled_at),
                   withdrawn_by_hand = withdrawn_by_hand AND NOT EXISTS (
                       SELECT FROM links l WHERE l.sssid = s.sssid AND l.withdrawn_at = s.withdrawn_at)
               WHERE sssid = $1 AND (enrolled_by_hand OR withdrawn_by_hand)";
    let statement = transaction.prepare_cached(sql).await?;
    transaction.execute(&statement, &[&sssid]).await?;
    Ok(())
}
