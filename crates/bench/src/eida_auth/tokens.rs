//! Tokens, and the key that signed them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use identity_core::failure::Failure;
use pgp::composed::{
    ArmorOptions, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{CompressionAlgorithm, Password};
use rand::rngs::OsRng;
use serde_json::json;
use tempfile::TempDir;

use crate::load::Script;

const COUNT: usize = 600;

/// Signed tokens of 600 people.
pub struct Tokens {
    /// Armored.
    pub texts: Vec<String>,
    keys: TempDir,
}

impl Tokens {
    /// Makes a key and signs them.
    pub fn make() -> Result<Self, Failure> {
        let keys = TempDir::new().map_err(|error| Failure::because("making a directory", error))?;
        let secret = key()?;
        let public = SignedPublicKey::from(secret.clone()).to_armored_string(ArmorOptions::default());
        let public = public.map_err(|error| Failure::because("writing the key", error))?;
        std::fs::write(keys.path().join("key.asc"), public)
            .map_err(|error| Failure::because("writing the key", error))?;
        let texts = (0..COUNT).map(|number| token(&secret, number));
        let texts = texts.collect::<Result<_, _>>()?;
        Ok(Self { texts, keys })
    }

    /// The folder with the public key.
    pub fn dir(&self) -> &Path {
        self.keys.path()
    }

    /// The public key, armored.
    pub fn key(&self) -> PathBuf {
        self.dir().join("key.asc")
    }

    /// Any of the tokens, each as often as the others.
    pub fn script(&self) -> Script {
        let mut lua = "local tokens = {\n".to_owned();
        for token in &self.texts {
            // Writing to a String cannot fail.
            let _ = writeln!(lua, "[==[{token}]==],");
        }
        let _ = write!(
            lua,
            "}}\nfunction request() return wrk.format('POST', '/', {{}}, tokens[math.random(1, {})]) end",
            self.texts.len()
        );
        Script::changing(&lua)
    }
}

fn key() -> Result<SignedSecretKey, Failure> {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Rsa(2048))
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Signer <signer@example.org>".to_owned());
    let parameters = parameters.build();
    let parameters = parameters.map_err(|error| Failure::because("making a key", error))?;
    parameters
        .generate(OsRng)
        .map_err(|error| Failure::because("making a key", error))
}

/// As they come in practice: ZIP, and SHA-1.
fn token(secret: &SignedSecretKey, number: usize) -> Result<String, Failure> {
    let content = json!({
        "valid_until": "2099-12-31T12:00:00.000000Z",
        "cn": format!("Jane Doe {number}"),
        "memberof": "/epos/alparray;/epos/other;/",
        "sn": "Doe",
        "issued": "2026-11-24T00:00:00.123456Z",
        "mail": format!("jane{number}@example.org"),
        "givenName": "Jane",
        "expiration": "1m",
    });
    let mut message = MessageBuilder::from_bytes("", content.to_string());
    message.compression(CompressionAlgorithm::ZIP);
    message.sign(&secret.primary_key, Password::empty(), HashAlgorithm::Sha1);
    let armored = message.to_armored_string(OsRng, ArmorOptions::default());
    armored.map_err(|error| Failure::because("signing a token", error))
}
