//! JSON Web Tokens (RFC 7519) and the keys that sign and verify them: the only folder that names
//! jwt-simple.
//!
//! A key verifies with its own algorithm only, whatever a token's header says (RFC 8725, 3.1), and
//! no key is ever taken from a token. Signatures are made by aws-lc-rs, which is faster than the
//! pure Rust behind jwt-simple, and for RSA free of its timing differences.

mod public;
mod shared;
mod signing;

use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use jwt_simple::reexports::coarsetime::Duration;
use jwt_simple::token::Token;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use public::PublicKey;
pub use shared::{SharedAlgorithm, SharedKey};
pub use signing::SigningKey;

/// The longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// What a key signs with (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a PEM of an RSA key of at least 2048 bits, a P-256 key or an Ed25519 key")]
pub struct KeyError;

/// A token that is not accepted; which of the many reasons it was, only the log shall know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(String);

impl TokenError {
    /// A token that is refused for `reason`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
    pub fn new(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

/// The claims of a token: the registered ones that we know, and `C` of a service's own.
#[derive(Debug, Clone)]
pub struct Claims<C> {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// `aud`
    pub audience: Vec<String>,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
    /// `jti`
    pub id: String,
    /// All others.
    pub own: C,
}

/// What a token must say.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// Of which `aud` must name one; none: it may name any.
    pub audiences: Option<&'a [&'a str]>,
    /// `typ`, in any case; none: whichever a JWT may have.
    pub typ: Option<&'a str>,
    /// The present moment.
    pub now: Timestamp,
    /// For how long after `exp` a token still holds, because the issuer's clock may be another.
    pub leeway: SignedDuration,
}

fn seconds(moment: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(moment.as_second()).unwrap_or(0))
}

/// What a token says of itself, unverified: good for nothing but to look up the key.
#[derive(Debug)]
pub struct Header {
    /// `alg`
    pub algorithm: String,
    /// `kid`
    pub kid: Option<String>,
}

/// Reads a token's header.
///
/// # Errors
/// [`TokenError`] for what is no compact JWS.
pub fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::new("the token is too long"));
    }
    let metadata = Token::decode_metadata(token).map_err(TokenError::new)?;
    Ok(Header {
        algorithm: metadata.algorithm().to_owned(),
        kid: metadata.key_id().map(ToOwned::to_owned),
    })
}

/// Whose token it says it is, unverified: good for nothing but to look up the issuer.
#[must_use]
pub fn unverified_issuer(token: &str) -> Option<String> {
    unverified_text(token, "iss")
}

/// The claim `jti` of a token, unverified: good for nothing but to look up its key.
#[must_use]
pub fn unverified_id(token: &str) -> Option<String> {
    unverified_text(token, "jti")
}

fn unverified_text(token: &str, claim: &str) -> Option<String> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get(claim)?.as_str().map(ToOwned::to_owned)
}
