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
    /// `typ`
    pub typ: Option<String>,
}

impl Header {
    /// Whether it may be an access token of an issuer that does not type its tokens as ours are: a JWT of no special
    /// kind, or one by RFC 9068. ID tokens, logout tokens and all others that say what they are for are none
    /// (RFC 8725, 3.11 and 3.12).
    #[must_use]
    pub fn may_be_access_token(&self) -> bool {
        let Some(typ) = &self.typ else { return true };
        let typ = typ.to_ascii_lowercase();
        matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
    }
}

/// Reads a token's header.
///
/// # Errors
/// [`TokenError`] for what is no compact JWS, and for one whose header demands what is not understood here
/// (RFC 7515, 4.1.11).
pub fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::new("the token is too long"));
    }
    let metadata = Token::decode_metadata(token).map_err(TokenError::new)?;
    if metadata.critical().is_some() {
        return Err(TokenError::new("its header demands what is not understood here"));
    }
    Ok(Header {
        algorithm: metadata.algorithm().to_owned(),
        kid: metadata.key_id().map(ToOwned::to_owned),
        typ: metadata.signature_type().map(ToOwned::to_owned),
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

/// Whether a token has claims that only ID tokens have (OpenID Connect Core 1.0, 2): it tells a client who has signed
/// in, and opens nothing.
#[must_use]
pub fn is_id_token(token: &str) -> bool {
    let claims = unverified_claims(token).unwrap_or_default();
    ["nonce", "at_hash", "c_hash"]
        .iter()
        .any(|claim| claims.get(claim).is_some_and(|value| !value.is_null()))
}

/// The last second of the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// Whether all moments that a token names are some: jwt-simple lets numbers beyond 64 bits overflow.
fn has_plausible_moments(token: &str) -> bool {
    let claims = unverified_claims(token).unwrap_or_default();
    ["exp", "nbf", "iat"].iter().all(|name| match claims.get(name) {
        None | Some(Value::Null) => true,
        Some(moment) => moment
            .as_f64()
            .is_some_and(|moment| (0.0..=LATEST).contains(&moment)),
    })
}

fn unverified_text(token: &str, claim: &str) -> Option<String> {
    let claims = unverified_claims(token)?;
    claims.get(claim)?.as_str().map(ToOwned::to_owned)
}

fn unverified_claims(token: &str) -> Option<Value> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}
