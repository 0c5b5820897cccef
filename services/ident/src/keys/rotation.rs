//! New signing keys: the first, by whichever instance comes first; and later ones, which are
//! published before they sign, while the old ones stay published until their last token expired.

use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_core::db::{Database, Error, GenericClient};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::model::{Configuration, SigningKeyPem};
use super::store;
use crate::tokens::announce;

/// How long a token is valid unless it is configured, in seconds.
const EXPIRATION: i32 = 900;
/// How often a family is refreshed unless it is configured: a day of quarters of an hour.
const MAX_REFRESHES: i32 = 96;

/// When keys are rotated.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// `keys.rotate_every`
    pub every: Option<Duration>,
    /// `keys.jwks_max_age`: how long others may go without the newest keys.
    pub jwks_max_age: Duration,
}

/// Makes a key of `algorithm`.
pub fn generate(algorithm: Algorithm) -> Result<SigningKeyPem, Error> {
    let failed = |error: identity_core::crypto::jwt::KeyError| Error::corrupt(error.to_string());
    let pem = SigningKey::generate(algorithm).map_err(failed)?;
    let key = SigningKey::from_pem(&pem).map_err(failed)?;
    Ok(SigningKeyPem {
        key,
        pem: SecretString::from(pem.as_str()),
    })
}

/// Makes the first configuration and its key, unless there is one; gives whether it did.
///
/// # Errors
/// What Postgres says.
pub async fn auto_configure(
    database: &Database,
    keys: &Keys,
    issuer: &str,
    clock: &Clock,
) -> Result<bool, Error> {
    let jwt_issuer = issuer.to_owned();
    let configuration = Configuration {
        jwt_expiration: EXPIRATION,
        jwt_issuer,
        jwt_max_refreshes: MAX_REFRESHES,
    };
    configure(
        database,
        keys,
        &configuration,
        &generate(Algorithm::ES256)?,
        clock.now(),
    )
    .await
}

/// Stores the first configuration with its key; false where there is one already.
pub async fn configure(
    database: &Database,
    keys: &Keys,
    configuration: &Configuration,
    key: &SigningKeyPem,
    now: Timestamp,
) -> Result<bool, Error> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    if !store::insert_configuration(&transaction, configuration, now).await? {
        return Ok(false);
    }
    add(&transaction, keys, key, now, configuration, now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Adds a key that signs from `signs_from` on, and withdraws the others when the last token that
/// they can have signed has expired.
pub async fn add(
    client: &impl GenericClient,
    keys: &Keys,
    key: &SigningKeyPem,
    signs_from: Timestamp,
    configuration: &Configuration,
    now: Timestamp,
) -> Result<bool, Error> {
    let kid = key.key.public().kid();
    let added = store::insert(client, keys, kid, &key.pem, signs_from, now).await?;
    let last_expired = signs_from + SignedDuration::from_secs(configuration.jwt_expiration.into());
    store::withdraw_others(client, kid, signs_from, last_expired, now).await?;
    announce(client).await?;
    Ok(added)
}

impl Rotation {
    /// Makes the next key, of `algorithm`; gives its id and from when on it signs.
    ///
    /// # Errors
    /// What Postgres says, and when there is no configuration yet.
    pub async fn rotate(
        &self,
        database: &Database,
        keys: &Keys,
        algorithm: Algorithm,
        clock: &Clock,
    ) -> Result<(String, Timestamp), Error> {
        let key = generate(algorithm)?;
        let mut client = database.client().await?;
        let transaction = client.transaction().await?;
        let configuration = store::lock_configuration(&transaction).await?;
        let configuration =
            configuration.ok_or_else(|| Error::corrupt("there is no configuration to rotate"))?;
        let now = clock.now();
        let signs_from = now + self.jwks_max_age;
        add(&transaction, keys, &key, signs_from, &configuration, now).await?;
        transaction.commit().await?;
        Ok((key.key.public().kid().to_owned(), signs_from))
    }

    /// Rotates when the newest key is older than `keys.rotate_every`; of all instances, one does.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn rotate_if_due(&self, database: &Database, keys: &Keys, clock: &Clock) -> Result<(), Error> {
        let Some(every) = self.every else { return Ok(()) };
        let mut client = database.client().await?;
        let now = clock.now();
        let is_due = |newest: Option<Timestamp>| newest.is_some_and(|newest| newest + every <= now);
        if !is_due(store::newest(&client).await?) {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        let configuration = store::lock_configuration(&transaction).await?;
        // Asked again under the lock: another instance may have been faster.
        let Some(configuration) = configuration else {
            return Ok(());
        };
        if !is_due(store::newest(&transaction).await?) {
            return Ok(());
        }
        let known = store::list(&transaction, keys, &[], now).await?;
        let algorithm = known
            .last()
            .map_or(Algorithm::ES256, |key| key.key.public().algorithm());
        add(
            &transaction,
            keys,
            &generate(algorithm)?,
            now + self.jwks_max_age,
            &configuration,
            now,
        )
        .await?;
        transaction.commit().await?;
        tracing::info!("the signing key is being rotated");
        Ok(())
    }
}
