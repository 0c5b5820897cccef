//! Other issuers whose tokens are accepted: their keys are fetched, kept, and fetched again when a
//! token names one that is not known, at most once a minute.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::jwt::{self, Claims, Expected, PublicKey, TokenError};
use crate::outgoing::Outgoing;

/// The largest document that is read, in bytes.
const LARGEST_DOCUMENT: usize = 256 * 1024;
/// The most keys of an issuer that are read.
const MOST_KEYS: usize = 100;
/// Between two fetches of an issuer's keys.
const FETCH_AT_MOST_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// After this long keys are fetched anew, so that what an issuer withdraws is not accepted for ever.
const KEYS_LAST: SignedDuration = SignedDuration::from_hours(1);
/// How far an issuer's clock may differ from ours.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// `[[auth.trusted_issuers]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are; by discovery where it is not said.
    pub jwks_uri: Option<Url>,
    /// The `aud` that its tokens must name.
    pub audience: String,
}

/// A token of another issuer that is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self(error.to_string())
    }
}

/// All trusted issuers. Clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<[Issuer]>);

/// One trusted issuer.
#[derive(Debug)]
pub struct Issuer {
    settings: Settings,
    outgoing: Outgoing,
    known: Mutex<Fetched>,
    /// Held while its keys are fetched.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Vec<(Option<String>, PublicKey)>,
    at: Option<Timestamp>,
}

impl Issuers {
    /// The issuers of `settings`, reached through `outgoing`.
    #[must_use]
    pub fn new(settings: Vec<Settings>, outgoing: &Outgoing) -> Self {
        let issuers = settings.into_iter();
        Self(
            issuers
                .map(|settings| Issuer {
                    settings,
                    outgoing: outgoing.clone(),
                    known: Mutex::default(),
                    fetching: tokio::sync::Mutex::default(),
                })
                .collect(),
        )
    }

    /// The trusted issuer that `token` says it is of, unverified.
    #[must_use]
    pub fn issuer_of(&self, token: &str) -> Option<&Issuer> {
        if self.0.is_empty() {
            return None;
        }
        let issuer = jwt::unverified_issuer(token)?;
        self.0.iter().find(|known| known.settings.issuer == issuer)
    }
}

impl Issuer {
    /// Verifies a token of this issuer.
    ///
    /// # Errors
    /// [`Refused`], also when its keys cannot be had.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims<Value>, Refused> {
        let header = jwt::header(token)?;
        if !header.may_be_access_token() || jwt::is_id_token(token) {
            return Err(Refused("it is a token for another purpose".to_owned()));
        }
        let key = self.key(header.kid.as_deref(), now).await?;
        let audiences = [self.settings.audience.as_str()];
        let expected = Expected {
            issuer: &self.settings.issuer,
            audiences: Some(&audiences),
            typ: None,
            now,
            leeway: LEEWAY,
        };
        Ok(key.verify(token, &expected)?)
    }

    /// A key that is known and fresh is had without waiting: an issuer that is slow holds up only who
    /// needs a new one.
    async fn key(&self, kid: Option<&str>, now: Timestamp) -> Result<PublicKey, Refused> {
        if let Some(key) = self.known(|known| known.find_fresh(kid, now)) {
            return Ok(key);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(key) = self.known(|known| known.find_fresh(kid, now)) {
            return Ok(key);
        }
        if self.known(|known| known.may_fetch(now)) {
            // Noted before: an issuer that does not answer is not asked by every request.
            self.known(|known| known.at = Some(now));
            match self.fetch().await {
                Ok(keys) => self.known(|known| known.keys = keys),
                Err(error) => {
                    tracing::warn!(issuer = self.settings.issuer, %error, "the keys of a trusted issuer cannot be had");
                }
            }
        }
        self.known(|known| known.find(kid).cloned())
            .ok_or_else(|| Refused("no key of the issuer fits".to_owned()))
    }

    fn known<T>(&self, look: impl FnOnce(&mut Fetched) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch(&self) -> Result<Vec<(Option<String>, PublicKey)>, Refused> {
        let uri = match &self.settings.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discover().await?,
        };
        let document = self.get(uri).await?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| Refused("no JWK set".to_owned()))?;
        // Keys of kinds that we do not know are for others.
        let known = keys.iter().take(MOST_KEYS).filter_map(|jwk| {
            let kid = jwk.get("kid").and_then(Value::as_str).map(ToOwned::to_owned);
            Some((kid, PublicKey::from_jwk(jwk).ok()?))
        });
        Ok(known.collect())
    }

    /// OpenID Connect Discovery 1.0, 4: the document must be of the very issuer.
    async fn discover(&self) -> Result<Url, Refused> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let address = Url::parse(&format!("{issuer}/.well-known/openid-configuration"));
        let document = self
            .get(address.map_err(|error| Refused(error.to_string()))?)
            .await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("issuer") != self.settings.issuer {
            return Err(Refused("the discovered issuer is another".to_owned()));
        }
        Url::parse(text("jwks_uri")).map_err(|error| Refused(format!("jwks_uri: {error}")))
    }

    async fn get(&self, url: Url) -> Result<Value, Refused> {
        let failed = |error: &dyn std::error::Error| Refused(crate::failure::causes(error));
        let request = self
            .outgoing
            .request(Method::GET, url)
            .map_err(|error| failed(&error))?;
        let mut answer = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_DOCUMENT {
                return Err(Refused("the document is too large".to_owned()));
            }
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    }
}

impl Fetched {
    fn find_fresh(&self, kid: Option<&str>, now: Timestamp) -> Option<PublicKey> {
        let fresh = self.at.is_some_and(|at| now.duration_since(at) < KEYS_LAST);
        self.find(kid).filter(|_| fresh).cloned()
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        self.at
            .is_none_or(|at| now.duration_since(at) >= FETCH_AT_MOST_EVERY)
    }

    /// The key of this id; without an id the only one there is.
    fn find(&self, kid: Option<&str>) -> Option<&PublicKey> {
        match (kid, self.keys.as_slice()) {
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
            (Some(kid), keys) => keys
                .iter()
                .find(|(known, _)| known.as_deref() == Some(kid))
                .map(|(_, key)| key),
        }
    }
}
