//! Links in Postgres.

use identity_core::crypto::jwt::SharedAlgorithm;
use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::Link;
use crate::subjects::Moment;

/// The columns of [`link_of`].
const LINK: &str = "id, sssid, iss, aud, algorithm, secret, exp, claims, linked_to, linked_system, linked_on, linked_at, \
    withdrawn_on, withdrawn_at, created, changed";

fn link_of(row: &Row) -> Result<Link, Error> {
    let corrupt = |what: &str| Error::corrupt(format!("a link's {what} cannot be read"));
    let algorithm: &str = row.try_get(4)?;
    let claims: Option<Value> = row.try_get(7)?;
    let moment = |column: usize| -> Result<Option<Moment>, Error> {
        let text: Option<String> = row.try_get(column)?;
        let at: Option<Timestamp> = row.try_get(column + 1)?;
        Ok(text.zip(at).map(|(text, at)| Moment { text, at }))
    };
    Ok(Link {
        id: row.try_get(0)?,
        sssid: row.try_get(1)?,
        iss: row.try_get(2)?,
        aud: row.try_get(3)?,
        algorithm: SharedAlgorithm::deserialize(json!(algorithm)).map_err(|_| corrupt("algorithm"))?,
        secret: row.try_get(5)?,
        exp: row.try_get(6)?,
        claims: claims
            .map(serde_json::from_value)
            .transpose()
            .map_err(|_| corrupt("claims"))?,
        linked_to: row.try_get(8)?,
        linked_system: row.try_get(9)?,
        linked_on: moment(10)?,
        withdrawn_on: moment(12)?,
        created: row.try_get(14)?,
        changed: row.try_get(15)?,
    })
}

/// The link of this id.
pub(crate) async fn find(client: &impl GenericClient, id: Uuid) -> Result<Option<Link>, Error> {
    let sql = format!("SELECT {LINK} FROM links WHERE id = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&id]).await?;
    row.as_ref().map(link_of).transpose()
}

/// The links of a subject, the oldest first.
pub(super) async fn list(client: &impl GenericClient, sssid: &str) -> Result<Vec<Link>, Error> {
    let sql = format!("SELECT {LINK} FROM links WHERE sssid = $1 ORDER BY created, id");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&sssid]).await?;
    rows.iter().map(link_of).collect()
}

/// Makes a link.
pub(crate) async fn insert(client: &impl GenericClient, link: &Link) -> Result<(), Error> {
    let sql = "INSERT INTO links (id, sssid, iss, aud, algorithm, created, changed) VALUES ($1, $2, $3, $4, $5, $6, $6)";
    let statement = client.prepare_cached(sql).await?;
    let Link {
        id,
        sssid,
        iss,
        aud,
        algorithm,
        created,
        ..
    } = link;
    client
        .execute(&statement, &[id, sssid, iss, aud, &algorithm.as_str(), created])
        .await?;
    Ok(())
}

/// Writes all that can change of a link.
pub(crate) async fn update(client: &impl GenericClient, link: &Link) -> Result<(), Error> {
    let sql =
        "UPDATE links SET sssid = $2, iss = $3, aud = $4, algorithm = $5, secret = $6, exp = $7, claims = $8,
                   linked_to = $9, linked_system = $10, linked_on = $11, linked_at = $12, withdrawn_on = $13,
                   withdrawn_at = $14, changed = $15
               WHERE id = $1";
    let statement = client.prepare_cached(sql).await?;
    let Link {
        id,
        sssid,
        iss,
        aud,
        secret,
        exp,
        linked_to,
        linked_system,
        changed,
        ..
    } = link;
    let claims = link.claims.as_ref().map(|claims| json!(claims));
    let text = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.text.clone());
    let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.at);
    client
        .execute(
            &statement,
            &[
                id,
                sssid,
                iss,
                aud,
                &link.algorithm.as_str(),
                secret,
                exp,
                &claims,
                linked_to,
                linked_system,
                &text(&link.linked_on),
                &at(&link.linked_on),
                &text(&link.withdrawn_on),
                &at(&link.withdrawn_on),
                changed,
            ],
        )
        .await?;
    Ok(())
}
