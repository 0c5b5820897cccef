//! Families, refreshes and revocations in Postgres.

use identity_core::db::{Error, GenericClient, tokio_postgres};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::authority::revocation_key;
use super::model::{Link, Subject};

/// A family as it stands.
#[derive(Debug)]
pub struct Family {
    /// The newest token's.
    pub generation: i32,
    pub is_revoked: bool,
}

/// The family of `link`, locked until the transaction ends; made where it is not there yet.
pub async fn lock_family(
    client: &impl GenericClient,
    link: Link,
    expires_at: Timestamp,
) -> Result<Family, Error> {
    let sql = "INSERT INTO token_families (id, generation, expires_at) VALUES ($1, 0, $2)
               ON CONFLICT (id) DO UPDATE SET expires_at = greatest(token_families.expires_at, excluded.expires_at)
               RETURNING generation, revoked_at IS NOT NULL";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_one(&statement, &[&link.family, &expires_at]).await?;
    Ok(Family {
        generation: row.try_get(0)?,
        is_revoked: row.try_get(1)?,
    })
}

/// When the token `link` was refreshed, and to what (sealed).
pub async fn find_refresh(
    client: &impl GenericClient,
    link: Link,
) -> Result<Option<(Timestamp, String)>, Error> {
    let sql = "SELECT refreshed_at, successor FROM token_refreshes WHERE family_id = $1 AND generation = $2";
    let statement = client.prepare_cached(sql).await?;
    let row = client
        .query_opt(&statement, &[&link.family, &link.generation])
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Notes that the token `link` was refreshed to `successor` (sealed).
pub async fn insert_refresh(
    client: &impl GenericClient,
    link: Link,
    successor: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "WITH f AS (UPDATE token_families SET generation = $2 + 1 WHERE id = $1)
               INSERT INTO token_refreshes (family_id, generation, refreshed_at, successor) VALUES ($1, $2, $3, $4)";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(&statement, &[&link.family, &link.generation, &now, &successor])
        .await?;
    Ok(())
}

/// Ends a family: no token of it is accepted or refreshed any more.
pub async fn revoke_family(
    client: &impl GenericClient,
    family: Uuid,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO token_families (id, generation, revoked_at, expires_at) VALUES ($1, 0, $2, $3)
               ON CONFLICT (id) DO UPDATE SET revoked_at = coalesce(token_families.revoked_at, excluded.revoked_at)";
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&family, &now, &expires_at]).await?;
    Ok(())
}

/// Ends all families that `subject` has begun until now.
///
/// # Errors
/// What Postgres says.
pub async fn revoke_subject(
    client: &impl GenericClient,
    subject: Subject,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO revoked_subjects (subject, before, expires_at) VALUES ($1, $2, $3)
               ON CONFLICT (subject) DO UPDATE SET before = greatest(revoked_subjects.before, excluded.before),
                                                   expires_at = greatest(revoked_subjects.expires_at, excluded.expires_at)";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(&statement, &[&revocation_key(subject), &now, &expires_at])
        .await?;
    Ok(())
}

/// The families and the subjects whose revocation still matters.
pub async fn list_revocations(
    client: &impl GenericClient,
    now: Timestamp,
) -> Result<(Vec<Uuid>, Vec<(String, Timestamp)>), Error> {
    let families = client
        .query(
            "SELECT id FROM token_families WHERE revoked_at IS NOT NULL AND expires_at > $1",
            &[&now],
        )
        .await?;
    let subjects = client
        .query(
            "SELECT subject, before FROM revoked_subjects WHERE expires_at > $1",
            &[&now],
        )
        .await?;
    let families = families
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let subjects = subjects.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok((families, subjects.collect::<Result<_, tokio_postgres::Error>>()?))
}

/// Removes what has expired; gives how many families went.
pub async fn delete_expired(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    client
        .execute("DELETE FROM revoked_subjects WHERE expires_at <= $1", &[&now])
        .await?;
    client
        .execute("DELETE FROM client_assertions WHERE expires_at <= $1", &[&now])
        .await?;
    // What slows guessing is forgotten when nothing is slowed by it any more.
    let (day_ago, half_year_ago) = (
        now - SignedDuration::from_hours(24),
        now - SignedDuration::from_hours(24 * 182),
    );
    let old = "DELETE FROM login_failures WHERE greatest(began_at, blocked_until) < $1";
    client.execute(old, &[&day_ago]).await?;
    client
        .execute(
            "DELETE FROM login_addresses WHERE last_at < $1",
            &[&half_year_ago],
        )
        .await?;
    Ok(client
        .execute("DELETE FROM token_families WHERE expires_at <= $1", &[&now])
        .await?)
}
