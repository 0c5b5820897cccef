//! Private keys, which sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256};
use data_encoding::BASE64URL_NOPAD;
use jwt_simple::algorithms::{self as jwt, ECDSAP256PublicKeyLike, ES256KeyPair, RS256KeyPair};
use jwt_simple::claims::{Audiences, JWTClaims};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Algorithm, Claims, KeyError, PublicKey, TokenError, seconds};

/// The private half of a key, ready to sign. jwt-simple reads it, aws-lc-rs signs with it.
pub struct SigningKey {
    pair: Pair,
    random: SystemRandom,
    public: PublicKey,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads a private key in PEM: PKCS #8, for RSA also PKCS #1.
    ///
    /// # Errors
    /// [`KeyError`] for any other text, and for RSA keys under 2048 bits.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (pair, public) = if let Ok(read) = jwt::Ed25519KeyPair::from_pem(pem) {
            ed25519(&read)?
        } else if let Ok(read) = ES256KeyPair::from_pem(pem) {
            p256(&read)?
        } else {
            rsa(pem)?
        };
        Ok(Self {
            pair,
            random: SystemRandom::new(),
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
            Algorithm::EdDSA => jwt::Ed25519KeyPair::generate().to_pem(),
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
        let (alg, kid) = (self.public.algorithm().as_str(), self.public.kid());
        let header = serde_json::json!({"alg": alg, "kid": kid, "typ": typ});
        let claims = serde_json::to_vec(&claims).map_err(TokenError::new)?;
        let mut token = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        token.push('.');
        BASE64URL_NOPAD.encode_append(&claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }

    pub(crate) fn signature(&self, signed: &[u8]) -> Result<Vec<u8>, TokenError> {
        let failed = |_| TokenError::new("signing failed");
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.try_sign(signed).map_err(failed)?.as_ref().to_vec()),
            Pair::P256(pair) => Ok(pair.sign(&self.random, signed).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, signed, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// Its bytes are the seed and the public half (RFC 8032, 5.1.5).
fn ed25519(read: &jwt::Ed25519KeyPair) -> Result<(Pair, PublicKey), KeyError> {
    let bytes = Zeroizing::new(read.to_bytes());
    let (seed, public) = bytes.split_at_checked(32).ok_or(KeyError)?;
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| KeyError)?;
    Ok((
        Pair::Ed25519(Box::new(pair)),
        PublicKey::ed25519(read.public_key())?,
    ))
}

fn p256(read: &ES256KeyPair) -> Result<(Pair, PublicKey), KeyError> {
    let secret = Zeroizing::new(read.to_bytes());
    let point = read.public_key().public_key().to_bytes_uncompressed();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &secret, &point);
    let pair = pair.map_err(|_| KeyError)?;
    Ok((Pair::P256(Box::new(pair)), PublicKey::p256(read.public_key())?))
}

fn rsa(pem: &str) -> Result<(Pair, PublicKey), KeyError> {
    let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError)? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(KeyError),
    };
    let pair = pair.map_err(|_| KeyError)?;
    let public = RS256KeyPair::from_pem(pem).map_err(|_| KeyError)?.public_key();
    let public = PublicKey::rsa(public.to_pem().map_err(|_| KeyError)?.as_str())?;
    Ok((Pair::Rsa(Box::new(pair)), public))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.public.kid())
            .finish_non_exhaustive()
    }
}
