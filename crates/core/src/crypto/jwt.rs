//! JSON Web Tokens (RFC 7519) and the keys that sign and verify them: the only file that names
//! jwt-simple.
//!
//! A key verifies with its own algorithm only, whatever a token's header says (RFC 8725, 3.1), and
//! no key is ever taken from a token. RSA signatures are made by aws-lc-rs: the pure-Rust RSA
//! behind jwt-simple is five times slower and not free of timing differences.

use std::collections::HashSet;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike, ECDSAP256PublicKeyLike, ES256KeyPair, ES256PublicKey, Ed25519KeyPair,
    Ed25519PublicKey, EdDSAKeyPairLike, EdDSAPublicKeyLike, HS256Key, HS384Key, HS512Key, MACLike,
    PS256PublicKey, RS256KeyPair, RS256PublicKey, RSAPublicKeyLike,
};
use jwt_simple::claims::{Audiences, JWTClaims};
use jwt_simple::common::{HeaderOptions, VerificationOptions};
use jwt_simple::reexports::coarsetime::Duration;
use jwt_simple::token::Token;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// How far another's clock may differ from ours.
const CLOCK_TOLERANCE_SECONDS: u64 = 60;

/// The shortest RSA modulus that is accepted, in bytes.
const SHORTEST_MODULUS: usize = 256;

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

/// The private half of a key, ready to sign.
pub struct SigningKey {
    kind: SigningKind,
    public: PublicKey,
    kid: String,
}

enum SigningKind {
    Rsa(Box<RsaKeyPair>, SystemRandom),
    P256(ES256KeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads a private key in PEM: PKCS #8, for RSA also PKCS #1.
    ///
    /// # Errors
    /// [`KeyError`] for any other text, and for RSA keys under 2048 bits.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pem(pem) {
            let public = PublicKey::ed25519(pair.public_key())?;
            let pair = pair.with_key_id(&public.kid);
            return Ok(Self {
                kid: public.kid.clone(),
                kind: SigningKind::Ed25519(pair),
                public,
            });
        }
        if let Ok(pair) = ES256KeyPair::from_pem(pem) {
            let public = PublicKey::p256(pair.public_key())?;
            let pair = pair.with_key_id(&public.kid);
            return Ok(Self {
                kid: public.kid.clone(),
                kind: SigningKind::P256(pair),
                public,
            });
        }
        let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError)? {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(KeyError),
        };
        let pair = pair.map_err(|_| KeyError)?;
        let public = RS256KeyPair::from_pem(pem).map_err(|_| KeyError)?.public_key();
        let public = PublicKey::rsa(public.to_pem().map_err(|_| KeyError)?.as_str())?;
        Ok(Self {
            kid: public.kid.clone(),
            kind: SigningKind::Rsa(Box::new(pair), SystemRandom::new()),
            public,
        })
    }

    /// Makes a new key and gives its PEM (PKCS #8).
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot be written.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<String>, KeyError> {
        let pem = match algorithm {
            Algorithm::RS256 => RS256KeyPair::generate(2048)
                .and_then(|pair| pair.to_pem())
                .map_err(|_| KeyError)?,
            Algorithm::ES256 => ES256KeyPair::generate().to_pem().map_err(|_| KeyError)?,
            Algorithm::EdDSA => Ed25519KeyPair::generate().to_pem(),
        };
        Ok(Zeroizing::new(pem))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `claims` into a compact JWS whose header has `kid` and `typ`.
    ///
    /// # Errors
    /// [`TokenError`] when the claims cannot be written.
    pub fn sign<C: Serialize>(&self, claims: &Claims<C>, typ: &str) -> Result<String, TokenError> {
        let claims = JWTClaims {
            issued_at: Some(seconds(claims.issued_at)),
            expires_at: Some(seconds(claims.expires_at)),
            invalid_before: Some(seconds(claims.issued_at)),
            issuer: Some(claims.issuer.clone()),
            subject: Some(claims.subject.clone()),
            audiences: Some(match claims.audience.as_slice() {
                [one] => Audiences::AsString(one.clone()),
                several => Audiences::AsSet(several.iter().cloned().collect()),
            }),
            jwt_id: Some(claims.id.clone()),
            nonce: None,
            custom: &claims.own,
        };
        let options = HeaderOptions {
            signature_type: Some(typ.to_owned()),
            ..HeaderOptions::default()
        };
        match &self.kind {
            SigningKind::P256(pair) => pair.sign_with_options(claims, &options).map_err(TokenError::new),
            SigningKind::Ed25519(pair) => pair.sign_with_options(claims, &options).map_err(TokenError::new),
            SigningKind::Rsa(pair, random) => {
                let header = serde_json::json!({"alg": "RS256", "kid": self.kid, "typ": typ});
                let claims = serde_json::to_vec(&claims).map_err(TokenError::new)?;
                let header = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
                let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(&claims));
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, signed.as_bytes(), &mut signature)
                    .map_err(|_| TokenError::new("RSA signature failed"))?;
                Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

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

    fn rsa(pem: &str) -> Result<Self, KeyError> {
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

    fn p256(key: ES256PublicKey) -> Result<Self, KeyError> {
        let pem = key.to_pem().map_err(|_| KeyError)?;
        let (kid, jwk) = (key.jwk_thumbprint(), key.to_jwk());
        Self::new(PublicKind::P256(Box::new(key)), kid, &jwk, pem)
    }

    fn ed25519(key: Ed25519PublicKey) -> Result<Self, KeyError> {
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
        let missing = |claim: &str| TokenError::new(format!("{claim} is missing"));
        let moment = |at: Duration| {
            i64::try_from(at.as_secs())
                .ok()
                .and_then(|at| Timestamp::from_second(at).ok())
        };
        let expires_at = claims.expires_at.and_then(moment).ok_or_else(|| missing("exp"))?;
        // jwt-simple's tolerance is meant for other clocks; what is over is over (RFC 7519, 4.1.4).
        if expires_at + expected.leeway <= expected.now {
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

#[cfg(test)]
mod shared_tests {
    use super::*;
    use serde_json::json;

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
