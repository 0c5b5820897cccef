//! Links that would die unused are refreshed in time.

use std::sync::Arc;
use std::time::Duration;

use identity_core::db::Error;
use identity_core::runtime::Stop;

use super::store;
use crate::providers::Provider;
use crate::state::Shared;

/// Between two looks.
const EVERY: Duration = Duration::from_mins(10);
/// How many links of a provider are refreshed in one look, one after the other: it is no hurry.
const MOST: i64 = 100;

/// Refreshes until `stop` is said.
pub async fn run(shared: &Shared, stop: &Stop) {
    while !stop.is_said() {
        for provider in shared.providers.iter() {
            if stop.is_said() {
                return;
            }
            if let Err(error) = refresh(shared, provider, stop).await {
                tracing::warn!(provider = provider.id(), %error, "links could not be kept alive");
            }
        }
        tokio::select! {
            () = stop.said() => {}
            () = shared.clock.sleep(EVERY) => {}
        }
    }
}

async fn refresh(shared: &Shared, provider: &Arc<Provider>, stop: &Stop) -> Result<(), Error> {
    let Some(age) = provider.settings.keep_alive else {
        return Ok(());
    };
    let before = shared.clock.now() - age;
    let links = {
        let client = shared.database.client().await?;
        store::list_unused(&client, provider.id(), before, MOST).await?
    };
    for link in links {
        if stop.is_said() {
            return Ok(());
        }
        // Longer than any token lasts: what is wanted is a refresh.
        let refreshed = shared
            .refresher
            .refresh(provider, &link.key, link.generation, Duration::MAX)
            .await;
        if let Err(super::NoToken::ProviderDown(_)) = refreshed {
            // The others would fare no better.
            return Ok(());
        }
    }
    Ok(())
}
