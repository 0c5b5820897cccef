//! Which logins were given for which token, and which tokens are blocked: in our own database, or,
//! where there is none, in the memory of the instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use identity_core::db::{Database, Error};
use jiff::Timestamp;

use super::issue::Issued;
use crate::tokens::TokenId;

/// How many tokens are remembered before what has expired is forgotten.
const MANY: usize = 10_000;

/// What was given. Clones share it.
#[derive(Debug, Clone)]
pub enum Ledger {
    /// In our own database, for all instances.
    Kept(Database),
    /// In memory, for this instance: the limit holds here, and no token can be blocked.
    Memory(Arc<Mutex<Remembered>>),
}

type Remembered = HashMap<TokenId, Vec<(String, Timestamp)>>;

const RESERVE: &str = "
    WITH blocked AS MATERIALIZED (
        SELECT FROM blocked_tokens WHERE token_digest = $1
    ), place AS MATERIALIZED (
        SELECT CASE WHEN $5::boolean THEN -1 ELSE (
            SELECT min(free) FROM (
                SELECT 0 AS free UNION ALL
                SELECT place + 1 FROM issued_logins WHERE token_digest = $1 AND place >= 0 AND expires_at > $4
            ) AS candidates
            WHERE free < $6::integer AND NOT EXISTS (
                SELECT FROM issued_logins taken
                WHERE taken.token_digest = $1 AND taken.place = free AND taken.expires_at > $4
            )
        ) END AS free
    ), issued AS (
        INSERT INTO issued_logins (token_digest, place, login, expires_at)
        SELECT $1::bytea, free, $2::text, $3::timestamptz FROM place
        WHERE free IS NOT NULL AND NOT EXISTS (SELECT FROM blocked)
        ON CONFLICT (token_digest, place) DO UPDATE SET login = excluded.login, expires_at = excluded.expires_at
            WHERE issued_logins.place < 0 OR issued_logins.expires_at <= $4::timestamptz
        RETURNING login
    )
    SELECT EXISTS (SELECT FROM issued), EXISTS (SELECT FROM blocked), (SELECT free IS NULL FROM place)";

/// What is reserved.
pub(super) struct Asked<'a> {
    pub token: TokenId,
    pub login: &'a str,
    pub expires_at: Timestamp,
    pub now: Timestamp,
    /// Whether the token always has this login, so that no limit holds.
    pub derived: bool,
    pub most: i32,
}

impl Ledger {
    /// In `own`, or in memory.
    #[must_use]
    pub fn new(own: Option<&Database>) -> Self {
        own.map_or_else(|| Self::Memory(Arc::default()), |own| Self::Kept(own.clone()))
    }

    /// Takes a place among a token's logins before it is written anywhere else.
    pub(super) async fn reserve(&self, asked: &Asked<'_>) -> Result<Issued, Error> {
        let database = match self {
            Self::Kept(database) => database,
            Self::Memory(remembered) => return Ok(remember(remembered, asked)),
        };
        let client = database.client().await?;
        let statement = client.prepare_cached(RESERVE).await?;
        let Asked {
            token,
            login,
            expires_at,
            now,
            derived,
            most,
        } = asked;
        let row = client
            .query_one(
                &statement,
                &[&&token.0[..], login, expires_at, now, derived, most],
            )
            .await?;
        let (written, blocked, full) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(match (written, blocked, full) {
            (true, ..) => Issued::Yes,
            (_, true, _) => Issued::Blocked,
            (_, _, true) => Issued::TooMany,
            _ => Issued::Taken,
        })
    }

    /// Gives a place back.
    pub(super) async fn release(&self, token: TokenId, login: &str) -> Result<(), Error> {
        match self {
            Self::Kept(database) => {
                let client = database.client().await?;
                let sql = "DELETE FROM issued_logins WHERE token_digest = $1 AND login = $2";
                client.execute(sql, &[&&token.0[..], &login]).await?;
            }
            Self::Memory(remembered) => {
                let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(logins) = remembered.get_mut(&token) {
                    logins.retain(|(given, _)| given != login);
                }
            }
        }
        Ok(())
    }

    /// Whether a token was blocked.
    pub(super) async fn is_blocked(&self, token: TokenId) -> Result<bool, Error> {
        let Self::Kept(database) = self else {
            return Ok(false);
        };
        let client = database.client().await?;
        let sql = "SELECT FROM blocked_tokens WHERE token_digest = $1";
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query_opt(&statement, &[&&token.0[..]]).await?.is_some())
    }

    /// Forgets logins that have expired.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn forget_expired(&self, now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Kept(database) => {
                let client = database.client().await?;
                let sql = "DELETE FROM issued_logins WHERE (token_digest, place) IN (
                               SELECT token_digest, place FROM issued_logins WHERE expires_at <= $1
                               LIMIT 1000 FOR UPDATE SKIP LOCKED
                           )";
                while client.execute(sql, &[&now]).await? > 0 {}
            }
            Self::Memory(remembered) => forget(
                &mut remembered.lock().unwrap_or_else(PoisonError::into_inner),
                now,
            ),
        }
        Ok(())
    }
}

fn remember(remembered: &Mutex<Remembered>, asked: &Asked<'_>) -> Issued {
    let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
    if remembered.len() > MANY {
        forget(&mut remembered, asked.now);
    }
    let logins = remembered.entry(asked.token).or_default();
    logins.retain(|(login, expires_at)| *expires_at > asked.now && login != asked.login);
    if !asked.derived && logins.len() >= usize::try_from(asked.most).unwrap_or(usize::MAX) {
        return Issued::TooMany;
    }
    logins.push((asked.login.to_owned(), asked.expires_at));
    Issued::Yes
}

fn forget(remembered: &mut Remembered, now: Timestamp) {
    remembered.retain(|_, logins| {
        logins.retain(|(_, expires_at)| *expires_at > now);
        !logins.is_empty()
    });
}
