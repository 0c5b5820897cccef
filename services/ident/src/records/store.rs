//! Records in Postgres.

use std::collections::BTreeMap;

use identity_core::crypto::fernet::Keys;
use identity_core::db::tokio_postgres::types::{ToSql, Type};
use identity_core::db::tokio_postgres::{self, Row};
use identity_core::db::{Client, Error, ErrorKind, GenericClient, Lookup};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use super::model::{Account, Draft, NewAccount, NewToken, ServiceName, User};
use super::query::{Around, Filters, From, ListQuery};
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
const USER: &str = "u.id, u.name, u.email, u.version, \
    (SELECT json_object_agg(a.service, a.account_id) FROM linked_accounts a WHERE a.user_id = u.id)";

fn user_of(row: &Row) -> Result<User, Error> {
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

/// One page, in the order of ids, and what lies around it.
pub async fn list(client: &tokio_postgres::Client, query: &ListQuery) -> Result<(Vec<User>, Around), Error> {
    let mut conditions = Conditions::of(&query.filters);
    // One more than the page holds tells whether another follows.
    let limit = i64::try_from(query.page_size)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let filters = conditions.sql.clone();
    let (position, other_side, order) = match query.from {
        From::Start => (String::new(), "false".to_owned(), "ASC"),
        From::After(id) => {
            let id = conditions.parameter(id, Type::INT8);
            (
                format!(" AND u.id > {id}"),
                format!("EXISTS (SELECT FROM users u WHERE u.id <= {id}{filters})"),
                "ASC",
            )
        }
        From::Before(id) => {
            let id = conditions.parameter(id, Type::INT8);
            (
                format!(" AND u.id < {id}"),
                format!("EXISTS (SELECT FROM users u WHERE u.id >= {id}{filters})"),
                "DESC",
            )
        }
    };
    let limit = conditions.parameter(limit, Type::INT8);
    // The left side gives a row also for an empty page, whose surroundings are asked for too.
    let sql = format!(
        "SELECT p.*, around.other_side FROM (SELECT {other_side} AS other_side) around \
         LEFT JOIN (SELECT {USER} AS services FROM users u WHERE true{position}{filters} \
                    ORDER BY u.id {order} LIMIT {limit}) p ON true"
    );
    let rows = client.query_typed(&sql, &conditions.values()).await?;
    let other_side = rows
        .first()
        .map(|row| row.try_get(5))
        .transpose()?
        .unwrap_or(false);
    let found = rows
        .iter()
        .filter(|row| row.try_get::<_, Option<i64>>(0).is_ok_and(|id| id.is_some()));
    let mut users = found.map(user_of).collect::<Result<Vec<_>, _>>()?;
    let more = users.len() > query.page_size;
    users.truncate(query.page_size);
    let (before, behind) = match query.from {
        From::Before(_) => {
            users.reverse();
            (more, other_side)
        }
        From::Start | From::After(_) => (other_side, more),
    };
    let ends = users
        .first()
        .zip(users.last())
        .map(|(first, last)| (first.id, last.id));
    Ok((users, Around { ends, before, behind }))
}

/// The conditions of the filters with their values. The statement is planned for each call, since
/// how best to search depends on how common the words are.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    fn of(filters: &Filters) -> Self {
        let mut conditions = Self::default();
        if let Some(email) = &filters.email {
            let email = conditions.parameter(email.clone(), Type::TEXT);
            conditions.and(&format!("u.email_key = {email}"));
        }
        if !filters.name_words.is_empty() {
            let words = conditions.parameter(search_of(&filters.name_words), Type::TEXT);
            conditions.and(&format!("u.name_words @@ {words}::text::tsquery"));
        }
        if let Some((service, id)) = &filters.account {
            let service = conditions.parameter(service.as_str().to_owned(), Type::TEXT);
            let id = conditions.parameter(id.clone(), Type::TEXT);
            conditions.and(&format!(
                "u.id = (SELECT a.user_id FROM linked_accounts a WHERE a.service = {service} AND a.account_id = {id})"
            ));
        }
        conditions
    }

    fn and(&mut self, condition: &str) {
        self.sql.extend([" AND ", condition]);
    }

    /// Adds a value and gives its name in the statement.
    fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// A tsquery: every word as the beginning of one, quoted so that none is an operator.
fn search_of(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("{}:*", quoted(word)))
        .collect::<Vec<_>>()
        .join(" & ")
}

/// A tsvector of these words.
fn vector_of(words: &[String]) -> String {
    words
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
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

/// The access token of a linked account, decrypted; none where none is stored.
pub async fn find_token(
    client: &impl GenericClient,
    keys: &Keys,
    user: i64,
    service: &ServiceName,
) -> Result<Option<SecretString>, Error> {
    let statement = client
        .prepare_cached(
            "SELECT account_id, access_token FROM linked_accounts WHERE user_id = $1 AND service = $2",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&user, &service.as_str()]).await? else {
        return Ok(None);
    };
    let (account, sealed): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let Some(sealed) = sealed else { return Ok(None) };
    let opened = keys.open_text(&place_of_token(user, service.as_str(), &account), &sealed);
    opened
        .map(Some)
        .map_err(|error| Error::corrupt(format!("linked account of user {user} at {service}: {error}")))
}

/// Where a token is stored, to which its ciphertext is bound.
pub fn place_of_token(user: i64, service: &str, account: &str) -> String {
    format!("ident.linked_accounts.access_token/{user}/{service}/{account}")
}

/// Accounts as the columns of an insertion.
struct Accounts<'a> {
    services: Vec<&'a str>,
    ids: Vec<&'a str>,
    tokens: Vec<Option<String>>,
}

impl<'a> Accounts<'a> {
    fn of(
        keys: &Keys,
        user: i64,
        accounts: impl IntoIterator<Item = (&'a ServiceName, &'a NewAccount)>,
    ) -> Self {
        let mut columns = Self {
            services: Vec::new(),
            ids: Vec::new(),
            tokens: Vec::new(),
        };
        for (name, account) in accounts {
            columns.services.push(name.as_str());
            columns.ids.push(&account.id);
            columns.tokens.push(match &account.access_token {
                NewToken::Given(token) => {
                    let place = place_of_token(user, name.as_str(), &account.id);
                    Some(keys.seal(&place, token.expose_secret().as_bytes()))
                }
                NewToken::Unchanged | NewToken::Removed => None,
            });
        }
        columns
    }
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
