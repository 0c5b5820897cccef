//! Keeps an instance's knowledge of keys and revocations up to date: at once where it is told, and
//! every few seconds in any case.

use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Error, GenericClient};
use identity_core::runtime::Stop;

use super::authority::{Authority, Snapshot};
use super::store;
use crate::keys;

/// On which channel changes are announced.
const CHANNEL: &str = "ident_tokens";

/// How long a change may stay unknown to an instance that was not told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often expired rows are removed, counted in looks.
const CLEAN_EVERY: u32 = 300;

/// Tells all instances, when the transaction is committed, that keys, revocations or clients have changed.
///
/// # Errors
/// What Postgres says.
pub async fn announce(client: &impl GenericClient) -> Result<(), Error> {
    client.batch_execute("NOTIFY ident_tokens").await?;
    Ok(())
}

/// Reads what there is to know.
///
/// # Errors
/// What Postgres says, and a key that cannot be decrypted.
pub async fn learn(
    database: &Database,
    keys: &Keys,
    authority: &Authority,
    clock: &Clock,
) -> Result<(), Error> {
    let read = async {
        let _turn = authority.turn().await;
        read(database, keys, authority, clock).await
    };
    database.while_reachable(read).await
}

/// Looks for the key of `token` where it is not known; not more often than once a second, since strangers name keys, too.
///
/// # Errors
/// As [`learn`].
pub async fn look_for_key(
    token: &str,
    database: &Database,
    keys: &Keys,
    authority: &Authority,
    clock: &Clock,
) -> Result<(), Error> {
    if !authority.is_of_unknown_key(token) {
        return Ok(());
    }
    let look = async {
        // Who comes while another looks waits for what they find.
        let _turn = authority.turn().await;
        if authority.is_of_unknown_key(token) && authority.may_look(clock.now()) {
            read(database, keys, authority, clock).await?;
        }
        Ok(())
    };
    database.while_reachable(look).await
}

async fn read(database: &Database, keys: &Keys, authority: &Authority, clock: &Clock) -> Result<(), Error> {
    let client = database.client().await?;
    let now = clock.now();
    let known = authority.snapshot();
    let (families, subjects) = store::list_revocations(&client, now).await?;
    authority.learn(Snapshot {
        keys: keys::list(&client, keys, &known.keys, now).await?,
        configuration: keys::find_configuration(&client).await?,
        revoked_families: families.into_iter().collect(),
        revoked_subjects: subjects.into_iter().collect(),
    });
    Ok(())
}

/// Learns and cleans until `stop` is said; whenever it looks, it calls `also`.
pub async fn keep_up_to_date(
    database: Database,
    keys: Arc<Keys>,
    authority: Authority,
    rotation: keys::Rotation,
    clock: Clock,
    stop: Stop,
    also: impl AsyncFn(&Database) -> Result<(), Error>,
) {
    let changes = database.listen(CHANNEL);
    let mut looks: u32 = 0;
    while !stop.is_said() {
        tokio::select! {
            () = stop.said() => return,
            () = changes.next(LOOK_EVERY) => {}
        }
        if let Err(error) = learn(&database, &keys, &authority, &clock).await {
            tracing::warn!(%error, "keys and revocations could not be read");
            continue;
        }
        if let Err(error) = also(&database).await {
            tracing::warn!(%error, "changes of clients could not be read");
        }
        looks = looks.wrapping_add(1);
        if let Err(error) = rotation.rotate_if_due(&database, &keys, &clock).await {
            tracing::warn!(%error, "the signing key could not be rotated");
        }
        if looks.is_multiple_of(CLEAN_EVERY)
            && let Ok(client) = database.client().await
            && let Err(error) = store::delete_expired(&client, clock.now()).await
        {
            tracing::warn!(%error, "expired rows could not be removed");
        }
    }
}
