//! Tokens for a client, signed by each kind of key.

use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_core::failure::Failure;
use serde_json::json;

use super::{CONNECTIONS, DATABASE, JSON, ask, prepare, settings, sign_in};
use crate::floors;
use crate::load::Script;
use crate::report::{Figure, Report, Target};
use crate::rounds::compare;
use crate::stage::{Running, Stage};

const ROWS: [(&str, Algorithm); 3] = [
    ("ident POST /auth/token, Ed25519", Algorithm::EdDSA),
    ("ident POST /auth/token, P-256", Algorithm::ES256),
    ("ident POST /auth/token, RSA-2048", Algorithm::RS256),
];

/// Makes a client, and gives what it asks tokens with.
pub async fn token_script(stage: &Stage, running: &Running, admin: &str) -> Result<Script, Failure> {
    let client = json!({"name": "bench", "permissions": ["users:read"]});
    let client = ask(stage, running, "POST", "/api/clients", admin, &client).await?;
    let body = json!({
        "client_id": client["id"], "client_secret": client["client_secret"], "audience": "somebody",
    });
    Ok(Script::same("POST", "/auth/token", &[JSON], &body.to_string()))
}

/// Lets the service sign with a new key of this kind.
pub async fn sign_with(
    stage: &Stage,
    running: &Running,
    admin: &str,
    kind: Algorithm,
) -> Result<(), Failure> {
    let pem = SigningKey::generate(kind).map_err(|error| Failure::because("making a key", error))?;
    let given = json!({"private_key": pem.as_str()});
    ask(stage, running, "PATCH", "/api/configuration", admin, &given).await?;
    Ok(())
}

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants_any(&ROWS.map(|(name, _)| name)) {
        return Ok(());
    }
    prepare(stage).await?;
    let running = stage.start("ident", DATABASE, &settings(&[])).await?;
    let admin = sign_in(stage, &running).await?;
    let script = token_script(stage, &running, &admin).await?;
    for (name, algorithm) in ROWS {
        if !report.wants(name) {
            continue;
        }
        sign_with(stage, &running, &admin, algorithm).await?;
        script.warm_up(&running.url, CONNECTIONS, stage.time).await?;
        let floor = match algorithm {
            Algorithm::RS256 => "raw signatures of aws-lc-rs, all cores",
            _ => "tokens signed by jwt-simple, all cores",
        };
        let compared = compare(
            stage.time,
            async |time| script.rate(&running.url, CONNECTIONS, time).await,
            async |time| match algorithm {
                Algorithm::RS256 => floors::rsa(time),
                _ => Ok(floors::tokens(algorithm, time)),
            },
        )
        .await?;
        report.compared(name, Figure::per_second, &compared, floor, Target::AtLeast(0.6));
    }
    Ok(())
}
