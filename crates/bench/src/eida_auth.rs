//! eida-auth's row: 600 tokens of real size, each of which costs a verification and rows in three tables.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use eida_auth::openpgp::{Keyring, Policy, Source, parse};
use eida_auth::tokens::Content;
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use pgp::composed::{
    ArmorOptions, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{CompressionAlgorithm, Password};
use rand::rngs::OsRng;
use serde_json::json;

use crate::load::Script;
use crate::report::{Figure, Report, Target};
use crate::stage::Stage;

const DATABASE: &str = "eida_auth";
const TOKENS: usize = 600;
const CONNECTIONS: u32 = 32;
const POLICY: Policy = Policy { accept_sha1: true };

/// Adds the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let name = "eida-auth POST /";
    if !report.wants(name) {
        return Ok(());
    }
    let files = tempfile::TempDir::new().map_err(|error| Failure::because("making a directory", error))?;
    let secret = key()?;
    let public = SignedPublicKey::from(secret.clone()).to_armored_string(ArmorOptions::default());
    let public = public.map_err(|error| Failure::because("writing the key", error))?;
    std::fs::write(files.path().join("key.asc"), public)
        .map_err(|error| Failure::because("writing the key", error))?;
    let tokens = (0..TOKENS)
        .map(|number| token(&secret, number))
        .collect::<Result<Vec<_>, _>>()?;
    let settings = [
        format!("keyring={}", files.path().display()),
        "accept_sha1=true".to_owned(),
        // Each token comes some dozen times.
        "credentials.max_per_token=500".to_owned(),
    ];
    stage.database(DATABASE).await?;
    drop(stage.start("eida-auth", DATABASE, &settings).await?);
    let client = stage.postgres.connect(DATABASE).await;
    let client = client.map_err(|error| Failure::because("connecting to Postgres", error))?;
    let mapping = "INSERT INTO eida_auth.networks (network, start_year, end_year) VALUES ('Z3', 2015, 2022);
                   INSERT INTO eida_auth.epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022)";
    let made = client.batch_execute(mapping).await;
    made.map_err(|error| Failure::because("making a mapping", error))?;
    let running = stage.start("eida-auth", DATABASE, &settings).await?;
    let measured = script(&tokens).run(&running.url, CONNECTIONS, stage.time).await?;
    drop(running);
    let source = Source::Files(files.path().to_owned());
    let keyring = Keyring::open(vec![source], POLICY, Clock::system()).await?;
    let floor = verifications(&keyring, &tokens, stage.time)?;
    report.add(
        name,
        Figure::per_second(measured.per_second()),
        (
            Figure::per_second(floor),
            "one core's verifications with the same policy",
        ),
        Target::AtLeast(0.5),
    );
    Ok(())
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

/// Any of the tokens, each as often as the others.
fn script(tokens: &[String]) -> Script {
    let mut lua = "local tokens = {\n".to_owned();
    for token in tokens {
        // Writing to a String cannot fail.
        let _ = writeln!(lua, "[==[{token}]==],");
    }
    let _ = write!(
        lua,
        "}}\nfunction request() return wrk.format('POST', '/', {{}}, tokens[math.random(1, {})]) end",
        tokens.len()
    );
    Script::changing(&lua)
}

/// How many tokens a second one core verifies and reads.
#[expect(clippy::cast_precision_loss, reason = "counts of some hundred thousands")]
fn verifications(keyring: &Keyring, tokens: &[String], time: Duration) -> Result<f64, Failure> {
    let (mut count, began) = (0_u64, Instant::now());
    for token in tokens.iter().cycle() {
        let verified = parse(token.as_bytes()).and_then(|signed| keyring.verify(signed));
        let verified = verified.map_err(|error| Failure::because("verifying a token", error))?;
        Content::read(&verified.content).map_err(|error| Failure::because("reading a token", error))?;
        count += 1;
        if began.elapsed() >= time {
            break;
        }
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
