//! `private_key_jwt` (OpenID Connect Core 1.0, 9; RFC 7523, 3): we show who we are by a JWT that our key
//! has signed.

use identity_core::crypto::jwt::{Claims, SigningKey, TokenError};
use identity_core::crypto::random;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::json;

use super::model::Settings;

/// `client_assertion_type`
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// For how long an assertion is good.
const LIFETIME: SignedDuration = SignedDuration::from_mins(1);

/// The key of a provider whose `client_secret` is one.
///
/// # Errors
/// What is expected.
pub fn key(settings: &Settings) -> Result<SigningKey, String> {
    let pem = settings.client_secret.as_ref().map(ExposeSecret::expose_secret);
    SigningKey::from_pem(pem.unwrap_or_default())
        .map_err(|error| format!("client_secret: for private_key_jwt {error}"))
}

/// An assertion for the token endpoint `audience`.
///
/// # Errors
/// [`TokenError`] when there is no key that signs.
pub fn assertion(settings: &Settings, audience: &str, now: Timestamp) -> Result<String, TokenError> {
    let claims = Claims {
        issuer: settings.client_id.clone(),
        subject: settings.client_id.clone(),
        audience: vec![audience.to_owned()],
        issued_at: now,
        expires_at: now + LIFETIME,
        id: random::uuid().to_string(),
        own: json!({}),
    };
    key(settings).map_err(TokenError::new)?.sign(&claims, "JWT")
}
