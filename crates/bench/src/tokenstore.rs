//! tokenstore's row: an access token out of the store, where the provider need not be asked.

use identity_core::failure::Failure;
use identity_testkit::Provider;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::ident;
use crate::load::Script;
use crate::report::{Figure, Report, Target};
use crate::stage::{Running, Stage};

const DATABASE: &str = "tokenstore";
const CONNECTIONS: u32 = 32;
/// The row.
pub const NAME: &str = "tokenstore GET token, still fresh";

/// Adds the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants(NAME) {
        return Ok(());
    }
    let provider = Provider::start();
    let discovery = provider.discovery_url();
    let mut settings = vec![
        "crypto_keys=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned(),
        "outgoing.allow_private=true".to_owned(),
    ];
    for section in ["oidc", "providers.cloud"] {
        settings.push(format!("{section}.discovery_url={discovery}"));
        settings.push(format!("{section}.client_id=tokenstore"));
        settings.push(format!("{section}.client_secret=a secret/of+ours"));
    }
    stage.database(DATABASE).await?;
    let running = stage.start("tokenstore", DATABASE, &settings).await?;
    let key = linked(&running).await?;
    let bearer = format!("Bearer {key}");
    let script = Script::same("GET", "/api/v1.0/cloud/token", &[("Authorization", &bearer)], "");
    let measured = script.run(&running.url, CONNECTIONS, stage.time).await?;
    drop(running);
    if provider.refreshes() > 0 {
        return Err(Failure::Other(
            "the provider was asked for a fresh token".to_owned(),
        ));
    }
    let floor = ident::get_by_id(stage).await?;
    report.add(
        NAME,
        Figure::per_second(measured.per_second()),
        (Figure::per_second(floor.per_second()), "ident GET /{id}"),
        Target::AtLeast(0.8),
    );
    Ok(())
}

/// Signs in and links an account as a browser does, and gives an API key of the person.
async fn linked(running: &Running) -> Result<String, Failure> {
    let failed = |error| Failure::because("linking an account", error);
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .map_err(failed)?;
    let mut cookies: Vec<String> = Vec::new();
    for path in ["/api/oidc/login", "/api/v1.0/cloud/authorize"] {
        // To the provider, which asks nobody, and back.
        let mut next = format!("{}{path}", running.url);
        for _ in 0..3 {
            let request = client.get(&next).header(COOKIE, cookies.join("; "));
            let answer = request.send().await.map_err(failed)?;
            for set in answer.headers().get_all(SET_COOKIE) {
                let pair = set.to_str().ok().and_then(|set| set.split(';').next());
                if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
                    // A new value takes the place of the old one, as in a browser.
                    cookies.retain(|known| !known.starts_with(&format!("{name}=")));
                    cookies.push(format!("{name}={value}"));
                }
            }
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            to.ok_or_else(|| Failure::Other(format!("{next} answered {}", answer.status())))?
                .clone_into(&mut next);
        }
    }
    let request = client
        .post(format!("{}/api/v1.0/keys", running.url))
        .header(COOKIE, cookies.join("; "))
        .header("origin", &running.url);
    let answer = request
        .json(&json!({"name": "bench"}))
        .send()
        .await
        .map_err(failed)?;
    let made: Value = answer.json().await.map_err(failed)?;
    let key = made.get("key").and_then(Value::as_str);
    key.map(ToOwned::to_owned)
        .ok_or_else(|| Failure::Other(format!("no API key: {made}")))
}
