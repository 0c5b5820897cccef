//! Statements on a data centre's tables, by the names that these have there.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::tokio_postgres::types::ToSql;
use identity_core::db::{Database, Error, GenericClient, lock, tokio_postgres};
use jiff::Timestamp;

use super::issue::warn_of_unknown;
use super::model::Network;
use crate::databases::{Accounts, Privileges};

/// An account as it is written.
pub(super) struct Account {
    pub login: String,
    pub digest: String,
    pub email: String,
    /// Its end until all is written.
    pub pending_until: Timestamp,
    /// Its own end.
    pub expires_at: Timestamp,
}

/// Networks as the columns of arrays, for one statement.
pub(super) struct Columns {
    pub ids: Vec<i64>,
    codes: Vec<String>,
    starts: Vec<i32>,
    ends: Vec<i32>,
}

/// Of what a transaction locks a login. Where both databases are the same one, two locks of one name would wait
/// for each other for ever: their transactions are of one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Half {
    Account,
    Privileges,
}

/// Waits until no other transaction works on this half of `login`, also one whose end was never heard of.
pub(super) async fn lock_login(
    transaction: &impl GenericClient,
    half: Half,
    login: &str,
) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock($1)";
    let purpose = match half {
        Half::Account => "eida-auth login",
        Half::Privileges => "eida-auth privileges of login",
    };
    execute(transaction, sql, &[&lock::key(purpose, login)]).await?;
    Ok(())
}

/// The networks that memberships lead to.
pub(super) async fn mapped(
    client: &impl GenericClient,
    accounts: &Accounts,
    memberships: &[String],
) -> Result<Vec<Network>, Error> {
    let sql = format!(
        "SELECT DISTINCT network::text, start_year::integer, end_year::integer FROM {} WHERE epos_name::text = ANY($1)",
        accounts.mapping
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&memberships]).await?;
    let network = |row: &Row| {
        Ok(Network {
            code: row.try_get(0)?,
            start_year: row.try_get(1)?,
            end_year: row.try_get(2)?,
        })
    };
    rows.iter().map(network).collect()
}

/// Those of `mapped` that the inventory knows, with their ids there.
pub(super) async fn known(
    client: &impl GenericClient,
    tables: &Privileges,
    mapped: Vec<Network>,
) -> Result<Columns, Error> {
    let codes: Vec<&str> = mapped.iter().map(|network| network.code.as_str()).collect();
    let starts: Vec<i32> = mapped.iter().map(|network| network.start_year).collect();
    let ends: Vec<i32> = mapped.iter().map(|network| network.end_year).collect();
    let sql = format!(
        "SELECT min(inventory.network_id)::bigint, asked.code, asked.first, asked.last
         FROM unnest($1::text[], $2::integer[], $3::integer[]) AS asked (code, first, last)
         JOIN {} inventory ON inventory.network::text = asked.code AND inventory.start_year = asked.first
             AND inventory.end_year = asked.last
         GROUP BY asked.code, asked.first, asked.last",
        tables.networks
    );
    let mut found = Columns {
        ids: Vec::new(),
        codes: Vec::new(),
        starts: Vec::new(),
        ends: Vec::new(),
    };
    let mut unknown = mapped.clone();
    let statement = client.prepare_cached(&sql).await?;
    for row in client.query(&statement, &[&codes, &starts, &ends]).await? {
        let network = Network {
            code: row.try_get(1)?,
            start_year: row.try_get(2)?,
            end_year: row.try_get(3)?,
        };
        unknown.retain(|other| *other != network);
        found.ids.push(row.try_get(0)?);
        found.codes.push(network.code);
        found.starts.push(network.start_year);
        found.ends.push(network.end_year);
    }
    warn_of_unknown(&unknown);
    Ok(found)
}

/// Whether the account is there already, which nobody changes then until the transaction ends.
pub(super) async fn is_there(
    auth: &impl GenericClient,
    accounts: &Accounts,
    login: &str,
) -> Result<bool, Error> {
    let sql = format!("SELECT FROM {} WHERE login = $1 FOR UPDATE", accounts.users);
    let statement = auth.prepare_cached(&sql).await?;
    Ok(auth.query_opt(&statement, &[&login]).await?.is_some())
}

/// Writes the account with an end that is near, and its credentials.
pub(super) async fn insert_account(
    auth: &impl GenericClient,
    accounts: &Accounts,
    account: &Account,
) -> Result<(), Error> {
    let Accounts {
        users,
        names: [first, last, email],
        credentials,
        credential_columns: [index, password, digest],
        ..
    } = accounts;
    let sql = format!(
        "WITH account AS (
             INSERT INTO {users} (login, {first}, {last}, {email}, expires_at)
             VALUES ($1::text, 'Temp', 'EIDA', $2::text, $3::timestamptz) RETURNING user_index
         )
         INSERT INTO {credentials} ({index}, {password}, {digest}) SELECT user_index, NULL, $4::text FROM account"
    );
    let parameters: [&(dyn ToSql + Sync); 4] = [
        &account.login,
        &account.email,
        &account.pending_until,
        &account.digest,
    ];
    execute(auth, &sql, &parameters).await?;
    Ok(())
}

/// Writes what the account may see.
pub(super) async fn insert_privileges(
    transaction: &impl GenericClient,
    tables: &Privileges,
    account: &Account,
    known: &Columns,
) -> Result<(), Error> {
    let Privileges {
        privileges, login, ..
    } = tables;
    // What a login had before is what it has now: its memberships may lead elsewhere.
    let sql = format!("DELETE FROM {privileges} WHERE {login} = $1");
    execute(transaction, &sql, &[&account.login]).await?;
    let (column, value) = if tables.expires {
        (", expires_at", ", $6::timestamptz")
    } else {
        ("", "")
    };
    let sql = format!(
        "INSERT INTO {privileges} (network_id, network, start_year, end_year, {login}{column})
         SELECT id, code, first, last, $5::text{value}
         FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::integer[]) AS known (id, code, first, last)"
    );
    let Columns {
        ids,
        codes,
        starts,
        ends,
    } = known;
    let all: [&(dyn ToSql + Sync); 6] = [ids, codes, starts, ends, &account.login, &account.expires_at];
    let given = if tables.expires {
        &all[..]
    } else {
        all.get(..5).unwrap_or_default()
    };
    execute(transaction, &sql, given).await?;
    Ok(())
}

/// Gives a temporary account its own end; whether it is still there.
pub(super) async fn set_own_end(
    client: &impl GenericClient,
    accounts: &Accounts,
    account: &Account,
) -> Result<bool, tokio_postgres::Error> {
    let sql = format!(
        "UPDATE {} SET expires_at = $2::timestamptz WHERE login = $1 AND expires_at IS NOT NULL",
        accounts.users
    );
    Ok(execute(client, &sql, &[&account.login, &account.expires_at]).await? == 1)
}

/// Brings the account's end near again.
pub(super) async fn end_soon(
    database: &Database,
    accounts: &Accounts,
    account: &Account,
) -> Result<(), Error> {
    let client = database.client().await?;
    let sql = format!(
        "UPDATE {} SET expires_at = $2::timestamptz WHERE login = $1 AND expires_at > $2::timestamptz",
        accounts.users
    );
    execute(&client, &sql, &[&account.login, &account.pending_until]).await?;
    Ok(())
}

/// Ends what `login` may see.
pub(crate) async fn end_privileges(
    database: &Database,
    tables: &Privileges,
    login: &str,
) -> Result<(), Error> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    lock_login(&transaction, Half::Privileges, login).await?;
    let sql = format!("DELETE FROM {} WHERE {} = $1", tables.privileges, tables.login);
    execute(&transaction, &sql, &[&login]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Ends the temporary account `login`.
pub(crate) async fn end_account(database: &Database, accounts: &Accounts, login: &str) -> Result<(), Error> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    lock_login(&transaction, Half::Account, login).await?;
    let Accounts {
        users,
        credentials,
        credential_columns: [account, ..],
        ..
    } = accounts;
    let sql = format!(
        "DELETE FROM {credentials} USING {users} account
         WHERE {credentials}.{account} = account.user_index AND account.login = $1 AND account.expires_at IS NOT NULL"
    );
    execute(&transaction, &sql, &[&login]).await?;
    let sql = format!("DELETE FROM {users} WHERE login = $1 AND expires_at IS NOT NULL");
    execute(&transaction, &sql, &[&login]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Executes a statement that is prepared once for each connection.
async fn execute(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<u64, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, values).await
}
