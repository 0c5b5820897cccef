//! Who a person is at a provider: by the ID token, verified (OpenID Connect Core 1.0, 3.1.3.7), and by the
//! userinfo endpoint where that says more.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use identity_core::failure::causes;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{ClientId, IssuerUrl, Nonce};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::protocol::{Obtained, ProviderError};
use super::provider::{Identity, Provider};
use super::wire::{Unreachable, receive};
use crate::access::is_subject;

/// How far the provider's clock may differ from ours.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// Signatures of keys that only the provider has; a shared secret signs nothing here.
const ASYMMETRIC: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

impl Provider {
    /// Who the owner of `obtained` is, whose authorization was begun with `nonce`.
    ///
    /// # Errors
    /// [`ProviderError::Identity`] for an ID token that cannot be believed. A userinfo endpoint that fails
    /// is no error: it is only not known then what it would have said.
    pub async fn identity(
        &self,
        obtained: &Obtained,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Identity, ProviderError> {
        let endpoints = self.endpoints(now).await?;
        let mut claims = match (&obtained.id_token, &endpoints.issuer) {
            (Some(token), Some(issuer)) => Some(self.verify(token, issuer, nonce, now).await?),
            _ => None,
        };
        let says_enough = claims.as_ref().is_some_and(|claims| claims.contains_key("email"));
        if let (false, Some(url)) = (says_enough, &endpoints.userinfo) {
            match self.userinfo(url.clone(), &obtained.access_token).await {
                Ok(said) => claims = Some(merged(claims, said)?),
                Err(error) => {
                    tracing::info!(provider = self.id(), %error, "userinfo could not be had");
                }
            }
        }
        Ok(identity(claims.unwrap_or_default()))
    }

    /// The claims of an ID token, verified.
    async fn verify(
        &self,
        token: &SecretString,
        issuer: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, ProviderError> {
        let refused = |reason: String| ProviderError::Identity(format!("the ID token is refused: {reason}"));
        let expected = Expected {
            issuer,
            client: &self.settings.client_id,
            nonce,
            now,
        };
        let token = token.expose_secret();
        let claims = match expected.claims(token, self.keys(false, now).await?) {
            Ok(claims) => Ok(claims),
            // Its keys may have changed.
            Err(_) => expected.claims(token, self.keys(true, now).await?),
        };
        claims.map_err(refused)
    }

    async fn userinfo(&self, url: url::Url, token: &SecretString) -> Result<Map<String, Value>, Unreachable> {
        let request = self.outgoing.request(Method::GET, url);
        let request = request.map_err(|error| Unreachable::because(error.to_string()))?;
        let request = request
            .bearer_auth(token.expose_secret())
            .header(reqwest::header::ACCEPT, "application/json");
        let (status, body) = receive(request).await?;
        if !status.is_success() {
            return Err(Unreachable::because(format!(
                "its userinfo endpoint answered {status}"
            )));
        }
        serde_json::from_slice(&body).map_err(|_| Unreachable::because("its userinfo is nonsense"))
    }
}

/// What an ID token must say.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) now: Timestamp,
}

impl Expected<'_> {
    /// The claims of an ID token that one of `keys` has signed.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn claims(&self, token: &str, keys: CoreJsonWebKeySet) -> Result<Map<String, Value>, String> {
        let parsed = CoreIdToken::from_str(token).map_err(|error| error.to_string())?;
        let issuer = IssuerUrl::new(self.issuer.to_owned()).map_err(|error| error.to_string())?;
        let seconds = u64::try_from((self.now - LEEWAY).as_second()).unwrap_or_default();
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let verifier =
            CoreIdTokenVerifier::new_public_client(ClientId::new(self.client.to_owned()), issuer, keys)
                .set_allowed_algs(ASYMMETRIC)
                .set_time_fn(move || moment.into());
        parsed
            .claims(&verifier, &Nonce::new(self.nonce.to_owned()))
            .map_err(|error| causes(&error))?;
        // The signature is over this very text.
        let payload = token.split('.').nth(1).unwrap_or_default();
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap_or_default();
        serde_json::from_slice(&payload).map_err(|error| error.to_string())
    }
}

/// OpenID Connect Core 1.0, 5.3.2: userinfo of another subject is no use. The signed claims win.
pub(crate) fn merged(
    signed: Option<Map<String, Value>>,
    mut said: Map<String, Value>,
) -> Result<Map<String, Value>, ProviderError> {
    let Some(signed) = signed else {
        return Ok(said);
    };
    if said.get("sub").is_some_and(|sub| signed.get("sub") != Some(sub)) {
        return Err(ProviderError::Identity(
            "userinfo is of another subject".to_owned(),
        ));
    }
    said.extend(signed);
    Ok(said)
}

pub(crate) fn identity(claims: Map<String, Value>) -> Identity {
    let text = |name: &str| match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    // Never shortened: two people would be one.
    let subject = text("sub").or_else(|| text("id")).filter(|text| is_subject(text));
    let account = ["email", "preferred_username", "login", "username", "name"]
        .into_iter()
        .find_map(|name| {
            text(name)
                .map(|text| shown(&text))
                .filter(|text| !text.is_empty())
        })
        .or_else(|| subject.clone());
    Identity {
        subject,
        account,
        claims: Value::Object(claims),
    }
}

/// A name as pages show it: no control characters, not too long.
fn shown(text: &str) -> String {
    let characters = text.chars().filter(|character| !character.is_control());
    characters.take(255).collect()
}
