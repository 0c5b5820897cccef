//! eida-auth in the table of services: with a key pair of its own that signs a sample token, renewed at
//! every start, and networks that its memberships lead to.

use std::path::{Path, PathBuf};

use eida_auth::config::{Config, SCHEMA};
use eida_auth::databases::Databases;
use eida_auth::openpgp::Source;
use identity_core::clock::Clock;
use identity_core::failure::Failure;
use jiff::SignedDuration;
use pgp::composed::{
    ArmorOptions, Deserializable, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{CompressionAlgorithm, Password};
use rand::rngs::OsRng;
use serde_json::json;

use crate::place::{Place, shown};
use crate::service::{Demo, Filled, Service};

/// How eida-auth is run. Its trusted keys are those of a directory beside the other kept files.
pub const SERVICE: Service = Service {
    name: "eida-auth",
    port: 8000,
    metrics_port: 9593,
    schema: &SCHEMA,
    settings: &[
        "keyring={dir}/eida-auth.keys",
        "contact_email=eida@example.org",
        "token_url=https://geofon.gfz.de/eas/",
        "outgoing.allow_private=true",
    ],
    key_file: None,
    run: |settings, runtime| {
        Box::pin(async move {
            let config = Config::read(&settings)?;
            make_key(&config)?;
            // On the heap by itself: it is too large a part for another future.
            Box::pin(eida_auth::run(config, runtime)).await
        })
    },
    fill: |demo| Box::pin(fill(demo)),
};

/// Where the key that signs the sample token is kept.
const SECRET_FILE: &str = "eida-auth.secret.asc";
/// Its public half, in the directory of trusted keys.
const PUBLIC_FILE: &str = "demo.asc";
/// Where the sample token is kept.
const TOKEN_FILE: &str = "eida-token.asc";
/// For how long it is good.
const TOKEN_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What its owner belongs to.
const MEMBERSHIPS: &str = "/epos/alparray;/epos/demo";

/// A network, and the path whose members may see it.
const NETWORKS: [(&str, &str, i32, i32); 3] = [
    ("/epos/alparray", "Z3", 2015, 2022),
    ("/epos/demo", "XX", 2024, 2026),
    ("/epos/others", "Y9", 2023, 2025),
];

/// Makes the key pair of the demo where there is none: before the service starts, which trusts it.
fn make_key(config: &Config) -> Result<(), Failure> {
    let Some(Source::Files(keyring)) = config.key_sources.first() else {
        return Ok(());
    };
    let making = |error| Failure::because(&format!("making {}", keyring.display()), error);
    std::fs::create_dir_all(keyring).map_err(making)?;
    let place = Place::new(keyring.parent())?;
    let secret = match place.find(SECRET_FILE)? {
        Some(armored) => read(&armored)?,
        None => generated()?,
    };
    let armored = |error| pgp_failed("writing the key of the demo", &error);
    let text = secret
        .to_armored_string(ArmorOptions::default())
        .map_err(armored)?;
    place.keep(SECRET_FILE, &text)?;
    let public = SignedPublicKey::from(secret);
    let public = public
        .to_armored_string(ArmorOptions::default())
        .map_err(armored)?;
    std::fs::write(keyring.join(PUBLIC_FILE), public).map_err(making)
}

fn generated() -> Result<SignedSecretKey, Failure> {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Demo of identity-services <eida@example.org>".to_owned());
    let parameters = parameters
        .build()
        .map_err(|error| Failure::because("making the key of the demo", error))?;
    parameters
        .generate(OsRng)
        .map_err(|error| pgp_failed("making the key of the demo", &error))
}

fn read(armored: &str) -> Result<SignedSecretKey, Failure> {
    let read = SignedSecretKey::from_string(armored);
    let (key, _) = read.map_err(|error| pgp_failed("reading the key of the demo", &error))?;
    Ok(key)
}

/// Its texts may show what was read, which is secret here.
fn pgp_failed(what: &str, _: &pgp::errors::Error) -> Failure {
    Failure::Other(format!("{what}: rPGP cannot do it"))
}

async fn fill(demo: Demo) -> Result<Filled, Failure> {
    let config = Config::read(&demo.settings)?;
    make_networks(&config).await?;
    let token = make_token(&demo.place)?;
    let file = shown(&token);
    let (networks, paths) = (NETWORKS.len(), MEMBERSHIPS.replace(';', " and "));
    Ok(Filled {
        lines: vec![
            (
                "demo",
                format!("{networks} networks; a token with the memberships {paths}"),
            ),
            ("token", format!("{file}, signed anew at every start")),
        ],
        examples: vec![format!("curl -s --data-binary @{file} {}/", demo.url)],
    })
}

async fn make_networks(config: &Config) -> Result<(), Failure> {
    let what = "making the demo networks";
    // In parts that fit a future each.
    let databases = Box::pin(Databases::open(config)).await?;
    let client = databases.auth.client().await;
    let client = client.map_err(|error| Failure::because(what, error))?;
    for (path, network, start, end) in NETWORKS {
        let sql =
            "INSERT INTO networks (network, start_year, end_year) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let inserted = client.execute(sql, &[&network, &start, &end]).await;
        inserted.map_err(|error| Failure::because(what, error))?;
        let sql = "INSERT INTO epos_fdsn VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let inserted = client.execute(sql, &[&path, &network, &start, &end]).await;
        inserted.map_err(|error| Failure::because(what, error))?;
    }
    Ok(())
}

/// Signs a token as gpg does with its usual settings.
fn make_token(place: &Place) -> Result<PathBuf, Failure> {
    let secret = place.find(SECRET_FILE)?;
    let secret = read(&secret.unwrap_or_default())?;
    let now = Clock::system().now();
    let content = json!({
        "valid_until": now + TOKEN_LASTS,
        "cn": "Jane Demo",
        "memberof": MEMBERSHIPS,
        "sn": "Demo",
        "issued": now,
        "mail": "jane@example.org",
        "givenName": "Jane",
    });
    let mut message = MessageBuilder::from_bytes("", content.to_string());
    message.compression(CompressionAlgorithm::ZIP);
    message.sign(&secret.primary_key, Password::empty(), HashAlgorithm::Sha256);
    let armored = message.to_armored_string(OsRng, ArmorOptions::default());
    let armored = armored.map_err(|error| pgp_failed("signing the token of the demo", &error))?;
    place.keep(TOKEN_FILE, armored.trim_end())?;
    let path: &Path = &place.secret_file(TOKEN_FILE);
    Ok(path.to_owned())
}
