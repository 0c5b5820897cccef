//! Secrets that both sign and verify, for a service that accepts its own tokens only.

use data_encoding::BASE64URL_NOPAD;
use jwt_simple::algorithms::{HS256Key, HS384Key, HS512Key, MACLike};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{TokenError, header};

/// What a shared secret signs with (RFC 7518, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

impl SharedAlgorithm {
    /// The name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// The shortest secret that it may be used with, in bytes: as long as the hash.
    #[must_use]
    pub fn shortest_secret(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

/// A secret that signs tokens and verifies them, for who issues and accepts them alone.
pub struct SharedKey {
    kind: SharedKind,
    algorithm: SharedAlgorithm,
}

enum SharedKind {
    Hs256(HS256Key),
    Hs384(HS384Key),
    Hs512(HS512Key),
}

impl SharedKey {
    /// The key of `secret`; none where that is too short for `algorithm`.
    #[must_use]
    pub fn new(algorithm: SharedAlgorithm, secret: &[u8]) -> Option<Self> {
        if secret.len() < algorithm.shortest_secret() {
            return None;
        }
        let kind = match algorithm {
            SharedAlgorithm::HS256 => SharedKind::Hs256(HS256Key::from_bytes(secret)),
            SharedAlgorithm::HS384 => SharedKind::Hs384(HS384Key::from_bytes(secret)),
            SharedAlgorithm::HS512 => SharedKind::Hs512(HS512Key::from_bytes(secret)),
        };
        Some(Self { kind, algorithm })
    }

    /// Signs `claims`, an object, into a compact JWS; the same claims give the same token.
    ///
    /// # Errors
    /// [`TokenError`] when the claims cannot be written.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let header = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm.as_str());
        let claims = serde_json::to_vec(claims).map_err(TokenError::new)?;
        let header = BASE64URL_NOPAD.encode(header.as_bytes());
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(&claims));
        let signature = BASE64URL_NOPAD.encode(&self.tag(&signed));
        Ok(format!("{signed}.{signature}"))
    }

    /// The claims of a token of this key and algorithm. What they say, also of times, is the
    /// caller's to check.
    ///
    /// # Errors
    /// [`TokenError`] for any other token.
    pub fn claims<C: DeserializeOwned>(&self, token: &str) -> Result<C, TokenError> {
        let foreign = || TokenError::new("it is not signed by this key");
        if header(token)?.algorithm != self.algorithm.as_str() {
            return Err(foreign());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(foreign)?;
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .map_err(|_| foreign())?;
        if !bool::from(self.tag(signed).as_slice().ct_eq(&signature)) {
            return Err(foreign());
        }
        let (_, claims) = signed.split_once('.').ok_or_else(foreign)?;
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).map_err(|_| foreign())?;
        serde_json::from_slice(&claims).map_err(TokenError::new)
    }

    fn tag(&self, signed: &str) -> Vec<u8> {
        let signed = signed.as_bytes();
        match &self.kind {
            SharedKind::Hs256(key) => key.authentication_tag(signed),
            SharedKind::Hs384(key) => key.authentication_tag(signed),
            SharedKind::Hs512(key) => key.authentication_tag(signed),
        }
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SharedKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_shared_key_accepts_its_own_tokens_only() {
        let secret = [7; 64];
        let key = SharedKey::new(SharedAlgorithm::HS256, &secret).unwrap();
        let claims = json!({"jti": "1", "sub": "Mei"});
        let token = key.sign(&claims).unwrap();
        assert_eq!(token, key.sign(&claims).unwrap());
        assert_eq!(key.claims::<Value>(&token).unwrap(), claims);
        let longer = SharedKey::new(SharedAlgorithm::HS512, &secret).unwrap();
        assert!(longer.claims::<Value>(&token).is_err(), "another algorithm");
        let other = SharedKey::new(SharedAlgorithm::HS256, &[8; 64]).unwrap();
        assert!(other.claims::<Value>(&token).is_err(), "another secret");
        let none = format!("{}.", BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#));
        let (_, rest) = token.split_once('.').unwrap();
        for forged in [
            format!("{none}{}", rest.split_once('.').unwrap().0),
            format!("{none}{rest}"),
            format!("{token}A"),
            token.replace('.', ""),
            String::new(),
        ] {
            assert!(key.claims::<Value>(&forged).is_err(), "{forged}");
        }
    }

    #[test]
    fn the_example_of_rfc_7515_is_verified() {
        // Appendix A.1; the claims hold line ends, which a signature covers as they stand.
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = SharedKey::new(
            SharedAlgorithm::HS256,
            &BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap(),
        )
        .unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQo\
            gImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(key.claims::<Value>(token).unwrap()["iss"], "joe");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(SharedKey::new(SharedAlgorithm::HS256, &[1; 31]).is_none());
        assert!(SharedKey::new(SharedAlgorithm::HS384, &[1; 47]).is_none());
    }
}
