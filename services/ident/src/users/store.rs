//! Credentials in Postgres.

use std::collections::HashMap;

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::{Credentials, Username};

/// The columns of [`credentials_of`].
const CREDENTIALS: &str = "user_id, username, username_key, password_hash, permissions, disabled";

fn credentials_of(row: &Row) -> Result<Credentials, Error> {
    Ok(Credentials {
        username: Some(Username {
            text: row.try_get(1)?,
            key: row.try_get(2)?,
        }),
        password_hash: row.try_get(3)?,
        permissions: row.try_get(4)?,
        disabled: row.try_get(5)?,
    })
}

/// The credentials of a user; empty ones where there are none.
pub async fn find(client: &impl GenericClient, user: i64) -> Result<Credentials, Error> {
    let statement = client
        .prepare_cached(&format!(
            "SELECT {CREDENTIALS} FROM credentials WHERE user_id = $1"
        ))
        .await?;
    let row = client.query_opt(&statement, &[&user]).await?;
    Ok(row.as_ref().map(credentials_of).transpose()?.unwrap_or_default())
}

/// The credentials of those of `users` who have any.
pub async fn list(client: &impl GenericClient, users: &[i64]) -> Result<HashMap<i64, Credentials>, Error> {
    let sql = format!("SELECT {CREDENTIALS} FROM credentials WHERE user_id = ANY ($1)");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&users]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, credentials_of(row)?)))
        .collect()
}

/// Who has this username, compared by its key, and their credentials.
///
/// # Errors
/// What Postgres says.
pub async fn find_by_username(
    client: &impl GenericClient,
    key: &str,
) -> Result<Option<(i64, Credentials)>, Error> {
    let sql = format!("SELECT {CREDENTIALS} FROM credentials WHERE username_key = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&key]).await?;
    row.map(|row| Ok((row.try_get(0)?, credentials_of(&row)?)))
        .transpose()
}

/// What a user's tokens permit; none where they are gone, disabled or cannot sign in.
///
/// # Errors
/// What Postgres says.
pub async fn permissions_of(client: &impl GenericClient, user: i64) -> Result<Option<Vec<String>>, Error> {
    let sql = "SELECT permissions FROM credentials WHERE user_id = $1 AND NOT disabled";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_opt(&statement, &[&user]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// A user's address as they gave it.
///
/// # Errors
/// What Postgres says.
pub async fn email_of(client: &impl GenericClient, user: i64) -> Result<Option<String>, Error> {
    let statement = client
        .prepare_cached("SELECT email FROM users WHERE id = $1")
        .await?;
    let row = client.query_opt(&statement, &[&user]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Writes the credentials of a user, over those that were there.
pub async fn upsert(
    client: &impl GenericClient,
    user: i64,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(username) = &credentials.username else {
        return Ok(());
    };
    let sql = "INSERT INTO credentials (user_id, username, username_key, password_hash, permissions, disabled, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (user_id) DO UPDATE SET username = $2, username_key = $3, password_hash = $4,
                                                   permissions = $5, disabled = $6, updated_at = $7";
    let statement = client.prepare_cached(sql).await?;
    let Credentials {
        password_hash,
        permissions,
        disabled,
        ..
    } = credentials;
    client
        .execute(
            &statement,
            &[
                &user,
                &username.text,
                &username.key,
                password_hash,
                permissions,
                disabled,
                &now,
            ],
        )
        .await?;
    Ok(())
}

/// Replaces a hash by one of the same password with newer parameters, unless the password has
/// changed meanwhile.
///
/// # Errors
/// What Postgres says.
pub async fn update_password_hash(
    client: &impl GenericClient,
    user: i64,
    old: &str,
    new: &str,
) -> Result<(), Error> {
    let sql = "UPDATE credentials SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2";
    client.execute(sql, &[&user, &old, &new]).await?;
    Ok(())
}
