//! The recorded fingerprint, and all that is encrypted, in Postgres.

use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Error, GenericClient, encryption_keys};
use identity_core::failure::Failure;
use jiff::Timestamp;
use uuid::Uuid;

use super::model::refusal;
use crate::{links, mail};

/// A column whose content is encrypted, and where its place is named.
struct Column {
    list: &'static str,
    update: &'static str,
    place: fn(Uuid) -> String,
}

const MAILS: Column = Column {
    list: "SELECT id, content FROM mails FOR UPDATE",
    update: "UPDATE mails SET content = $2 WHERE id = $1",
    place: mail::place,
};

const LINKS: Column = Column {
    list: "SELECT id, secret FROM links WHERE secret IS NOT NULL FOR UPDATE",
    update: "UPDATE links SET secret = $2 WHERE id = $1",
    place: links::secret_place,
};

/// How much was encrypted anew, and how much cannot be read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) changed: usize,
    pub(super) unreadable: usize,
}

/// Remembers the secret of the first start, and refuses every other one.
///
/// # Errors
/// [`Failure::Configuration`] with both fingerprints.
pub(crate) async fn require(database: &Database, keys: &Keys, now: Timestamp) -> Result<(), Failure> {
    let checking = |error| Failure::because("checking jwt.secret", error);
    let client = database.client().await.map_err(checking)?;
    match encryption_keys::record(&client, keys, now)
        .await
        .map_err(checking)?
    {
        None => Ok(()),
        Some(recorded) => Err(Failure::configuration(refusal(&recorded, keys))),
    }
}

/// The first recorded fingerprint that `keys` lack, whatever else is recorded.
pub(super) async fn missing(client: &impl GenericClient, keys: &Keys) -> Result<Option<String>, Error> {
    let sql = "SELECT fingerprint FROM encryption_keys ORDER BY recorded_at";
    for row in client.query(sql, &[]).await? {
        let recorded: String = row.try_get(0)?;
        if !keys.fingerprints().any(|known| known == recorded) {
            return Ok(Some(recorded));
        }
    }
    Ok(None)
}

/// Remembers the first of `keys`, and nothing else.
pub(super) async fn replace(
    transaction: &impl GenericClient,
    keys: &Keys,
    now: Timestamp,
) -> Result<(), Error> {
    encryption_keys::forget_others(transaction, keys).await?;
    encryption_keys::record(transaction, keys, now).await.map(drop)
}

/// Encrypts anew what waits to be mailed.
pub(super) async fn reseal_mails(transaction: &impl GenericClient, keys: &Keys) -> Result<Outcome, Error> {
    reseal(transaction, keys, &MAILS).await
}

/// Encrypts anew the secrets of links that have one of their own.
pub(super) async fn reseal_links(transaction: &impl GenericClient, keys: &Keys) -> Result<Outcome, Error> {
    reseal(transaction, keys, &LINKS).await
}

async fn reseal(transaction: &impl GenericClient, keys: &Keys, column: &Column) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let update = transaction.prepare_cached(column.update).await?;
    for row in transaction.query(column.list, &[]).await? {
        let (id, sealed): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
        match keys.reseal(&(column.place)(id), &sealed) {
            Ok(None) => {}
            Ok(Some(anew)) => {
                transaction.execute(&update, &[&id, &anew]).await?;
                outcome.changed += 1;
            }
            Err(_) => outcome.unreadable += 1,
        }
    }
    Ok(outcome)
}
