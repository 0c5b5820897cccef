//! Somebody who has linked an account at a provider.

use identity_core::failure::Failure;
use identity_testkit::Provider;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::load::Script;
use crate::stage::Running;

/// Settings of a process whose logins and links are those of `provider`.
pub fn settings(provider: &Provider) -> Vec<String> {
    let discovery = provider.discovery_url();
    let mut settings = vec![
        format!("crypto_keys={KEY}"),
        "outgoing.allow_private=true".to_owned(),
    ];
    for section in ["oidc", "providers.cloud"] {
        settings.push(format!("{section}.discovery_url={discovery}"));
        settings.push(format!("{section}.client_id=tokenstore"));
        settings.push(format!("{section}.client_secret=a secret/of+ours"));
    }
    settings
}

/// The key of everything that is stored.
pub const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Of the link.
pub const PATH: &str = "/api/v1.0/cloud/token";

/// Somebody links an account and asks for its token again and again.
pub async fn fresh_script(running: &Running) -> Result<Script, Failure> {
    let bearer = format!("Bearer {}", linked(running).await?);
    Ok(Script::same("GET", PATH, &[("Authorization", &bearer)], ""))
}

/// Signs in and links an account as a browser does, and gives an API key of the person.
pub async fn linked(running: &Running) -> Result<String, Failure> {
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
