//! Looks whether there is a user who asked for a new password, and has a link mailed: away from the
//! request, whose time must not tell.

use std::time::Duration;

use identity_core::crypto::token::PlainToken;
use identity_core::db::Error;
use identity_core::runtime::Stop;
use jiff::SignedDuration;

use super::store;
use crate::mail::Mail;
use crate::state::Shared;
use crate::users;

/// How long a link can be used.
const LIFETIME: SignedDuration = SignedDuration::from_hours(2);
/// How often an instance looks for requests that another one took in.
const POLL: Duration = Duration::from_secs(1);
/// How often old links are swept away.
const SWEEP: Duration = Duration::from_hours(1);

/// Answers the requests of one instance.
#[derive(Debug)]
pub(crate) struct Worker(pub(crate) Shared);

impl Worker {
    /// Answers until `stop` is said.
    pub(crate) async fn run(&self, stop: &Stop) {
        let state = &self.0;
        let mut swept = state.now();
        while !stop.is_said() {
            match self.answer_one().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "requests for new passwords cannot be answered"),
            }
            let now = state.now();
            if now.duration_since(swept).unsigned_abs() >= SWEEP {
                swept = now;
                if let Err(error) = self.sweep().await {
                    tracing::warn!(%error, "old links cannot be swept away");
                }
            }
            tokio::select! {
                () = stop.said() => {}
                () = state.asked.notified() => {}
                () = state.clock.sleep(POLL) => {}
            }
        }
    }

    async fn sweep(&self) -> Result<(), Error> {
        store::sweep(&self.0.database.client().await?, self.0.now()).await
    }

    /// Whether there was a request.
    async fn answer_one(&self) -> Result<bool, Error> {
        let state = &self.0;
        let now = state.now();
        let mut client = state.database.client().await?;
        let transaction = client.transaction().await?;
        let Some(username) = store::take_request(&transaction).await? else {
            return Ok(false);
        };
        if let Some(user) = users::find(&transaction, &username).await? {
            if store::had_enough(&transaction, user.id, state.mails_per_account, now).await? {
                tracing::warn!(
                    user = user.id,
                    "a user asked for too many new passwords; no mail is sent"
                );
            } else {
                let key = PlainToken::generate("");
                store::insert(&transaction, &key.digest(), user.id, now, now + LIFETIME).await?;
                let site = &*state.public_url;
                let link = format!("{site}/reset?k={}", key.expose());
                let mail = Mail::reset(&user.username, &link, site, now + LIFETIME)
                    .map_err(|error| Error::corrupt(error.to_string()))?;
                state.postbox.put(&transaction, &mail, now).await?;
            }
        }
        transaction.commit().await?;
        state.postbox.told();
        Ok(true)
    }
}
