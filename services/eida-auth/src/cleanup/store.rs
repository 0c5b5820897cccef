//! Expired accounts in the two databases. In the caller's transaction, where one is meant.

use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use crate::databases::{Accounts, Privileges};

/// An account that has expired.
pub struct Expired {
    pub index: i64,
    pub login: String,
}

/// Takes the lock of all who clean up, until the transaction ends; whether it was taken.
pub async fn take_turn(client: &impl GenericClient, key: i64, wait: bool) -> Result<bool, Error> {
    if wait {
        client
            .execute("SELECT pg_advisory_xact_lock($1)", &[&key])
            .await?;
        return Ok(true);
    }
    let row = client
        .query_one("SELECT pg_try_advisory_xact_lock($1)", &[&key])
        .await?;
    Ok(row.try_get(0)?)
}

/// At most `limit` temporary accounts that have expired and that nobody else works on, which then wait.
pub async fn expired(
    client: &impl GenericClient,
    accounts: &Accounts,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Expired>, Error> {
    let sql = format!(
        "SELECT user_index::bigint, login::text FROM {}
         WHERE expires_at IS NOT NULL AND expires_at <= $1::timestamptz
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED",
        accounts.users
    );
    let mut expired = Vec::new();
    for row in client.query(&sql, &[&now, &limit]).await? {
        expired.push(Expired {
            index: row.try_get(0)?,
            login: row.try_get(1)?,
        });
    }
    Ok(expired)
}

/// Ends what `logins` may see.
pub async fn delete_privileges(
    client: &impl GenericClient,
    tables: &Privileges,
    logins: &[&str],
) -> Result<(), Error> {
    let sql = format!(
        "DELETE FROM {} WHERE {}::text = ANY($1)",
        tables.privileges, tables.login
    );
    client.execute(&sql, &[&logins]).await?;
    Ok(())
}

/// Removes accounts and their credentials and gives their number.
pub async fn delete_accounts(
    client: &impl GenericClient,
    accounts: &Accounts,
    indexes: &[i64],
) -> Result<u64, Error> {
    let Accounts {
        users,
        credentials,
        credential_columns: [account, ..],
        ..
    } = accounts;
    let sql = format!("DELETE FROM {credentials} WHERE {account} = ANY($1::bigint[])");
    client.execute(&sql, &[&indexes]).await?;
    let sql = format!("DELETE FROM {users} WHERE user_index = ANY($1::bigint[]) AND expires_at IS NOT NULL");
    Ok(client.execute(&sql, &[&indexes]).await?)
}
