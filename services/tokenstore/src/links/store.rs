//! Links in Postgres.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Client, Error, GenericClient, Lookup};
use jiff::Timestamp;

use super::model::{Link, LinkKey, NewLink, Sealed};
use crate::access::Person;

const COLUMNS: &str = "issuer, subject, provider, generation, refresh_token, access_token, token_type, scopes, \
    obtained_at, access_expires_at, refresh_expires_at, account, linked_at, broken_at";

/// A row with these columns.
pub(super) fn link(row: &Row) -> Result<Link, Error> {
    Ok(Link {
        key: LinkKey {
            person: Person {
                issuer: row.try_get("issuer")?,
                subject: row.try_get("subject")?,
            },
            provider: row.try_get("provider")?,
        },
        generation: row.try_get("generation")?,
        refresh_token: row.try_get("refresh_token")?,
        access_token: row.try_get("access_token")?,
        token_type: row.try_get("token_type")?,
        scopes: row.try_get("scopes")?,
        obtained_at: row.try_get("obtained_at")?,
        access_expires_at: row.try_get("access_expires_at")?,
        refresh_expires_at: row.try_get("refresh_expires_at")?,
        account: row.try_get("account")?,
        linked_at: row.try_get("linked_at")?,
        broken_at: row.try_get("broken_at")?,
    })
}

/// The link of `key`.
pub async fn find(client: &impl GenericClient, key: &LinkKey) -> Result<Option<Link>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM links WHERE issuer = $1 AND subject = $2 AND provider = $3");
    let statement = client.prepare_cached(&sql).await?;
    let Person { issuer, subject } = &key.person;
    let row = client
        .query_opt(&statement, &[issuer, subject, &key.provider])
        .await?;
    row.as_ref().map(link).transpose()
}

/// Links by whose and to which provider they are, for many requests at once.
#[derive(Debug)]
pub enum ByKey {}

impl Lookup for ByKey {
    type Key = LinkKey;
    type Found = Link;

    async fn find(client: &Client, keys: &[LinkKey]) -> Result<Vec<(LinkKey, Link)>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM links
             JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (issuer, subject, provider)
                 USING (issuer, subject, provider)"
        );
        let statement = client.prepare_cached(&sql).await?;
        let issuers: Vec<_> = keys.iter().map(|key| key.person.issuer.as_str()).collect();
        let subjects: Vec<_> = keys.iter().map(|key| key.person.subject.as_str()).collect();
        let providers: Vec<_> = keys.iter().map(|key| key.provider.as_str()).collect();
        let rows = client
            .query(&statement, &[&issuers, &subjects, &providers])
            .await?;
        rows.iter()
            .map(|row| link(row).map(|link| (link.key.clone(), link)))
            .collect()
    }
}

/// All links of `person`.
pub async fn list(client: &impl GenericClient, person: &Person) -> Result<Vec<Link>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM links WHERE issuer = $1 AND subject = $2");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client
        .query(&statement, &[&person.issuer, &person.subject])
        .await?;
    rows.iter().map(link).collect()
}

/// Makes the link, or makes it anew.
///
/// Some providers give a refresh token only the first time: where none came, that of the same account
/// goes on to be used.
pub async fn insert(client: &impl GenericClient, new: &NewLink) -> Result<(), Error> {
    let NewLink {
        key,
        sealed,
        identity,
    } = new;
    let sql = "INSERT INTO links (issuer, subject, provider, refresh_token, access_token, token_type, scopes,
                   obtained_at, access_expires_at, refresh_expires_at, account, account_subject, linked_at)
               VALUES ($1, $2, $3, $4, $5, $6, coalesce($7::text[], '{}'), $8, $9, $10, $11, $12, $8)
               ON CONFLICT (issuer, subject, provider) DO UPDATE SET
                   generation = links.generation + 1,
                   refresh_token = coalesce(excluded.refresh_token,
                       CASE WHEN links.broken_at IS NULL AND links.account_subject = excluded.account_subject
                            THEN links.refresh_token END),
                   access_token = excluded.access_token, token_type = excluded.token_type,
                   scopes = excluded.scopes, obtained_at = excluded.obtained_at,
                   access_expires_at = excluded.access_expires_at, refresh_expires_at = excluded.refresh_expires_at,
                   account = excluded.account, account_subject = excluded.account_subject,
                   linked_at = excluded.linked_at, broken_at = NULL, broken_reason = NULL";
    let statement = client.prepare_cached(sql).await?;
    let Person { issuer, subject } = &key.person;
    client
        .execute(
            &statement,
            &[
                issuer,
                subject,
                &key.provider,
                &sealed.refresh_token,
                &sealed.access_token,
                &sealed.token_type,
                &sealed.scopes,
                &sealed.obtained_at,
                &sealed.access_expires_at,
                &sealed.refresh_expires_at,
                &identity.account,
                &identity.subject,
            ],
        )
        .await?;
    Ok(())
}

/// Stores the tokens of a refresh, where the link is still the one of `generation`; else none.
pub async fn update_tokens(
    client: &impl GenericClient,
    key: &LinkKey,
    generation: i64,
    sealed: &Sealed,
) -> Result<Option<Link>, Error> {
    let sql = format!(
        "UPDATE links SET generation = generation + 1, refresh_token = coalesce($5, refresh_token),
             access_token = $6, token_type = $7, scopes = coalesce($8, scopes), obtained_at = $9,
             access_expires_at = $10,
             refresh_expires_at = CASE WHEN $5::text IS NULL THEN refresh_expires_at ELSE $11 END
         WHERE issuer = $1 AND subject = $2 AND provider = $3 AND generation = $4 AND broken_at IS NULL
         RETURNING {COLUMNS}"
    );
    let statement = client.prepare_cached(&sql).await?;
    let Person { issuer, subject } = &key.person;
    let row = client
        .query_opt(
            &statement,
            &[
                issuer,
                subject,
                &key.provider,
                &generation,
                &sealed.refresh_token,
                &sealed.access_token,
                &sealed.token_type,
                &sealed.scopes,
                &sealed.obtained_at,
                &sealed.access_expires_at,
                &sealed.refresh_expires_at,
            ],
        )
        .await?;
    row.as_ref().map(link).transpose()
}

/// Notes that the provider has taken the link back, where it is still the one of `generation`.
pub async fn update_broken(
    client: &impl GenericClient,
    key: &LinkKey,
    generation: i64,
    reason: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "UPDATE links SET broken_at = $5, broken_reason = $6
               WHERE issuer = $1 AND subject = $2 AND provider = $3 AND generation = $4 AND broken_at IS NULL";
    let statement = client.prepare_cached(sql).await?;
    let Person { issuer, subject } = &key.person;
    let changed = client
        .execute(
            &statement,
            &[issuer, subject, &key.provider, &generation, &now, &reason],
        )
        .await?;
    Ok(changed > 0)
}

/// Takes the link away and gives what it was.
pub async fn delete(client: &impl GenericClient, key: &LinkKey) -> Result<Option<Link>, Error> {
    let sql =
        format!("DELETE FROM links WHERE issuer = $1 AND subject = $2 AND provider = $3 RETURNING {COLUMNS}");
    let statement = client.prepare_cached(&sql).await?;
    let Person { issuer, subject } = &key.person;
    let row = client
        .query_opt(&statement, &[issuer, subject, &key.provider])
        .await?;
    row.as_ref().map(link).transpose()
}

/// Links to `provider` that have a refresh token and were not refreshed since `before`, the oldest first.
pub async fn list_unused(
    client: &impl GenericClient,
    provider: &str,
    before: Timestamp,
    most: i64,
) -> Result<Vec<Link>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM links
         WHERE provider = $1 AND obtained_at < $2 AND refresh_token IS NOT NULL AND broken_at IS NULL
         ORDER BY obtained_at LIMIT $3"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&provider, &before, &most]).await?;
    rows.iter().map(link).collect()
}
