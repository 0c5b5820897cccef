//! Signed tokens for eida-auth.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_core::clock::Clock;
use jiff::SignedDuration;
use pgp::composed::{
    ArmorOptions, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::Password;
use rand::rngs::OsRng;
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::Client;

/// The path whose members may see a network.
const PATH: &str = "/epos/alparray";

/// A key that signs, and a directory with its public half.
pub struct Signer {
    key: SignedSecretKey,
    keyring: TempDir,
}

impl Signer {
    pub fn new() -> Self {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Signer <signer@example.org>".to_owned());
        let key = parameters.build().unwrap().generate(OsRng).unwrap();
        let keyring = TempDir::new().unwrap();
        let public = SignedPublicKey::from(key.clone());
        let public = public.to_armored_string(ArmorOptions::default()).unwrap();
        std::fs::write(keyring.path().join("signer.asc"), public).unwrap();
        Self { key, keyring }
    }

    /// The setting that trusts it.
    pub fn setting(&self) -> String {
        format!("keyring={}", self.keyring.path().display())
    }

    /// A token of an hour, told from others by `note`.
    pub fn token(&self, note: &str) -> String {
        let end = Clock::system().now() + SignedDuration::from_hours(1);
        let content = json!({"valid_until": end, "memberof": PATH, "cn": note}).to_string();
        let mut message = MessageBuilder::from_bytes("", content);
        message.sign(&self.key.primary_key, Password::empty(), HashAlgorithm::Sha256);
        message.to_armored_string(OsRng, ArmorOptions::default()).unwrap()
    }

    /// Maps what its tokens name to a network, in the service's own tables.
    pub async fn map(&self, client: &Client) {
        let sql = format!(
            "INSERT INTO networks (network, start_year, end_year) VALUES ('Z3', 2015, 2022);
             INSERT INTO epos_fdsn VALUES ('{PATH}', 'Z3', 2015, 2022)"
        );
        client.batch_execute(&sql).await.unwrap();
    }
}
