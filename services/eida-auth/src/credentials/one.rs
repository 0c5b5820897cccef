//! Everything in our own database: logins are written by one statement, each whole or not at all.
//!
//! Those that are asked for at the same time share it, and with it a transaction and its commit. Where it
//! fails, each is written by itself: none fails by another's fault.

use identity_core::crypto::random;
use identity_core::db::tokio_postgres::{self, Row};
use identity_core::db::{Client, Error, ErrorKind, Reader, Together, Work};
use jiff::Timestamp;

use super::issue::{Issued, Writer, warn_of_unknown};
use super::model::{Login, Network};
use crate::tokens::{Token, TokenId};

/// How long a shared statement waits for a row that another transaction holds, before each login of it waits by
/// itself: usually as long as a commit takes.
const PATIENCE: &str = "500ms";

/// Rows are locked in the same order by everybody: places by their tokens and numbers, then accounts, and what
/// belongs to an account after it. The logins of a token in one statement take its free places one after the other,
/// from the first or, where others were faster, from any on: so many free places are below a taken one as its number
/// is larger than the number of taken ones before it. A derived login is written once, however many ask.
const WRITE: &str = "
    WITH asked AS MATERIALIZED (
        SELECT number, token, login, digest, email, expires_at,
            row_number() OVER (PARTITION BY token ORDER BY number) - 1 AS before
        FROM (SELECT set_config('lock_timeout', $11::text, true)) AS patience,
            unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
                WITH ORDINALITY AS given (token, login, digest, email, expires_at, number)
    ), mapped AS MATERIALIZED (
        SELECT DISTINCT number, network, start_year, end_year, known.network_id
        FROM unnest($6::bigint[], $7::text[]) AS memberships (number, epos_name)
            JOIN epos_fdsn USING (epos_name)
            LEFT JOIN networks known USING (network, start_year, end_year)
    ), blocked AS MATERIALIZED (
        SELECT token_digest FROM blocked_tokens WHERE token_digest = ANY($1)
    ), placed AS MATERIALIZED (
        SELECT DISTINCT ON (token, place) * FROM (
            SELECT asked.*, CASE WHEN $9::boolean THEN -1 ELSE nth + (
                SELECT count(*) FROM (
                    SELECT place - row_number() OVER (ORDER BY place) + 1 AS free_below
                    FROM issued_logins WHERE token_digest = token AND place >= 0 AND expires_at > $8::timestamptz
                ) AS taken WHERE free_below <= nth
            ) END AS place
            FROM asked, LATERAL (
                SELECT $10::integer - count(*) AS free FROM issued_logins
                WHERE token_digest = token AND place >= 0 AND place < $10 AND expires_at > $8
            ) AS places, LATERAL (
                SELECT CASE WHEN before < free THEN (before + $12::bigint) % free ELSE before END AS nth
            ) AS chosen
        ) AS candidates
        WHERE token NOT IN (SELECT token_digest FROM blocked)
            AND number IN (SELECT number FROM mapped WHERE network_id IS NOT NULL)
        ORDER BY token, place, expires_at DESC
    ), issued AS (
        INSERT INTO issued_logins (token_digest, place, login, expires_at)
        SELECT token, place, login, expires_at FROM placed WHERE place < $10 ORDER BY token, place
        ON CONFLICT (token_digest, place) DO UPDATE SET login = excluded.login, expires_at = excluded.expires_at
            WHERE issued_logins.place < 0 OR issued_logins.expires_at <= $8
        RETURNING login
    ), account AS (
        INSERT INTO users (login, first_name, last_name, email, expires_at)
        SELECT login, 'Temp', 'EIDA', email, expires_at FROM issued JOIN placed USING (login)
        ON CONFLICT (login) DO UPDATE SET expires_at = greatest(users.expires_at, excluded.expires_at)
            WHERE users.expires_at IS NOT NULL
        RETURNING user_index, login
    ), credential AS (
        INSERT INTO credentials (user_index, digest)
        SELECT user_index, digest FROM account JOIN placed USING (login)
        ON CONFLICT (user_index) DO UPDATE SET digest = excluded.digest
    ), privileges AS (
        INSERT INTO eida_temp_users (network_id, network, start_year, end_year, name, expires_at)
        SELECT network_id, network, start_year, end_year, login, expires_at
        FROM account JOIN placed USING (login) JOIN mapped USING (number) WHERE network_id IS NOT NULL
        ON CONFLICT (name, network, start_year, end_year)
            DO UPDATE SET network_id = excluded.network_id, expires_at = excluded.expires_at
    )
    SELECT login IN (SELECT login FROM account), token IN (SELECT token_digest FROM blocked),
        coalesce(known > 0, false), number IN (SELECT number FROM placed WHERE place >= $10),
        codes, start_years, end_years
    FROM asked LEFT JOIN (
        SELECT number, count(network_id) AS known,
            array_agg(network ORDER BY network, start_year, end_year) FILTER (WHERE network_id IS NULL) AS codes,
            array_agg(start_year ORDER BY network, start_year, end_year) FILTER (WHERE network_id IS NULL)
                AS start_years,
            array_agg(end_year ORDER BY network, start_year, end_year) FILTER (WHERE network_id IS NULL) AS end_years
        FROM mapped GROUP BY number
    ) AS reached USING (number)
    ORDER BY number";

/// Writes the logins of a worker's requests together.
pub struct Logins {
    writer: Writer,
    reader: Reader,
}

/// A login that is asked for.
pub struct Asked {
    token: TokenId,
    memberships: Vec<String>,
    login: String,
    digest: String,
    email: String,
    expires_at: Timestamp,
    /// How often others have taken the place that it was to have.
    tries: usize,
}

/// What came of it.
pub struct Written {
    issued: Issued,
    /// Mapped networks that the inventory does not know.
    unknown: Vec<Network>,
}

/// Writes `login` for `token`, together with those that are asked for at the same time.
pub(super) async fn write(
    writer: &Writer,
    together: &Together<Logins>,
    token: &Token,
    login: &Login,
    tries: usize,
) -> Result<Issued, Error> {
    let asked = || Asked {
        token: token.id,
        memberships: token.content.memberships.iter().cloned().collect(),
        login: login.login.clone(),
        digest: login.digest(),
        email: login.email(),
        expires_at: login.expires_at,
        tries,
    };
    let Written { issued, unknown } = match together.ask(asked()).await? {
        Some(written) => written,
        None => alone(writer, &asked()).await?,
    };
    warn_of_unknown(&unknown);
    Ok(issued)
}

impl Logins {
    /// Logins as `writer` says, over a connection of the worker's own.
    #[must_use]
    pub fn of_worker(writer: &Writer) -> Self {
        Self {
            reader: writer.databases.auth.reader(),
            writer: writer.clone(),
        }
    }
}

impl Work for Logins {
    type Asked = Asked;
    /// None where each is to be written by itself.
    type Answer = Option<Written>;

    async fn do_all(&self, asked: Vec<Asked>) -> Vec<Result<Option<Written>, Error>> {
        let write = async {
            let client = self.reader.client().await?;
            Ok(write_all(&client, &self.writer, &asked, Some(PATIENCE)).await?)
        };
        match self.reader.while_reachable(write).await {
            Ok(rows) => rows.iter().map(|row| written(row).map(Some)).collect(),
            // Nobody knows whether they are written, or the database has too much to do already.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                asked.iter().map(|_| Err(error.clone())).collect()
            }
            Err(error) => {
                tracing::warn!(%error, logins = asked.len(), "logins could not be written together; each by itself");
                asked.iter().map(|_| Ok(None)).collect()
            }
        }
    }
}

/// Writes a login by itself, waiting for whoever is in its way.
async fn alone(writer: &Writer, asked: &Asked) -> Result<Written, Error> {
    let client = writer.databases.auth.client().await?;
    let rows = write_all(&client, writer, std::slice::from_ref(asked), None).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::corrupt("nothing came of writing a login"))?;
    written(row)
}

/// Executes the statement, which has a row for each of `asked` in the same order. Whatever fails, nothing is written.
async fn write_all(
    client: &Client,
    writer: &Writer,
    asked: &[Asked],
    patience: Option<&str>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let tokens: Vec<&[u8]> = asked.iter().map(|it| &it.token.0[..]).collect();
    let logins: Vec<&str> = asked.iter().map(|it| it.login.as_str()).collect();
    let digests: Vec<&str> = asked.iter().map(|it| it.digest.as_str()).collect();
    let emails: Vec<&str> = asked.iter().map(|it| it.email.as_str()).collect();
    let ends: Vec<Timestamp> = asked.iter().map(|it| it.expires_at).collect();
    let memberships = (1_i64..).zip(asked);
    let memberships =
        memberships.flat_map(|(number, it)| it.memberships.iter().map(move |path| (number, &**path)));
    let (numbers, paths): (Vec<i64>, Vec<&str>) = memberships.unzip();
    // Two who begin with the first free place and are equally fast would meet again and again, and the one that is a
    // little slower would get none.
    let again = asked.iter().any(|it| it.tries > 0);
    let from = if again {
        i64::from(u16::from_be_bytes(random::bytes()))
    } else {
        0
    };
    let statement = client.prepare_cached(WRITE).await?;
    client
        .query(
            &statement,
            &[
                &tokens,
                &logins,
                &digests,
                &emails,
                &ends,
                &numbers,
                &paths,
                &writer.clock.now(),
                &writer.maker.derives(),
                &writer.max_per_token,
                &patience,
                &from,
            ],
        )
        .await
}

fn written(row: &Row) -> Result<Written, Error> {
    let (written, blocked, mapped, full) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let codes: Option<Vec<String>> = row.try_get(4)?;
    let (starts, ends): (Option<Vec<i32>>, Option<Vec<i32>>) = (row.try_get(5)?, row.try_get(6)?);
    let years = starts
        .unwrap_or_default()
        .into_iter()
        .zip(ends.unwrap_or_default());
    let network = |(code, (start_year, end_year))| Network {
        code,
        start_year,
        end_year,
    };
    Ok(Written {
        unknown: codes
            .unwrap_or_default()
            .into_iter()
            .zip(years)
            .map(network)
            .collect(),
        issued: match (written, blocked, mapped, full) {
            (true, ..) => Issued::Yes,
            (_, true, ..) => Issued::Blocked,
            (_, _, false, _) => Issued::NotMapped,
            (_, _, _, true) => Issued::TooMany,
            _ => Issued::Taken,
        },
    })
}
