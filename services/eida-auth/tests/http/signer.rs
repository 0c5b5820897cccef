//! Tokens as the tests need them, signed in this process, and what one sees of a login in the database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_core::db::tokio_postgres::Client;
use identity_testkit::TestService;
use md5::{Digest, Md5};
use pgp::composed::{
    ArmorOptions, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{CompressionAlgorithm, Password};
use rand::rngs::OsRng;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::EIDA;

/// The path whose members may see something in most tests.
pub const PATH: &str = "/epos/alparray";

/// A key that signs, and a directory with its public half.
pub struct Signer {
    key: SignedSecretKey,
    directory: TempDir,
}

impl Signer {
    pub fn new() -> Self {
        let signer = Self {
            key: secret_key(),
            directory: TempDir::new().unwrap(),
        };
        std::fs::write(signer.directory.path().join("signer.asc"), signer.public()).unwrap();
        signer
    }

    /// Its public key, armored.
    pub fn public(&self) -> String {
        let public = SignedPublicKey::from(self.key.clone());
        public.to_armored_string(ArmorOptions::default()).unwrap()
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The setting that trusts it.
    pub fn setting(&self) -> String {
        format!("keyring={}", self.directory.path().display())
    }

    /// A message with `content`.
    pub fn sign(&self, content: &str) -> String {
        let mut message = MessageBuilder::from_bytes("", content.to_owned());
        message.compression(CompressionAlgorithm::ZIP);
        message.sign(&self.key.primary_key, Password::empty(), HashAlgorithm::Sha256);
        message.to_armored_string(OsRng, ArmorOptions::default()).unwrap()
    }

    /// A token that names `memberof`, `seconds` of validity from `now` on, and what sets it apart.
    pub fn token(&self, eida: &TestService, memberof: &str, seconds: i64, note: &str) -> String {
        let end = eida.clock.now() + jiff::SignedDuration::from_secs(seconds);
        self.sign(&json!({"valid_until": end, "memberof": memberof, "cn": note}).to_string())
    }
}

fn secret_key() -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Signer <signer@example.org>".to_owned());
    parameters.build().unwrap().generate(OsRng).unwrap()
}

/// An instance that trusts a new signer, with one mapped network.
pub async fn started(settings: &[&str]) -> (TestService, Signer) {
    let signer = Signer::new();
    let keyring = signer.setting();
    let settings: Vec<&str> = std::iter::once(keyring.as_str())
        .chain(settings.iter().copied())
        .collect();
    let eida = EIDA.start(&settings).await;
    map(&connect(&eida).await, PATH, "Z3", 2015, 2022).await;
    (eida, signer)
}

/// A connection beside the service.
pub async fn connect(eida: &TestService) -> Client {
    eida.database.connect("eida_auth").await
}

/// Maps `path` to a network of the inventory.
pub async fn map(client: &Client, path: &str, network: &str, start: i32, end: i32) {
    let sql =
        "INSERT INTO networks (network, start_year, end_year) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&network, &start, &end]).await.unwrap();
    map_only(client, path, network, start, end).await;
}

/// Maps `path` to a network that the inventory may not know.
pub async fn map_only(client: &Client, path: &str, network: &str, start: i32, end: i32) {
    let sql = "INSERT INTO epos_fdsn VALUES ($1, $2, $3, $4)";
    client
        .execute(sql, &[&path, &network, &start, &end])
        .await
        .unwrap();
}

/// Posts a token to the root.
pub async fn post(eida: &TestService, token: impl Into<reqwest::Body>) -> Response {
    eida.post("/").body(token).send().await.unwrap()
}

/// Posts a token and gives the status and the text of the answer.
pub async fn answer(eida: &TestService, token: impl Into<reqwest::Body>) -> (StatusCode, String) {
    let answer = post(eida, token).await;
    (answer.status(), answer.text().await.unwrap())
}

/// Posts a token that is good, and gives login and password.
pub async fn login(eida: &TestService, token: impl Into<reqwest::Body>) -> (String, String) {
    let (status, text) = answer(eida, token).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (login, password) = text.split_once(':').unwrap();
    (login.to_owned(), password.to_owned())
}

/// The digest that HTTP Digest compares with.
pub fn digest(login: &str, password: &str) -> String {
    let digest = Md5::digest(format!("{login}:FDSN:{password}"));
    data_encoding::HEXLOWER.encode(&digest)
}

/// How many rows a table has.
pub async fn count(client: &Client, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// One row as JSON, by the query `sql`.
pub async fn row(client: &Client, sql: &str) -> Value {
    let sql = format!("SELECT to_jsonb(found) FROM ({sql}) found");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}
