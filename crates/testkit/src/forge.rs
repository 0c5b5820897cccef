//! Who forges tokens (RFC 8725): with a key that is known, or with none that counts.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use identity_core::crypto::jwt::{Algorithm, SigningKey};
use serde_json::Value;
use sha2::Sha256;

use crate::issuer::ForeignIssuer;

/// A key of which the test knows the private half, and which signs whatever it is given.
pub struct Forge {
    /// The key as the services use it.
    pub key: SigningKey,
    /// Its private half.
    pub pem: String,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Forge {
    /// A new key: RS256, or else ES256.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let pem = match algorithm {
            Algorithm::RS256 => SigningKey::generate(Algorithm::RS256),
            _ => SigningKey::generate(Algorithm::ES256),
        };
        let pem = pem.unwrap().to_string();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64.decode(der.as_bytes()).unwrap();
        let pair = match algorithm {
            Algorithm::RS256 => Pair::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
            _ => Pair::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap()),
        };
        Self {
            key: SigningKey::from_pem(&pem).unwrap(),
            pem,
            pair,
        }
    }

    /// An issuer whose key this is.
    #[must_use]
    pub fn issuer(&self) -> ForeignIssuer {
        ForeignIssuer::with_key(SigningKey::from_pem(&self.pem).unwrap())
    }

    /// Both as they stand, also where they are no JSON that anybody should write.
    #[must_use]
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let made = pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature);
                made.unwrap();
                signature
            }
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Header and claims without a signature, and without the dot before it.
#[must_use]
pub fn unsigned(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// Signed with HS256 under `secret`, as who takes a public key for a shared secret would verify it.
#[must_use]
pub fn signed_by_mac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let mut header = header.clone();
    header["alg"] = "HS256".into();
    let signed = unsigned(&header.to_string(), &claims.to_string());
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    let tag = BASE64URL_NOPAD.encode(&mac.finalize().into_bytes());
    format!("{signed}.{tag}")
}

/// A part of a token, read: 0 its header, 1 its claims.
#[must_use]
pub fn part_of(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

/// What a forger makes of a good token of `algorithm`, whose verification key is `jwk` and `pem`; `evil` is an
/// address of the forger's.
#[must_use]
pub fn forgeries(good: &str, jwk: &Value, pem: &str, evil: &str) -> Vec<(String, String)> {
    let (header, claims) = (part_of(good, 0), part_of(good, 1));
    let (text, signature) = (claims.to_string(), good.rsplit_once('.').unwrap().1);
    let stranger = Forge::new(Algorithm::ES256);
    let with = |alg: &str, name: &str, value: Value| {
        let mut changed = header.clone();
        changed["alg"] = alg.into();
        changed[name] = value;
        changed.to_string()
    };
    let mut forged: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(none, "typ", "JWT".into());
        add("alg none", format!("{}.", unsigned(&header, &text)));
        add(
            "alg none, signed",
            format!("{}.{signature}", unsigned(&header, &text)),
        );
    }
    for (what, secret) in [
        ("HMAC under the PEM", pem.as_bytes()),
        ("HMAC under the trimmed PEM", pem.trim().as_bytes()),
        ("HMAC under the JWK", jwk.to_string().as_bytes()),
        ("HMAC under nothing", b"".as_slice()),
    ] {
        add(what, signed_by_mac(&header, &claims, secret));
    }
    let mine = stranger.key.public().jwk().clone();
    let keys = format!("{evil}/keys");
    for (name, value) in [
        ("kid", header["kid"].clone()),
        ("jwk", mine.clone()),
        ("jku", keys.clone().into()),
        ("x5u", keys.clone().into()),
        ("kid", keys.into()),
        ("kid", "../../../../dev/null".into()),
        ("kid", "' OR '1'='1".into()),
        ("kid", "\u{0}".into()),
        ("kid", 7.into()),
    ] {
        add(
            &format!("a key of mine, {name}"),
            stranger.sign(&with("ES256", name, value), &text),
        );
    }
    for other in [
        "RS256", "PS256", "RS384", "RS512", "ES256", "ES256K", "ES384", "EdDSA", "HS256", "HS512",
    ] {
        if header["alg"] != other {
            let header = with(other, "typ", "JWT".into());
            add(
                &format!("called {other}"),
                format!("{}.{signature}", unsigned(&header, &text)),
            );
        }
    }
    let mut later = claims.clone();
    later["exp"] = 4_000_000_000_u64.into();
    let later = later.to_string();
    add(
        "changed claims",
        format!("{}.{signature}", unsigned(&header.to_string(), &later)),
    );
    let signed = good.rsplit_once('.').unwrap().0;
    for zeros in [0, 32, 63, 64, 256] {
        let signature = BASE64URL_NOPAD.encode(&vec![0; zeros]);
        add(&format!("{zeros} zeros"), format!("{signed}.{signature}"));
    }
    for (what, token) in [
        ("without a signature", signed.to_owned()),
        ("padded", format!("{good}==")),
        ("four parts", format!("{good}.AA")),
        ("five parts", format!("{good}.AA.AA")),
        ("too long", format!("{signed}.{}", "A".repeat(20_000))),
    ] {
        add(what, token);
    }
    forged
}
