//! Requests for a new password, and the links that were mailed, in Postgres.

use identity_core::config::values::Rate;
use identity_core::crypto::token::TokenDigest;
use identity_core::db::{Error, GenericClient};
use jiff::{SignedDuration, Timestamp};

use crate::users::Username;

/// For so long after its end a link is known, to tell why it does not work.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Notes that somebody asked for a new password: the same for a user and for nobody.
pub(super) async fn request(
    client: &impl GenericClient,
    username: &Username,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO reset_requests (username_key, requested) VALUES ($1, $2)";
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&username.key, &now]).await?;
    Ok(())
}

/// Takes the oldest request that no other instance is at, with those of the same name that came after
/// it until now.
pub(super) async fn take_request(transaction: &impl GenericClient) -> Result<Option<Username>, Error> {
    let sql =
        "WITH first AS (SELECT username_key FROM reset_requests ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED),
                    taken AS (SELECT id FROM reset_requests JOIN first USING (username_key)
                              FOR UPDATE OF reset_requests SKIP LOCKED)
               DELETE FROM reset_requests USING taken WHERE reset_requests.id = taken.id
               RETURNING username_key";
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, &[]).await?;
    let key: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(key.as_deref().map(Username::of_any))
}

/// Whether the user has been sent as many links as `rate` allows.
pub(super) async fn had_enough(
    client: &impl GenericClient,
    user: i64,
    rate: Rate,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM resets WHERE user_id = $1 AND created > $2";
    let statement = client.prepare_cached(sql).await?;
    let row = client
        .query_one(&statement, &[&user, &(now - rate.window)])
        .await?;
    let sent: i64 = row.try_get(0)?;
    Ok(sent >= i64::from(rate.count))
}

/// Makes a link, which ends the user's older ones.
pub(super) async fn insert(
    transaction: &impl GenericClient,
    digest: &TokenDigest,
    user: i64,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE resets SET ended = $2 WHERE user_id = $1 AND used IS NULL AND ended IS NULL";
    transaction.execute(sql, &[&user, &now]).await?;
    let sql = "INSERT INTO resets (digest, user_id, created, expires) VALUES ($1, $2, $3, $4)";
    transaction
        .execute(sql, &[&digest.as_str(), &user, &now, &expires])
        .await?;
    Ok(())
}

/// What is known of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It can be used, for this user.
    Good(i64),
    Expired,
    Used,
    /// A newer one took its place, or the password was changed otherwise.
    Ended,
    Unknown,
}

/// What is known of the link of this digest; in a transaction nobody else can use it before its end.
pub(super) async fn find(
    client: &impl GenericClient,
    digest: &TokenDigest,
    now: Timestamp,
) -> Result<Standing, Error> {
    let sql = "SELECT user_id, expires, used IS NOT NULL, ended IS NOT NULL FROM resets WHERE digest = $1 FOR UPDATE";
    let statement = client.prepare_cached(sql).await?;
    let Some(row) = client.query_opt(&statement, &[&digest.as_str()]).await? else {
        return Ok(Standing::Unknown);
    };
    let expires: Timestamp = row.try_get(1)?;
    let (used, ended): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    Ok(match (used, ended) {
        (true, _) => Standing::Used,
        (_, true) => Standing::Ended,
        _ if expires <= now => Standing::Expired,
        _ => Standing::Good(row.try_get(0)?),
    })
}

/// Spends a link.
pub(super) async fn spend(
    transaction: &impl GenericClient,
    digest: &TokenDigest,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE resets SET used = $2 WHERE digest = $1";
    transaction.execute(sql, &[&digest.as_str(), &now]).await?;
    Ok(())
}

/// Forgets links that ended long ago.
pub(super) async fn sweep(client: &impl GenericClient, now: Timestamp) -> Result<(), Error> {
    client
        .execute("DELETE FROM resets WHERE expires < $1", &[&(now - KEPT)])
        .await?;
    Ok(())
}
