//! Signing keys and the configuration in Postgres. Private keys are encrypted and bound to their
//! `kid`.

use std::sync::Arc;

use identity_core::crypto::fernet::Keys;
use identity_core::crypto::jwt::SigningKey;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::model::{Configuration, StoredKey};

/// The keys that are not withdrawn, in the order in which they sign. Those that are `known` already
/// are not parsed again.
///
/// # Errors
/// What Postgres says, and a key that cannot be decrypted or read.
pub async fn list(
    client: &impl GenericClient,
    keys: &Keys,
    known: &[Arc<StoredKey>],
    now: Timestamp,
) -> Result<Vec<Arc<StoredKey>>, Error> {
    let sql = "SELECT kid, private_key, signs_from, withdrawn_at FROM signing_keys
               WHERE withdrawn_at IS NULL OR withdrawn_at > $1 ORDER BY signs_from, created_at, kid";
    let statement = client.prepare_cached(sql).await?;
    let mut all = Vec::new();
    for row in client.query(&statement, &[&now]).await? {
        let (kid, sealed): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (signs_from, withdrawn_at): (Timestamp, Option<Timestamp>) = (row.try_get(2)?, row.try_get(3)?);
        let same = known.iter().find(|key| {
            key.key.public().kid() == kid && key.signs_from == signs_from && key.withdrawn_at == withdrawn_at
        });
        if let Some(same) = same {
            all.push(same.clone());
            continue;
        }
        let pem = keys.open_text(&place(&kid), &sealed);
        let pem = pem.map_err(|error| Error::corrupt(format!("signing key {kid}: {error}")))?;
        let key = SigningKey::from_pem(pem.expose_secret());
        let key = key.map_err(|error| Error::corrupt(format!("signing key {kid}: {error}")))?;
        all.push(Arc::new(StoredKey {
            key,
            signs_from,
            withdrawn_at,
        }));
    }
    Ok(all)
}

/// Inserts a key; false where it is there already.
pub async fn insert(
    client: &impl GenericClient,
    keys: &Keys,
    kid: &str,
    pem: &SecretString,
    signs_from: Timestamp,
    now: Timestamp,
) -> Result<bool, Error> {
    let sealed = keys.seal(&place(kid), pem.expose_secret().as_bytes());
    let sql = "INSERT INTO signing_keys (kid, private_key, created_at, signs_from) VALUES ($1, $2, $3, $4)
               ON CONFLICT (kid) DO NOTHING";
    Ok(client.execute(sql, &[&kid, &sealed, &now, &signs_from]).await? == 1)
}

/// Sets when every key but `kid` is withdrawn, unless it is already.
///
/// One that would begin to sign only after `signs_from`, when `kid` does, is withdrawn at once: it
/// would take over from `kid`.
pub async fn withdraw_others(
    client: &impl GenericClient,
    kid: &str,
    signs_from: Timestamp,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE signing_keys SET withdrawn_at = CASE WHEN signs_from > $2 THEN $4::timestamptz ELSE $3::timestamptz END
               WHERE kid <> $1 AND withdrawn_at IS NULL";
    client.execute(sql, &[&kid, &signs_from, &at, &now]).await?;
    Ok(())
}

/// Withdraws a key at once; false when there is none of this id that is still published.
pub async fn withdraw(client: &impl GenericClient, kid: &str, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE signing_keys SET withdrawn_at = $2 WHERE kid = $1 AND (withdrawn_at IS NULL OR withdrawn_at > $2)";
    Ok(client.execute(sql, &[&kid, &now]).await? == 1)
}

/// The configuration, if there is one.
///
/// # Errors
/// What Postgres says.
pub async fn find_configuration(client: &impl GenericClient) -> Result<Option<Configuration>, Error> {
    let sql = "SELECT jwt_expiration, jwt_issuer, jwt_max_refreshes FROM token_configuration";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_opt(&statement, &[]).await?;
    row.map(|row| {
        Ok(Configuration {
            jwt_expiration: row.try_get(0)?,
            jwt_issuer: row.try_get(1)?,
            jwt_max_refreshes: row.try_get(2)?,
        })
    })
    .transpose()
}

/// Inserts the configuration; false where there is one already, under any race.
pub async fn insert_configuration(
    client: &impl GenericClient,
    configuration: &Configuration,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "INSERT INTO token_configuration (jwt_expiration, jwt_issuer, jwt_max_refreshes, updated_at)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let Configuration {
        jwt_expiration,
        jwt_issuer,
        jwt_max_refreshes,
    } = configuration;
    Ok(client
        .execute(sql, &[jwt_expiration, jwt_issuer, jwt_max_refreshes, &now])
        .await?
        == 1)
}

/// Replaces the configuration.
pub async fn update_configuration(
    client: &impl GenericClient,
    configuration: &Configuration,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE token_configuration
               SET jwt_expiration = $1, jwt_issuer = $2, jwt_max_refreshes = $3, updated_at = $4";
    let Configuration {
        jwt_expiration,
        jwt_issuer,
        jwt_max_refreshes,
    } = configuration;
    client
        .execute(sql, &[jwt_expiration, jwt_issuer, jwt_max_refreshes, &now])
        .await?;
    Ok(())
}

/// The configuration, locked until the transaction ends, so that two rotations do not cross.
pub async fn lock_configuration(client: &impl GenericClient) -> Result<Option<Configuration>, Error> {
    client
        .execute("SELECT 1 FROM token_configuration FOR UPDATE", &[])
        .await?;
    find_configuration(client).await
}

/// When the newest key was made.
pub async fn newest(client: &impl GenericClient) -> Result<Option<Timestamp>, Error> {
    Ok(client
        .query_one("SELECT max(created_at) FROM signing_keys", &[])
        .await?
        .try_get(0)?)
}

/// Where a private key is stored, to which its ciphertext is bound.
pub fn place(kid: &str) -> String {
    format!("ident.signing_keys.private_key/{kid}")
}
