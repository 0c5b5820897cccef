//! Private keys, which sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use data_encoding::BASE64URL_NOPAD;
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike, ES256KeyPair, Ed25519KeyPair, EdDSAKeyPairLike, RS256KeyPair,
};
use jwt_simple::claims::{Audiences, JWTClaims};
use jwt_simple::common::HeaderOptions;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Algorithm, Claims, KeyError, PublicKey, TokenError, seconds};

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
            let pair = pair.with_key_id(public.kid());
            return Ok(Self {
                kid: public.kid().to_owned(),
                kind: SigningKind::Ed25519(pair),
                public,
            });
        }
        if let Ok(pair) = ES256KeyPair::from_pem(pem) {
            let public = PublicKey::p256(pair.public_key())?;
            let pair = pair.with_key_id(public.kid());
            return Ok(Self {
                kid: public.kid().to_owned(),
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
            kid: public.kid().to_owned(),
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
