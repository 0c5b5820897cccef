//! Delivers what waits in the outbox, tries again what failed, gives up after long.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use identity_core::clock::Clock;
use identity_core::crypto::fernet::Keys;
use identity_core::db::{Database, Error};
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Stop;
use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};

use super::model::{Kind, Message, Outbox, Revocation};
use super::store;
use crate::config::Notifications;
use crate::providers::{ProviderError, Providers};
use crate::state::Counts;

/// How many deliveries run at once in an instance.
const AT_ONCE: usize = 8;
/// How often an instance looks for what another one wrote, or what comes due again.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks at how much waits.
const MEASURED_EVERY: Duration = Duration::from_secs(15);
/// How much longer a claim lasts than the longest delivery.
const LEASE_BEYOND_TIMEOUT: Duration = Duration::from_secs(30);

/// Delivers the messages of one instance.
#[derive(Debug)]
pub struct Dispatcher {
    /// Where messages are.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Decrypts them.
    pub keys: Arc<Keys>,
    /// Wakes it.
    pub outbox: Outbox,
    /// Who revokes.
    pub providers: Providers,
    /// Where the operator is told.
    pub notifications: Option<Notifications>,
    /// Sends.
    pub outgoing: Outgoing,
    /// How long a request may take.
    pub timeout: Duration,
    /// When it is given up.
    pub give_up_after: Duration,
}

impl Dispatcher {
    /// Delivers until `stop` is said; deliveries under way end first.
    pub async fn run(&self, stop: &Stop) {
        while !stop.is_said() {
            let claimed = match self.claim().await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read");
                    Vec::new()
                }
            };
            let more_may_be_due = claimed.len() == AT_ONCE;
            let deliveries = futures_util::stream::iter(claimed).map(|message| self.deliver(message));
            deliveries.buffer_unordered(AT_ONCE).collect::<()>().await;
            if more_may_be_due {
                continue;
            }
            tokio::select! {
                () = stop.said() => {}
                () = self.outbox.wait() => {}
                () = self.clock.sleep(POLL) => {}
            }
        }
    }

    /// Keeps the gauges of what waits up to date until `stop` is said.
    pub async fn measure(&self, stop: &Stop, counts: &Counts) {
        while !stop.is_said() {
            let depth = async {
                let client = self.database.client().await?;
                store::depth(&client, self.clock.now()).await
            };
            if let Ok((waiting, oldest)) = depth.await {
                counts.waiting.set(waiting);
                counts.oldest.set(oldest);
            }
            tokio::select! {
                () = stop.said() => {}
                () = tokio::time::sleep(MEASURED_EVERY) => {}
            }
        }
    }

    async fn claim(&self) -> Result<Vec<Message>, Error> {
        let client = self.database.client().await?;
        let lease = self.timeout + LEASE_BEYOND_TIMEOUT;
        store::claim(
            &client,
            i64::try_from(AT_ONCE).unwrap_or(1),
            lease,
            self.clock.now(),
        )
        .await
    }

    async fn deliver(&self, message: Message) {
        let sent = match message.open(&self.keys) {
            Err(error) => Err(error.to_string()),
            Ok(content) => match message.kind {
                Kind::Revocation => self.revoke(&message, &content).await,
                Kind::Webhook => self.post(&message, &content).await,
            },
        };
        let noted = async {
            let client = self.database.client().await?;
            match &sent {
                Ok(()) => store::delete(&client, &message).await,
                Err(error) => {
                    let now = self.clock.now();
                    let age = now.duration_since(message.created_at);
                    let (kind, provider) = (message.kind.as_str(), &message.provider);
                    if age >= SignedDuration::try_from(self.give_up_after).unwrap_or(SignedDuration::MAX) {
                        tracing::error!(kind, provider, error, "a message was given up");
                        return store::delete(&client, &message).await;
                    }
                    tracing::warn!(
                        kind,
                        provider,
                        error,
                        attempts = message.attempts,
                        "a message is sent again"
                    );
                    store::update_failed(&client, &message, error, now + message.pause()).await
                }
            }
        };
        if let Err(error) = noted.await {
            // The claim runs out by itself, and it is told again.
            tracing::warn!(%error, "how a delivery went could not be noted");
        }
    }

    async fn revoke(&self, message: &Message, content: &SecretString) -> Result<(), String> {
        let Some(provider) = self.providers.find(&message.provider) else {
            return Err("the provider is not configured any more".to_owned());
        };
        let Revocation { token, hint } = serde_json::from_str(content.expose_secret())
            .map_err(|_| "the message is malformed".to_owned())?;
        match provider.revoke(&token.into(), &hint, self.clock.now()).await {
            // Without an endpoint there is nothing to be tried again, nor where it knows the token no more.
            Ok(_) | Err(ProviderError::InvalidGrant(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn post(&self, message: &Message, content: &SecretString) -> Result<(), String> {
        let Some(Notifications { url, signer }) = &self.notifications else {
            return Ok(());
        };
        let (id, timestamp) = (message.id.to_string(), self.clock.now().as_second());
        let body = content.expose_secret().to_owned();
        self.outgoing
            .notify(url.clone(), signer, &id, timestamp, body)
            .await
    }
}
