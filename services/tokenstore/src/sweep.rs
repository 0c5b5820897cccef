//! What is over is taken away: sessions, logins and links that nobody ended, keys, old lines of the audit log.

use std::time::Duration;

use identity_core::db::Error;
use identity_core::runtime::Stop;
use jiff::SignedDuration;

use crate::state::Shared;
use crate::{api_keys, audit, links, login};

/// Between two sweeps.
const EVERY: Duration = Duration::from_mins(5);

/// A key that has ended is listed for so long.
const ENDED_KEYS_LAST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Sweeps until `stop` is said.
pub async fn run(shared: &Shared, stop: &Stop) {
    while !stop.is_said() {
        match sweep(shared).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "took away what was over"),
            Err(error) => tracing::warn!(%error, "what is over could not be taken away"),
        }
        tokio::select! {
            () = stop.said() => {}
            () = shared.clock.sleep(EVERY) => {}
        }
    }
}

/// Takes away what is over, and gives how much that was.
async fn sweep(shared: &Shared) -> Result<u64, Error> {
    let now = shared.clock.now();
    let client = shared.database.client().await?;
    let mut swept = login::sessions::sweep(&client, shared.session, now).await?;
    swept += login::states::sweep(&client, now).await?;
    swept += links::states::sweep(&client, now).await?;
    swept += api_keys::store::sweep(&client, now - ENDED_KEYS_LAST).await?;
    swept += audit::store::delete_before(&client, now - shared.audit_keep).await?;
    Ok(swept)
}
