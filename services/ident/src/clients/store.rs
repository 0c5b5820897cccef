//! Machine clients in Postgres.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use uuid::Uuid;

use super::model::{Client, Secret};

/// How many secrets a client has at most.
const MOST_SECRETS: i64 = 2;

/// The columns of [`client_of`].
const CLIENT: &str = "c.id, c.name, c.permissions, c.audiences, c.public_key, c.static_signature, c.disabled, \
    ARRAY(SELECT s.id FROM client_secrets s WHERE s.client_id = c.id ORDER BY s.created_at, s.id), \
    ARRAY(SELECT s.created_at FROM client_secrets s WHERE s.client_id = c.id ORDER BY s.created_at, s.id), \
    ARRAY(SELECT s.hash FROM client_secrets s WHERE s.client_id = c.id ORDER BY s.created_at, s.id)";

/// A client with the hashes of its secrets, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub client: Client,
    pub hashes: Vec<String>,
}

fn client_of(row: &Row) -> Result<Stored, Error> {
    let (ids, times): (Vec<Uuid>, Vec<Timestamp>) = (row.try_get(7)?, row.try_get(8)?);
    let secrets = ids
        .into_iter()
        .zip(times)
        .map(|(id, created_at)| Secret { id, created_at })
        .collect();
    let client = Client {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        permissions: row.try_get(2)?,
        audiences: row.try_get(3)?,
        public_key: row.try_get(4)?,
        static_signature: row.try_get(5)?,
        disabled: row.try_get(6)?,
        secrets,
    };
    Ok(Stored {
        client,
        hashes: row.try_get(9)?,
    })
}

pub async fn find(client: &impl GenericClient, id: Uuid) -> Result<Option<Stored>, Error> {
    let statement = client
        .prepare_cached(&format!("SELECT {CLIENT} FROM clients c WHERE c.id = $1"))
        .await?;
    client
        .query_opt(&statement, &[&id])
        .await?
        .as_ref()
        .map(client_of)
        .transpose()
}

/// Those of the clients that there are.
pub async fn find_all(
    client: &impl GenericClient,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<Stored>, Error> {
    let sql = format!("SELECT {CLIENT} FROM clients c WHERE c.id = ANY($1)");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&ids.collect::<Vec<_>>()]).await?;
    rows.iter().map(client_of).collect()
}

/// The client, locked until the transaction ends.
pub async fn find_for_update(client: &impl GenericClient, id: Uuid) -> Result<Option<Stored>, Error> {
    if client
        .query_opt("SELECT 1 FROM clients WHERE id = $1 FOR UPDATE", &[&id])
        .await?
        .is_none()
    {
        return Ok(None);
    }
    find(client, id).await
}

/// The clients in the order of their ids, from the one behind `after` on.
pub async fn list(client: &impl GenericClient, after: Option<Uuid>, most: i64) -> Result<Vec<Client>, Error> {
    let sql =
        format!("SELECT {CLIENT} FROM clients c WHERE $1::uuid IS NULL OR c.id > $1 ORDER BY c.id LIMIT $2");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&after, &most]).await?;
    rows.iter()
        .map(|row| client_of(row).map(|stored| stored.client))
        .collect()
}

pub async fn insert(client: &impl GenericClient, new: &Client, now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO clients (id, name, permissions, audiences, public_key, static_signature, disabled,
                                    created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
    let Client {
        id,
        name,
        permissions,
        audiences,
        public_key,
        static_signature,
        disabled,
        ..
    } = new;
    client
        .execute(
            sql,
            &[
                id,
                name,
                permissions,
                audiences,
                public_key,
                static_signature,
                disabled,
                &now,
            ],
        )
        .await?;
    Ok(())
}

pub async fn update(client: &impl GenericClient, changed: &Client, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE clients SET name = $2, permissions = $3, audiences = $4, public_key = $5, static_signature = $6,
                                  disabled = $7, updated_at = $8 WHERE id = $1";
    let Client {
        id,
        name,
        permissions,
        audiences,
        public_key,
        static_signature,
        disabled,
        ..
    } = changed;
    client
        .execute(
            sql,
            &[
                id,
                name,
                permissions,
                audiences,
                public_key,
                static_signature,
                disabled,
                &now,
            ],
        )
        .await?;
    Ok(())
}

/// Deletes a client and its secrets; false when there is none.
pub async fn delete(client: &impl GenericClient, id: Uuid) -> Result<bool, Error> {
    Ok(client
        .execute("DELETE FROM clients WHERE id = $1", &[&id])
        .await?
        == 1)
}

/// Inserts a secret; false when the client has as many as it may. The client must be locked.
pub async fn insert_secret(
    client: &impl GenericClient,
    id: Uuid,
    secret: Uuid,
    hash: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "INSERT INTO client_secrets (client_id, id, hash, created_at)
               SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM client_secrets WHERE client_id = $1) < $5";
    Ok(client
        .execute(sql, &[&id, &secret, &hash, &now, &MOST_SECRETS])
        .await?
        == 1)
}

/// Replaces a secret's hash by one of the same secret with newer parameters.
pub async fn update_secret_hash(
    client: &impl GenericClient,
    id: Uuid,
    old: &str,
    new: &str,
) -> Result<(), Error> {
    client
        .execute(
            "UPDATE client_secrets SET hash = $3 WHERE client_id = $1 AND hash = $2",
            &[&id, &old, &new],
        )
        .await?;
    Ok(())
}

/// Deletes a secret; false when there is none.
pub async fn delete_secret(client: &impl GenericClient, id: Uuid, secret: Uuid) -> Result<bool, Error> {
    let sql = "DELETE FROM client_secrets WHERE client_id = $1 AND id = $2";
    Ok(client.execute(sql, &[&id, &secret]).await? == 1)
}

/// Notes that an assertion was used; false when it was used before.
pub async fn insert_assertion(
    client: &impl GenericClient,
    id: Uuid,
    jti: &str,
    expires_at: Timestamp,
) -> Result<bool, Error> {
    let sql = "INSERT INTO client_assertions (client_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, &[&id, &jti, &expires_at]).await? == 1)
}

/// What a client's tokens permit; none where it is gone or disabled.
///
/// # Errors
/// What Postgres says.
pub async fn permissions_of(client: &impl GenericClient, id: Uuid) -> Result<Option<Vec<String>>, Error> {
    let statement = client
        .prepare_cached("SELECT permissions FROM clients WHERE id = $1 AND NOT disabled")
        .await?;
    Ok(client
        .query_opt(&statement, &[&id])
        .await?
        .map(|row| row.try_get(0))
        .transpose()?)
}
