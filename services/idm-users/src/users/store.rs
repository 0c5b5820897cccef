//! Users in Postgres.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use super::model::{User, Username};

/// The columns of [`user_of`].
const USER: &str = "id, username, password_hash, admin, generation";

fn user_of(row: &Row) -> Result<User, Error> {
    Ok(User {
        id: row.try_get(0)?,
        username: row.try_get(1)?,
        password_hash: row.try_get(2)?,
        admin: row.try_get(3)?,
        generation: row.try_get(4)?,
    })
}

/// The user of this name.
pub(crate) async fn find(client: &impl GenericClient, username: &Username) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {USER} FROM users WHERE username_key = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&username.key]).await?;
    row.as_ref().map(user_of).transpose()
}

/// The user of this id.
pub(crate) async fn find_by_id(client: &impl GenericClient, id: i64) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {USER} FROM users WHERE id = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&id]).await?;
    row.as_ref().map(user_of).transpose()
}

/// All users by name.
pub(super) async fn list(client: &impl GenericClient) -> Result<Vec<User>, Error> {
    let rows = client
        .query(&format!("SELECT {USER} FROM users ORDER BY username_key"), &[])
        .await?;
    rows.iter().map(user_of).collect()
}

/// Keeps everybody else from making or changing users until the transaction ends: how many
/// administrators there are must not change between a look and an act.
pub(crate) async fn lock(transaction: &impl GenericClient) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.users', 0))";
    transaction.execute(sql, &[]).await?;
    Ok(())
}

/// How many administrators there are.
pub(crate) async fn count_admins(client: &impl GenericClient) -> Result<i64, Error> {
    let statement = client
        .prepare_cached("SELECT count(*) FROM users WHERE admin")
        .await?;
    Ok(client.query_one(&statement, &[]).await?.try_get(0)?)
}

/// Makes a user; none where the name is taken.
pub(crate) async fn insert(
    client: &impl GenericClient,
    username: &Username,
    password_hash: &str,
    admin: bool,
    now: Timestamp,
) -> Result<Option<User>, Error> {
    let sql = format!(
        "INSERT INTO users (username, username_key, password_hash, admin, created, changed)
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (username_key) DO NOTHING RETURNING {USER}"
    );
    let statement = client.prepare_cached(&sql).await?;
    let row = client
        .query_opt(
            &statement,
            &[&username.text, &username.key, &password_hash, &admin, &now],
        )
        .await?;
    row.as_ref().map(user_of).transpose()
}

/// Removes a user.
pub(super) async fn delete(client: &impl GenericClient, user: &User) -> Result<bool, Error> {
    let statement = client.prepare_cached("DELETE FROM users WHERE id = $1").await?;
    Ok(client.execute(&statement, &[&user.id]).await? == 1)
}

/// Sets a new password: ends the user's tokens, and the links to reset the old one.
pub(crate) async fn set_password(
    client: &impl GenericClient,
    user: &User,
    hash: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE users SET password_hash = $2, generation = generation + 1, changed = $3 WHERE id = $1";
    client.execute(sql, &[&user.id, &hash, &now]).await?;
    let sql = "UPDATE resets SET ended = $2 WHERE user_id = $1 AND used IS NULL AND ended IS NULL";
    client.execute(sql, &[&user.id, &now]).await?;
    Ok(())
}

/// Makes an administrator of a user, or ends that.
pub(super) async fn set_admin(
    client: &impl GenericClient,
    user: &User,
    admin: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE users SET admin = $2, changed = $3 WHERE id = $1";
    client.execute(sql, &[&user.id, &admin, &now]).await?;
    Ok(())
}

/// Replaces a hash by one of the same password with newer parameters, unless the password has changed
/// meanwhile.
pub(crate) async fn update_hash(client: &impl GenericClient, user: &User, new: &str) -> Result<(), Error> {
    let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
    client
        .execute(sql, &[&user.id, &user.password_hash, &new])
        .await?;
    Ok(())
}
