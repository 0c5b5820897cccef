//! Everything in our own database: a login is written by one statement, whole or not at all.

use identity_core::db::Error;
use jiff::Timestamp;

use super::issue::{Issued, Writer, warn_of_unknown};
use super::model::{Login, Network};
use crate::tokens::Token;

/// What is written depends on what was written before it, so that rows are locked in the same order by
/// everybody: the place, the account, its privileges.
const WRITE: &str = "
    WITH mapped AS MATERIALIZED (
        SELECT DISTINCT network, start_year, end_year, known.network_id
        FROM epos_fdsn LEFT JOIN networks known USING (network, start_year, end_year)
        WHERE epos_name = ANY($2::text[])
    ), blocked AS MATERIALIZED (
        SELECT FROM blocked_tokens WHERE token_digest = $1
    ), place AS MATERIALIZED (
        SELECT CASE WHEN $7::boolean THEN -1 ELSE (
            SELECT min(free) FROM (
                SELECT 0 AS free UNION ALL
                SELECT place + 1 FROM issued_logins WHERE token_digest = $1 AND place >= 0 AND expires_at > $6
            ) AS candidates
            WHERE free < $8::integer AND NOT EXISTS (
                SELECT FROM issued_logins taken
                WHERE taken.token_digest = $1 AND taken.place = free AND taken.expires_at > $6
            )
        ) END AS free
    ), issued AS (
        INSERT INTO issued_logins (token_digest, place, login, expires_at)
        SELECT $1::bytea, free, $3::text, $5::timestamptz FROM place
        WHERE free IS NOT NULL AND NOT EXISTS (SELECT FROM blocked)
            AND EXISTS (SELECT FROM mapped WHERE network_id IS NOT NULL)
        ON CONFLICT (token_digest, place) DO UPDATE SET login = excluded.login, expires_at = excluded.expires_at
            WHERE issued_logins.place < 0 OR issued_logins.expires_at <= $6::timestamptz
        RETURNING login
    ), account AS (
        INSERT INTO users (login, first_name, last_name, email, expires_at)
        SELECT login, 'Temp', 'EIDA', $9::text, $5 FROM issued
        ON CONFLICT (login) DO UPDATE SET expires_at = greatest(users.expires_at, excluded.expires_at)
            WHERE users.expires_at IS NOT NULL
        RETURNING user_index
    ), credential AS (
        INSERT INTO credentials (user_index, digest) SELECT user_index, $4::text FROM account
        ON CONFLICT (user_index) DO UPDATE SET digest = excluded.digest
    ), privileges AS (
        INSERT INTO eida_temp_users (network_id, network, start_year, end_year, name, expires_at)
        SELECT network_id, network, start_year, end_year, $3, $5 FROM mapped, account WHERE network_id IS NOT NULL
        ON CONFLICT (name, network, start_year, end_year)
            DO UPDATE SET network_id = excluded.network_id, expires_at = excluded.expires_at
    )
    SELECT EXISTS (SELECT FROM account), EXISTS (SELECT FROM blocked),
        EXISTS (SELECT FROM mapped WHERE network_id IS NOT NULL), (SELECT free IS NULL FROM place),
        ARRAY(SELECT network FROM mapped WHERE network_id IS NULL ORDER BY network, start_year, end_year),
        ARRAY(SELECT start_year FROM mapped WHERE network_id IS NULL ORDER BY network, start_year, end_year),
        ARRAY(SELECT end_year FROM mapped WHERE network_id IS NULL ORDER BY network, start_year, end_year)";

/// Writes `login` for `token`.
pub(super) async fn write(
    writer: &Writer,
    token: &Token,
    login: &Login,
    now: Timestamp,
) -> Result<Issued, Error> {
    let client = writer.databases.auth.client().await?;
    let memberships: Vec<&str> = token.content.memberships.iter().map(String::as_str).collect();
    let statement = client.prepare_cached(WRITE).await?;
    let row = client
        .query_one(
            &statement,
            &[
                &&token.id.0[..],
                &memberships,
                &login.login,
                &login.digest(),
                &login.expires_at,
                &now,
                &writer.maker.derives(),
                &writer.max_per_token,
                &login.email(),
            ],
        )
        .await?;
    let (written, blocked, mapped, full) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let codes: Vec<String> = row.try_get(4)?;
    let (starts, ends): (Vec<i32>, Vec<i32>) = (row.try_get(5)?, row.try_get(6)?);
    let years = starts.into_iter().zip(ends);
    let unknown: Vec<_> = codes
        .into_iter()
        .zip(years)
        .map(|(code, (start_year, end_year))| Network {
            code,
            start_year,
            end_year,
        })
        .collect();
    warn_of_unknown(&unknown);
    Ok(match (written, blocked, mapped, full) {
        (true, ..) => Issued::Yes,
        (_, true, ..) => Issued::Blocked,
        (_, _, false, _) => Issued::NotMapped,
        (_, _, _, true) => Issued::TooMany,
        _ => Issued::Taken,
    })
}
