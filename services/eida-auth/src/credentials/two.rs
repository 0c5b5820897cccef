//! A data centre's databases: the account in one, its privileges in the other, and no transaction over
//! both.
//!
//! Both transactions are prepared in full before either commits. The account is committed first, with an
//! end that is near, then the privileges, and last the account gets its own end. Whatever fails is
//! undone; what a crash leaves is an account that ends soon, which the next cleanup removes with all it
//! has. There are never privileges without an account, nor an answer without both.

use std::time::Duration;

use identity_core::db::tokio_postgres::Row;
use identity_core::db::tokio_postgres::types::ToSql;
use identity_core::db::{Database, Error, GenericClient, lock, tokio_postgres};
use jiff::Timestamp;

use super::issue::{Issued, Writer, warn_of_unknown};
use super::ledger::Asked;
use super::model::{Login, Network};
use crate::databases::{Accounts, Privileges};
use crate::tokens::{Token, TokenId};

/// How long an account lives whose privileges are not known to be committed; longer than a request.
const PENDING: Duration = Duration::from_mins(2);

/// How often it is tried to take back what was committed, and the pause between.
const MOST_TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Networks as the columns of arrays, for one statement.
struct Columns {
    ids: Vec<i64>,
    codes: Vec<String>,
    starts: Vec<i32>,
    ends: Vec<i32>,
}

/// Writes `login` for `token`.
///
/// A task of its own does it: a client that goes away must not leave it half-done.
pub(super) async fn write(
    writer: &Writer,
    token: &Token,
    login: &Login,
    now: Timestamp,
) -> Result<Issued, Error> {
    let asked = Asked {
        token: token.id,
        login: &login.login,
        expires_at: login.expires_at,
        now,
        derived: writer.maker.derives(),
        most: writer.max_per_token,
    };
    let reserved = writer.ledger.reserve(&asked).await?;
    if reserved != Issued::Yes {
        return Ok(reserved);
    }
    let work = Work {
        writer: writer.clone(),
        token: token.id,
        memberships: token.content.memberships.iter().cloned().collect(),
        login: login.login.clone(),
        digest: login.digest(),
        email: login.email(),
        pending_until: login.pending_until(now, PENDING),
        expires_at: login.expires_at,
    };
    let done = tokio::spawn(async move { work.do_or_undo().await }).await;
    done.map_err(|error| Error::unavailable(format!("writing a login was broken off: {error}")))?
}

struct Work {
    writer: Writer,
    token: TokenId,
    memberships: Vec<String>,
    login: String,
    digest: String,
    email: String,
    pending_until: Timestamp,
    expires_at: Timestamp,
}

/// How far the writing came.
enum Reached {
    /// Nothing is committed.
    Nothing(Issued),
    /// All is, of an account that was there before or is new.
    All { is_new: bool },
}

/// Why it came no further, and whether something new may be committed.
struct Broken {
    error: Error,
    may_be_there: bool,
}

impl Work {
    async fn do_or_undo(self) -> Result<Issued, Error> {
        match self.commit_both().await {
            Ok(Reached::Nothing(issued)) => {
                self.release().await;
                Ok(issued)
            }
            Ok(Reached::All { is_new }) => match self.writer.ledger.is_blocked(self.token).await {
                Ok(false) => Ok(Issued::Yes),
                // It was blocked while this was written.
                Ok(true) => {
                    self.undo().await;
                    Ok(Issued::Blocked)
                }
                Err(error) => {
                    if is_new {
                        self.undo().await;
                    }
                    Err(error)
                }
            },
            Err(Broken { error, may_be_there }) => {
                if may_be_there {
                    self.undo().await;
                } else {
                    self.release().await;
                }
                Err(error)
            }
        }
    }

    async fn commit_both(&self) -> Result<Reached, Broken> {
        let nothing_yet = |error: Error| Broken {
            error,
            may_be_there: false,
        };
        let Writer { databases, maker, .. } = &self.writer;
        let (accounts, tables) = (&databases.accounts, &databases.networks);
        let mut auth_client = databases.auth.client().await.map_err(nothing_yet)?;
        let auth = auth_client
            .transaction()
            .await
            .map_err(|error| nothing_yet(error.into()))?;
        let mapped = mapped(&auth, accounts, &self.memberships)
            .await
            .map_err(nothing_yet)?;
        if mapped.is_empty() {
            return Ok(Reached::Nothing(Issued::NotMapped));
        }
        lock_login(&auth, Half::Account, &self.login)
            .await
            .map_err(nothing_yet)?;
        let mut privilege_client = databases.privileges.client().await.map_err(nothing_yet)?;
        let privileges = privilege_client
            .transaction()
            .await
            .map_err(|error| nothing_yet(error.into()))?;
        lock_login(&privileges, Half::Privileges, &self.login)
            .await
            .map_err(nothing_yet)?;
        let known = known(&privileges, tables, mapped).await.map_err(nothing_yet)?;
        if known.ids.is_empty() {
            return Ok(Reached::Nothing(Issued::NotMapped));
        }
        let is_new = !(maker.derives()
            && is_there(&auth, accounts, &self.login)
                .await
                .map_err(nothing_yet)?);
        if is_new {
            self.insert_account(&auth, accounts).await.map_err(nothing_yet)?;
        }
        self.insert_privileges(&privileges, tables, &known)
            .await
            .map_err(nothing_yet)?;
        // From here on it may be there, also when the answer says that it is not.
        let perhaps = |error: tokio_postgres::Error| Broken {
            error: error.into(),
            may_be_there: is_new,
        };
        auth.commit().await.map_err(perhaps)?;
        privileges.commit().await.map_err(perhaps)?;
        let sql = format!(
            "UPDATE {} SET expires_at = $2::timestamptz WHERE login = $1 AND expires_at IS NOT NULL",
            accounts.users
        );
        let ended = execute(&auth_client, &sql, &[&self.login, &self.expires_at]).await;
        if ended.map_err(perhaps)? != 1 {
            return Err(Broken {
                error: Error::unavailable("the account was gone before all was written"),
                may_be_there: is_new,
            });
        }
        Ok(Reached::All { is_new })
    }

    async fn insert_account(&self, auth: &impl GenericClient, accounts: &Accounts) -> Result<(), Error> {
        let Accounts {
            users,
            names: [first, last, email],
            credentials,
            credential_columns: [account, password, digest],
            ..
        } = accounts;
        let sql = format!(
            "WITH account AS (
                 INSERT INTO {users} (login, {first}, {last}, {email}, expires_at)
                 VALUES ($1::text, 'Temp', 'EIDA', $2::text, $3::timestamptz) RETURNING user_index
             )
             INSERT INTO {credentials} ({account}, {password}, {digest}) SELECT user_index, NULL, $4::text FROM account"
        );
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.login, &self.email, &self.pending_until, &self.digest];
        execute(auth, &sql, &parameters).await?;
        Ok(())
    }

    async fn insert_privileges(
        &self,
        transaction: &impl GenericClient,
        tables: &Privileges,
        known: &Columns,
    ) -> Result<(), Error> {
        let Privileges {
            privileges, login, ..
        } = tables;
        // What a login had before is what it has now: its memberships may lead elsewhere.
        let sql = format!("DELETE FROM {privileges} WHERE {login} = $1");
        execute(transaction, &sql, &[&self.login]).await?;
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
        let all: [&(dyn ToSql + Sync); 6] = [ids, codes, starts, ends, &self.login, &self.expires_at];
        let given = if tables.expires {
            &all[..]
        } else {
            all.get(..5).unwrap_or_default()
        };
        execute(transaction, &sql, given).await?;
        Ok(())
    }

    /// Takes back what may be committed. What cannot be reached now, the next cleanup takes.
    async fn undo(&self) {
        let mut tries = 1;
        loop {
            match self.take_back().await {
                Ok(()) => return self.release().await,
                // The pool may still hold the connection that was lost with the commit.
                Err(_) if tries < MOST_TRIES => tokio::time::sleep(BETWEEN_TRIES).await,
                Err(error) => {
                    tracing::warn!(%error, "a login that was not given is left to the next cleanup");
                    return;
                }
            }
            tries += 1;
        }
    }

    async fn take_back(&self) -> Result<(), Error> {
        let Writer { databases, .. } = &self.writer;
        // Before anything is taken: an account whose own end may be set already would stay until then, without its
        // privileges, were the databases out of reach for the rest. As it is, it stays whole or not for long.
        self.end_soon().await?;
        // First the privileges, as everywhere: they must not outlive their account.
        end_privileges(&databases.privileges, &databases.networks, &self.login).await?;
        end_account(&databases.auth, &databases.accounts, &self.login).await
    }

    /// Brings the account's end near again.
    async fn end_soon(&self) -> Result<(), Error> {
        let Writer { databases, .. } = &self.writer;
        let client = databases.auth.client().await?;
        let sql = format!(
            "UPDATE {} SET expires_at = $2::timestamptz WHERE login = $1 AND expires_at > $2::timestamptz",
            databases.accounts.users
        );
        execute(&client, &sql, &[&self.login, &self.pending_until]).await?;
        Ok(())
    }

    async fn release(&self) {
        if let Err(error) = self.writer.ledger.release(self.token, &self.login).await {
            tracing::warn!(%error, "a place among a token's logins stays taken until it expires");
        }
    }
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

/// Of what a transaction locks a login. Where both databases are the same one, two locks of one name would wait
/// for each other for ever: their transactions are of one request.
#[derive(Debug, Clone, Copy)]
enum Half {
    Account,
    Privileges,
}

/// Waits until no other transaction works on this half of `login`, also one whose end was never heard of.
async fn lock_login(transaction: &impl GenericClient, half: Half, login: &str) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock($1)";
    let purpose = match half {
        Half::Account => "eida-auth login",
        Half::Privileges => "eida-auth privileges of login",
    };
    execute(transaction, sql, &[&lock::key(purpose, login)]).await?;
    Ok(())
}

/// The networks that memberships lead to.
async fn mapped(
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
async fn known(
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

async fn is_there(auth: &impl GenericClient, accounts: &Accounts, login: &str) -> Result<bool, Error> {
    let sql = format!("SELECT FROM {} WHERE login = $1 FOR UPDATE", accounts.users);
    let statement = auth.prepare_cached(&sql).await?;
    Ok(auth.query_opt(&statement, &[&login]).await?.is_some())
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
