//! A provider at work: what is known of it by now, fetched when it is needed and asked again later where
//! it did not answer.

use std::sync::{Arc, PoisonError, RwLock};

use identity_core::outgoing::Outgoing;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::CoreJsonWebKeySet;
use serde_json::Value;
use tokio::sync::Mutex;

use super::discovery::{self, Endpoints};
use super::model::Settings;
use super::wire::Unreachable;

/// After this long a provider is asked for its endpoints anew.
const ENDPOINTS_LAST: SignedDuration = SignedDuration::from_hours(1);
/// After a failure it is left alone for so long.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// Between two fetches of a provider's keys.
const KEYS_AT_MOST_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// All providers whose accounts can be linked, in configured order. Clones share what is known of them.
#[derive(Debug, Clone)]
pub struct Providers(Arc<[Arc<Provider>]>);

/// One provider.
#[derive(Debug)]
pub struct Provider {
    /// What the configuration says of it.
    pub settings: Settings,
    pub(super) outgoing: Outgoing,
    /// For refreshes alone: a connection ends with the worker that made it, and a refresh must not.
    pub(super) refreshing: Outgoing,
    known: Mutex<Known>,
    /// The endpoints as they were last told, for who does not want to wait until they are told again.
    last: RwLock<Option<Arc<Endpoints>>>,
    keys: Mutex<Fetched>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: Option<Arc<Endpoints>>,
    asked_at: Option<Timestamp>,
    failed: Option<Unreachable>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Option<CoreJsonWebKeySet>,
    at: Option<Timestamp>,
}

/// Who somebody is at a provider.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// `sub`, or the provider's own id.
    pub subject: Option<String>,
    /// What is shown: the email, else a name.
    pub account: Option<String>,
    /// Everything that was said.
    pub claims: Value,
}

impl Providers {
    /// The providers of `settings`, reached through `outgoing`, for refreshes through `refreshing`.
    #[must_use]
    pub fn new(settings: Vec<Settings>, outgoing: &Outgoing, refreshing: &Outgoing) -> Self {
        let providers = settings.into_iter();
        Self(
            providers
                .map(|settings| Arc::new(Provider::new(settings, outgoing, refreshing)))
                .collect(),
        )
    }

    /// All of them, in configured order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.iter()
    }

    /// The provider of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Provider>> {
        self.iter().find(|provider| provider.id() == id).cloned()
    }
}

impl Provider {
    /// The provider of `settings`, reached through `outgoing`, for refreshes through `refreshing`; nothing is
    /// asked yet.
    #[must_use]
    pub fn new(settings: Settings, outgoing: &Outgoing, refreshing: &Outgoing) -> Self {
        Self {
            settings,
            outgoing: outgoing.clone(),
            refreshing: refreshing.clone(),
            known: Mutex::default(),
            last: RwLock::default(),
            keys: Mutex::default(),
        }
    }

    /// Its id, as in paths.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings
            .metadata
            .name
            .as_deref()
            .unwrap_or(&self.settings.id)
    }

    /// Where it is reached. What was known goes on to hold when it does not answer.
    ///
    /// # Errors
    /// [`Unreachable`] where nothing is known and it does not answer, or did not a moment ago.
    pub async fn endpoints(&self, now: Timestamp) -> Result<Arc<Endpoints>, Unreachable> {
        let mut known = match (self.known.try_lock(), self.last()) {
            (Ok(known), _) => known,
            // Somebody is asking just now.
            (Err(_), Some(last)) => return Ok(last),
            (Err(_), None) => self.known.lock().await,
        };
        let age = known.asked_at.map(|at| now.duration_since(at));
        match (&known.endpoints, &known.failed) {
            (Some(endpoints), None) if age.is_some_and(|age| age < ENDPOINTS_LAST) => {
                return Ok(endpoints.clone());
            }
            (Some(endpoints), Some(_)) if age.is_some_and(|age| age < PAUSE) => return Ok(endpoints.clone()),
            (None, Some(failed)) if age.is_some_and(|age| age < PAUSE) => return Err(failed.clone()),
            _ => {}
        }
        let began = tokio::time::Instant::now();
        let discovered = discovery::discover(&self.settings, &self.outgoing).await;
        // As of the answer: who waited for it meanwhile does not ask again at once.
        known.asked_at = Some(now + began.elapsed());
        match discovered {
            Ok(endpoints) => {
                let endpoints = Arc::new(endpoints);
                known.endpoints = Some(endpoints.clone());
                *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(endpoints.clone());
                known.failed = None;
                Ok(endpoints)
            }
            Err(failed) => {
                tracing::warn!(provider = self.id(), error = %failed, "a provider's discovery failed");
                known.failed = Some(failed.clone());
                known.endpoints.clone().ok_or(failed)
            }
        }
    }

    fn last(&self) -> Option<Arc<Endpoints>> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it can be used, as far as is known: asked for lists, which shall not wait for it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.known
            .try_lock()
            .map_or(true, |known| known.endpoints.is_some() || known.failed.is_none())
    }

    /// Its keys; `anew` where those that are known did not fit.
    ///
    /// # Errors
    /// [`Unreachable`] where they cannot be had.
    pub(super) async fn keys(&self, anew: bool, now: Timestamp) -> Result<CoreJsonWebKeySet, Unreachable> {
        let endpoints = self.endpoints(now).await?;
        let url = endpoints
            .jwks
            .as_ref()
            .ok_or_else(|| Unreachable::because("it has no jwks_uri"))?;
        let mut fetched = self.keys.lock().await;
        let rested = fetched
            .at
            .is_none_or(|at| now.duration_since(at) >= KEYS_AT_MOST_EVERY);
        if (anew || fetched.keys.is_none()) && rested {
            fetched.at = Some(now);
            fetched.keys = Some(discovery::keys(&self.outgoing, url).await?);
        }
        fetched
            .keys
            .clone()
            .ok_or_else(|| Unreachable::because("its keys could not be had a moment ago"))
    }
}
