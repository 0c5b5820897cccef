//! Random secrets that are handed out once, and the digests by which they are known afterwards: two
//! types, so that one is never stored for the other.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::random;

/// A secret of 256 random bits as its owner has it: base64url behind a prefix that tells what it is.
#[derive(Debug, Clone)]
pub struct PlainToken(SecretString);

/// The SHA-256 digest of a [`PlainToken`], in hex, as it is stored. Of 256 random bits no slow hash
/// is needed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenDigest(String);

impl PlainToken {
    /// A new one.
    #[must_use]
    pub fn generate(prefix: &str) -> Self {
        Self(format!("{prefix}{}", BASE64URL_NOPAD.encode(&random::bytes::<32>())).into())
    }

    /// One that a caller presents.
    #[must_use]
    pub fn presented(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(HEXLOWER.encode(&Sha256::digest(self.0.expose_secret())))
    }

    /// The text, to be shown to its owner once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl TokenDigest {
    /// One that was stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// Its text, for storage.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenDigest")
    }
}
