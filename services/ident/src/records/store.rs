//! Records in Postgres.

use std::collections::BTreeMap;

use identity_core::crypto::fernet::Keys;
use identity_core::db::tokio_postgres::Row;
use identity_core::db::tokio_postgres::types::ToSql;
use identity_core::db::{Client, Error, ErrorKind, GenericClient, Lookup};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::accounts::Accounts;
use super::model::{Account, Draft, NewAccount, NewToken, ServiceName, User};
use super::words::words_of_name;
use crate::notifications::NewEvent;

/// What stands in the way of a record.
#[derive(Debug)]
pub enum WriteError {
    /// The email address belongs to another user.
    EmailTaken,
    /// A linked account belongs to another user.
    AccountTaken,
    /// Anything else.
    Database(Error),
}

impl<E: Into<Error>> std::convert::From<E> for WriteError {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.kind() {
            ErrorKind::Unique(constraint) if constraint == "users_email_unique" => Self::EmailTaken,
            ErrorKind::Unique(constraint) if constraint == "linked_accounts_account_unique" => {
                Self::AccountTaken
            }
            _ => Self::Database(error),
        }
    }
}

/// The columns of [`user_of`].
pub(super) const USER: &str = "u.id, u.name, u.email, u.version, \
    (SELECT json_object_agg(a.service, a.account_id) FROM linked_accounts a WHERE a.user_id = u.id)";

pub(super) fn user_of(row: &Row) -> Result<User, Error> {
    let services: Option<Value> = row.try_get(4)?;
    let accounts = services.as_ref().and_then(Value::as_object).into_iter().flatten();
    let services = accounts.map(|(service, id)| {
        let id = id
            .as_str()
            .ok_or_else(|| Error::corrupt("an account's id is no text"))?;
        Ok((service.clone(), Account { id: id.to_owned() }))
    });
    Ok(User {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        email: row.try_get(2)?,
        version: row.try_get(3)?,
        services: services.collect::<Result<_, Error>>()?,
    })
}

pub async fn find(client: &impl GenericClient, id: i64) -> Result<Option<User>, Error> {
    let statement = client
        .prepare_cached(&format!("SELECT {USER} FROM users u WHERE u.id = $1"))
        .await?;
    client
        .query_opt(&statement, &[&id])
        .await?
        .as_ref()
        .map(user_of)
        .transpose()
}

/// Users by id, for many requests at once.
#[derive(Debug)]
pub(crate) enum ById {}

impl Lookup for ById {
    type Key = i64;
    type Found = User;

    async fn find(client: &Client, ids: &[i64]) -> Result<Vec<(i64, User)>, Error> {
        let statement = client
            .prepare_cached(&format!("SELECT {USER} FROM users u WHERE u.id = ANY($1)"))
            .await?;
        let rows = client.query(&statement, &[&ids]).await?;
        rows.iter()
            .map(|row| user_of(row).map(|user| (user.id, user)))
            .collect()
    }
}

/// The user, locked until the transaction ends.
pub async fn find_for_update(client: &impl GenericClient, id: i64) -> Result<Option<User>, Error> {
    let statement = client
        .prepare_cached("SELECT 1 FROM users WHERE id = $1 FOR UPDATE")
        .await?;
    if client.query_opt(&statement, &[&id]).await?.is_none() {
        return Ok(None);
    }
    // Only now: a statement sees what was committed before it began, and the lock may have waited.
    find(client, id).await
}

/// A tsvector of these words.
fn vector_of(words: &[String]) -> String {
    words
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as it stands in a tsvector and a tsquery.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\\', "\\\\").replace('\'', "''"))
}

/// The part of a statement that tells the change `u` made: parameters $1 to $4, of [`told`].
const TELL: &str =
    "e AS (INSERT INTO user_events (user_id, webhook_id, type, payload, created_at, next_attempt_at)
                          SELECT u.id, $1, $2, $3, $4, $4 FROM u WHERE $1::uuid IS NOT NULL)";

/// The part of a statement that links accounts to the user `u`: parameters $5 to $7.
const LINK: &str = "a AS (INSERT INTO linked_accounts (user_id, service, account_id, access_token)
                          SELECT u.id, n.* FROM u, unnest($5::text[], $6::text[], $7::text[]) n)";

/// The parameters of [`TELL`].
struct Told<'a> {
    webhook_id: Option<Uuid>,
    kind: Option<&'a str>,
    payload: Option<&'a Value>,
    now: Timestamp,
}

fn told(event: Option<&NewEvent>, now: Timestamp) -> Told<'_> {
    Told {
        webhook_id: event.map(|event| event.webhook_id),
        kind: event.map(|event| event.kind.as_str()),
        payload: event.map(|event| &event.payload),
        now,
    }
}

/// Inserts a record with its accounts and its event, in one statement.
pub async fn insert(
    client: &impl GenericClient,
    keys: &Keys,
    draft: &Draft,
    event: Option<&NewEvent>,
    now: Timestamp,
) -> Result<i64, WriteError> {
    // A token is bound to the user's id, which therefore is needed first.
    let has_token = draft
        .services
        .values()
        .any(|account| matches!(account.access_token, NewToken::Given(_)));
    let id: Option<i64> = if has_token {
        let statement = client.prepare_cached("SELECT nextval('users_id_seq')").await?;
        Some(client.query_one(&statement, &[]).await?.try_get(0)?)
    } else {
        None
    };
    let sql = format!(
        "WITH u AS (INSERT INTO users (id, name, name_words, email, email_key, created_at, updated_at)
                    VALUES (coalesce($8, nextval('users_id_seq')), $9, $10::text::tsvector, $11, $12, $4, $4)
                    RETURNING id), {LINK}, {TELL}
         SELECT id FROM u"
    );
    let statement = client.prepare_cached(&sql).await?;
    let told = told(event, now);
    let accounts = Accounts::of(keys, id.unwrap_or_default(), &draft.services);
    let words = vector_of(&words_of_name(&draft.name));
    let row = client
        .query_one(
            &statement,
            &[
                &told.webhook_id,
                &told.kind,
                &told.payload,
                &told.now,
                &accounts.services,
                &accounts.ids,
                &accounts.tokens,
                &id,
                &draft.name,
                &words,
                &draft.email.text,
                &draft.email.key,
            ],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether the change from `user` to `draft` takes more than one statement of [`update`], and so a transaction.
pub fn replaces_accounts(user: &User, draft: &Draft) -> bool {
    user.services.keys().any(|name| {
        let kept = draft.services.iter().find(|(kept, _)| kept.as_str() == name);
        kept.is_none_or(|(_, account)| is_written(user, name, account))
    })
}

/// What is new or another account is written; an unchanged one keeps its token.
fn is_written(user: &User, name: &str, account: &NewAccount) -> bool {
    let linked = user.services.get(name);
    linked.is_none_or(|linked| linked.id != account.id)
        || !matches!(account.access_token, NewToken::Unchanged)
}

/// Replaces the record `user`; gives its new version, none when it is no longer as `user` says.
pub async fn update(
    client: &impl GenericClient,
    keys: &Keys,
    user: &User,
    draft: &Draft,
    event: Option<&NewEvent>,
    now: Timestamp,
) -> Result<Option<i64>, WriteError> {
    let written = draft.services.iter();
    let changed = written.filter(|(name, account)| is_written(user, name.as_str(), account));
    let accounts = Accounts::of(keys, user.id, changed);
    let kept: Vec<&str> = draft.services.keys().map(ServiceName::as_str).collect();
    let replaced: Vec<&str> = accounts
        .services
        .iter()
        .copied()
        .chain(gone(user, &kept))
        .collect();
    if !replaced.is_empty() {
        // A statement of its own: two services of one user may exchange their accounts' ids.
        let sql = "DELETE FROM linked_accounts WHERE user_id = $1 AND service = ANY ($2)";
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &[&user.id, &replaced]).await?;
    }
    let sql = format!(
        "WITH u AS (UPDATE users SET name = $9, name_words = $10::text::tsvector, email = $11, email_key = $12,
                                     updated_at = $4, version = version + 1
                    WHERE id = $8 AND version = $13 RETURNING id, version), {LINK}, {TELL}
         SELECT version FROM u"
    );
    let statement = client.prepare_cached(&sql).await?;
    let told = told(event, now);
    let words = vector_of(&words_of_name(&draft.name));
    let row = client
        .query_opt(
            &statement,
            &[
                &told.webhook_id,
                &told.kind,
                &told.payload,
                &told.now,
                &accounts.services,
                &accounts.ids,
                &accounts.tokens,
                &user.id,
                &draft.name,
                &words,
                &draft.email.text,
                &draft.email.key,
                &user.version,
            ],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The services that `user` has linked and that are not among `kept`.
fn gone<'a>(user: &'a User, kept: &[&str]) -> impl Iterator<Item = &'a str> {
    user.services
        .keys()
        .map(String::as_str)
        .filter(|name| !kept.contains(name))
}

/// Deletes a record and all that hangs on it; false when there is none.
pub async fn delete(
    client: &impl GenericClient,
    id: i64,
    event: Option<&NewEvent>,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = format!("WITH u AS (DELETE FROM users WHERE id = $5 RETURNING id), {TELL} SELECT id FROM u");
    let statement = client.prepare_cached(&sql).await?;
    let told = told(event, now);
    let parameters: [&(dyn ToSql + Sync); 5] = [&told.webhook_id, &told.kind, &told.payload, &told.now, &id];
    Ok(client.query_opt(&statement, &parameters).await?.is_some())
}

/// The services of a draft as [`User`] shows them.
pub fn shown(services: &BTreeMap<ServiceName, NewAccount>) -> BTreeMap<String, Account> {
    services
        .iter()
        .map(|(name, account)| {
            (
                name.to_string(),
                Account {
                    id: account.id.clone(),
                },
            )
        })
        .collect()
}
