//! Public keys, which verify.

use std::collections::HashSet;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jwt_simple::algorithms::{
    ECDSAP256PublicKeyLike, ES256PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike, PS256PublicKey,
    RS256PublicKey, RSAPublicKeyLike,
};
use jwt_simple::claims::{Audiences, JWTClaims};
use jwt_simple::common::VerificationOptions;
use jwt_simple::reexports::coarsetime::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Algorithm, Claims, Expected, KeyError, LONGEST_TOKEN, TokenError, has_plausible_moments, header, seconds,
};

/// How far another's clock may differ from ours.
const CLOCK_TOLERANCE_SECONDS: u64 = 60;

/// The shortest RSA modulus that is accepted, in bytes.
const SHORTEST_MODULUS: usize = 256;

/// The public half of a key, ready to verify.
#[derive(Debug, Clone)]
pub struct PublicKey {
    kind: PublicKind,
    kid: String,
    jwk: Value,
    pem: String,
}

#[derive(Debug, Clone)]
enum PublicKind {
    /// One key, two paddings.
    Rsa(Box<RS256PublicKey>, Box<PS256PublicKey>),
    P256(Box<ES256PublicKey>),
    Ed25519(Ed25519PublicKey),
}

impl PublicKey {
    /// Reads a public key in PEM (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`KeyError`] for any other text, and for RSA keys under 2048 bits.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if let Ok(key) = Ed25519PublicKey::from_pem(pem) {
            return Self::ed25519(key);
        }
        match ES256PublicKey::from_pem(pem) {
            Ok(key) => Self::p256(key),
            Err(_) => Self::rsa(pem),
        }
    }

    /// Reads a key of a JWK set (RFC 7517): only what makes the key counts.
    ///
    /// # Errors
    /// [`KeyError`] for a key of another kind, or one that is not for signatures.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        if jwk.get("use").is_some_and(|r#use| r#use != "sig") {
            return Err(KeyError);
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).ok_or(KeyError);
        match (text("kty")?, jwk.get("crv").and_then(Value::as_str)) {
            ("RSA", _) => {
                let bytes = |name| {
                    BASE64URL_NOPAD
                        .decode(text(name)?.as_bytes())
                        .map_err(|_| KeyError)
                };
                let key =
                    RS256PublicKey::from_components(&bytes("n")?, &bytes("e")?).map_err(|_| KeyError)?;
                Self::rsa(&key.to_pem().map_err(|_| KeyError)?)
            }
            ("EC", Some("P-256")) => {
                let plain =
                    serde_json::json!({"kty": "EC", "crv": "P-256", "x": text("x")?, "y": text("y")?});
                Self::p256(ES256PublicKey::from_jwk(&plain.to_string()).map_err(|_| KeyError)?)
            }
            ("OKP", Some("Ed25519")) => {
                let plain = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": text("x")?});
                Self::ed25519(Ed25519PublicKey::from_jwk(&plain.to_string()).map_err(|_| KeyError)?)
            }
            _ => Err(KeyError),
        }
    }

    pub(super) fn rsa(pem: &str) -> Result<Self, KeyError> {
        let rs256 = RS256PublicKey::from_pem(pem).map_err(|_| KeyError)?;
        let ps256 = PS256PublicKey::from_pem(pem).map_err(|_| KeyError)?;
        if rs256
            .to_components()
            .n
            .iter()
            .skip_while(|byte| **byte == 0)
            .count()
            < SHORTEST_MODULUS
        {
            return Err(KeyError);
        }
        let pem = rs256.to_pem().map_err(|_| KeyError)?;
        let (kid, jwk) = (rs256.jwk_thumbprint(), rs256.to_jwk());
        Self::new(PublicKind::Rsa(Box::new(rs256), Box::new(ps256)), kid, &jwk, pem)
    }

    pub(super) fn p256(key: ES256PublicKey) -> Result<Self, KeyError> {
        let pem = key.to_pem().map_err(|_| KeyError)?;
        let (kid, jwk) = (key.jwk_thumbprint(), key.to_jwk());
        Self::new(PublicKind::P256(Box::new(key)), kid, &jwk, pem)
    }

    pub(super) fn ed25519(key: Ed25519PublicKey) -> Result<Self, KeyError> {
        let (kid, jwk, pem) = (key.jwk_thumbprint(), key.to_jwk(), key.to_pem());
        Self::new(PublicKind::Ed25519(key), kid, &jwk, pem)
    }

    fn new(kind: PublicKind, kid: String, jwk: &str, pem: String) -> Result<Self, KeyError> {
        let mut key = Self {
            kind,
            kid,
            jwk: serde_json::from_str(jwk).map_err(|_| KeyError)?,
            pem,
        };
        let (kid, algorithm) = (key.kid.clone(), key.algorithm());
        let jwk = key.jwk.as_object_mut().ok_or(KeyError)?;
        jwk.insert("kid".to_owned(), kid.into());
        jwk.insert("alg".to_owned(), algorithm.as_str().into());
        jwk.insert("use".to_owned(), "sig".into());
        Ok(key)
    }

    /// The key's id: its thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key in PEM (SubjectPublicKeyInfo).
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key as a JWK with `kid`, `alg` and `use`.
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// What the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.kind {
            PublicKind::Rsa(..) => Algorithm::RS256,
            PublicKind::P256(_) => Algorithm::ES256,
            PublicKind::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    /// Verifies a compact JWS of this key and what its claims say.
    ///
    /// RSA keys verify RS256 and PS256. `iss`, `sub`, `aud` and `exp` must be there.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify<C: Serialize + DeserializeOwned>(
        &self,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<Claims<C>, TokenError> {
        let options = VerificationOptions {
            required_signature_type: expected.typ.map(ToOwned::to_owned),
            allowed_issuers: Some(HashSet::from([expected.issuer.to_owned()])),
            allowed_audiences: expected
                .audiences
                .map(|all| all.iter().map(|&audience| audience.to_owned()).collect()),
            time_tolerance: Some(Duration::from_secs(CLOCK_TOLERANCE_SECONDS)),
            max_token_length: Some(LONGEST_TOKEN),
            artificial_time: Some(seconds(expected.now)),
            ..VerificationOptions::default()
        };
        let options = Some(options);
        let verified: Result<JWTClaims<C>, _> = match &self.kind {
            PublicKind::Rsa(_, ps256) if header(token)?.algorithm == "PS256" => {
                ps256.verify_token(token, options)
            }
            PublicKind::Rsa(rs256, _) => rs256.verify_token(token, options),
            PublicKind::P256(key) => key.verify_token(token, options),
            PublicKind::Ed25519(key) => key.verify_token(token, options),
        };
        let claims = verified.map_err(TokenError::new)?;
        if !has_plausible_moments(token) {
            return Err(TokenError::new("it names moments that there are not"));
        }
        let missing = |claim: &str| TokenError::new(format!("{claim} is missing"));
        let moment = |at: Duration| {
            i64::try_from(at.as_secs())
                .ok()
                .and_then(|at| Timestamp::from_second(at).ok())
        };
        let expires_at = claims.expires_at.and_then(moment).ok_or_else(|| missing("exp"))?;
        // jwt-simple's tolerance is meant for other clocks; what is over is over (RFC 7519, 4.1.4).
        // As a difference: the last moment there is has none behind it.
        if expected.now.duration_since(expires_at) >= expected.leeway {
            return Err(TokenError::new("it has expired"));
        }
        Ok(Claims {
            issuer: claims.issuer.ok_or_else(|| missing("iss"))?,
            subject: claims.subject.ok_or_else(|| missing("sub"))?,
            audience: match claims.audiences.ok_or_else(|| missing("aud"))? {
                Audiences::AsString(one) => vec![one],
                Audiences::AsSet(several) => several.into_iter().collect(),
            },
            issued_at: claims.issued_at.and_then(moment).unwrap_or(Timestamp::UNIX_EPOCH),
            expires_at,
            id: claims.jwt_id.unwrap_or_default(),
            own: claims.custom,
        })
    }
}
