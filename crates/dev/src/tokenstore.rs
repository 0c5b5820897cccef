//! tokenstore in the table of services: with a login provider and two whose accounts can be linked, all of
//! them small ones of our own, and Ada's accounts at both.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use identity_core::failure::Failure;
use identity_testkit::{Provider, Refreshing, Ways};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokenstore::config::{Config, SCHEMA};

use crate::service::{Demo, Filled, Service};

/// How tokenstore is run. The three providers listen behind the ports of the services.
pub const SERVICE: Service = Service {
    name: "tokenstore",
    port: 5001,
    metrics_port: 9591,
    schema: &SCHEMA,
    settings: &[
        "oidc.discovery_url={login}/.well-known/openid-configuration",
        "oidc.client_id=tokenstore",
        "oidc.client_secret=development",
        "outgoing.allow_private=true",
        "providers.cloud.discovery_url={cloud}/.well-known/openid-configuration",
        "providers.cloud.client_id=tokenstore",
        "providers.cloud.client_secret=development",
        "providers.cloud.metadata.name=Research Cloud",
        "providers.cloud.metadata.description=Gives a refresh token that is good for once, and tokens for five minutes",
        "providers.hub.preset=github",
        "providers.hub.authorization_endpoint={hub}/authorize",
        "providers.hub.token_endpoint={hub}/token",
        "providers.hub.userinfo_endpoint={hub}/userinfo",
        "providers.hub.client_id=tokenstore",
        "providers.hub.client_secret=development",
        "providers.hub.metadata.name=Code Hub",
        "providers.hub.metadata.description=Works as GitHub does: no refresh tokens, no discovery, no ID tokens",
        "providers.hub.metadata.url=",
    ],
    key_file: Some("crypto_keys_file"),
    run: |settings, runtime| {
        Box::pin(async move {
            let config = Config::read(&settings)?;
            // They end with the service.
            let _providers = providers(&config)?;
            // On the heap by itself: it is too large a part for another future.
            Box::pin(tokenstore::run(config, runtime)).await
        })
    },
    fill: |demo| Box::pin(fill(demo)),
};

/// Who signs in for the demo data.
const SUBJECT: &str = "ada";
/// Where the API key is kept.
const KEY_FILE: &str = "tokenstore.key";

/// The three providers, where the configuration says that they are.
fn providers(config: &Config) -> Result<[Provider; 3], Failure> {
    let usual = |title: &str| Ways {
        title: title.to_owned(),
        asks: true,
        client: ("tokenstore".to_owned(), "development".to_owned()),
        ..Ways::default()
    };
    let cloud = Ways {
        expires_in: Some(300),
        ..usual("Research Cloud")
    };
    let hub = Ways {
        openid: false,
        refreshing: Refreshing::Never,
        expires_in: None,
        ..usual("Code Hub")
    };
    let port_of = |id: &str| {
        let provider = config.providers.iter().find(|provider| provider.id == id)?;
        let url = provider
            .discovery_url
            .as_ref()
            .or(provider.token_endpoint.as_ref())?;
        url.port()
    };
    let login = config.oidc.discovery_url.as_ref().and_then(reqwest::Url::port);
    Ok([
        start(login, usual("Sign in"))?,
        start(port_of("cloud"), cloud)?,
        start(port_of("hub"), hub)?,
    ])
}

fn start(port: Option<u16>, ways: Ways) -> Result<Provider, Failure> {
    let port = port.unwrap_or_default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Failure::because(
            &format!("listening on port {port} for the provider `{}`", ways.title),
            error,
        )
    })?;
    Ok(Provider::start_on(listener, ways))
}

async fn fill(demo: Demo) -> Result<Filled, Failure> {
    let config = Config::read(&demo.settings)?;
    let mut browser = Browser::new(&demo)?;
    browser.sign_in().await?;
    // The providers begin anew with each start, and know nothing of earlier links.
    for id in ["cloud", "hub"] {
        browser.link(id).await?;
    }
    let key = browser.key(&demo).await?;
    let url = &demo.url;
    let login = config
        .oidc
        .discovery_url
        .as_ref()
        .map(|url| url.origin().ascii_serialization());
    Ok(Filled {
        lines: vec![
            ("page", format!("{url}/, sign in by clicking on Ada or Ben")),
            ("login", login.unwrap_or_default()),
            (
                "demo",
                "Ada, whose accounts at cloud and hub are linked".to_owned(),
            ),
            ("API key", format!("{key}, of Ada")),
        ],
        examples: vec![
            format!("curl -s -H 'authorization: Bearer {key}' \\"),
            format!("  {url}/api/v1.0/authorizations"),
            format!("curl -s -H 'authorization: Bearer {key}' \\"),
            format!("  '{url}/api/v1.0/cloud/token?min_ttl=290'"),
            format!("curl -s -u 'ada:{key}' \\"),
            format!("  {url}/api/v1.0/hub/token"),
        ],
    })
}

/// What a person does with a browser to sign in and to link accounts.
struct Browser {
    client: Client,
    url: String,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn new(demo: &Demo) -> Result<Self, Failure> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| Failure::because("preparing the HTTP client", error))?;
        Ok(Self {
            client,
            url: demo.url.clone(),
            cookies: Vec::new(),
        })
    }

    /// Sends a request to the service with the browser's cookies, and keeps those that come.
    async fn get(&mut self, address: &str) -> Result<Response, Failure> {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self.client.get(address).header(COOKIE, cookies.join("; "));
        let answer = request
            .send()
            .await
            .map_err(|error| Failure::because("the demo data of tokenstore", error))?;
        for set in answer.headers().get_all(SET_COOKIE) {
            let pair = set
                .to_str()
                .ok()
                .and_then(|set| set.split(';').next()?.split_once('='));
            if let Some((name, value)) = pair {
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(answer)
    }

    /// From the service to a provider, which is told that Ada allows it, and back.
    async fn through_provider(&mut self, path: &str) -> Result<(), Failure> {
        let begun = self.get(&format!("{}{path}", self.url)).await?;
        let allowed = self
            .client
            .post(leads_to(&begun)?)
            .form(&[("account", SUBJECT)])
            .send()
            .await;
        let allowed = allowed.map_err(|error| Failure::because("the demo data of tokenstore", error))?;
        let back = self.get(&leads_to(&allowed)?).await?;
        leads_to(&back).map(drop)
    }

    async fn sign_in(&mut self) -> Result<(), Failure> {
        self.through_provider("/api/oidc/login").await
    }

    async fn link(&mut self, provider: &str) -> Result<(), Failure> {
        self.through_provider(&format!("/api/v1.0/{provider}/authorize"))
            .await
    }

    /// Ada's API key, made where the kept one is not good.
    async fn key(&mut self, demo: &Demo) -> Result<String, Failure> {
        let failed = |error| Failure::because("the demo key of tokenstore", error);
        if let Some(kept) = demo.place.find(KEY_FILE)? {
            let request = self
                .client
                .get(format!("{}/api/whoami", self.url))
                .bearer_auth(&kept);
            if request.send().await.map_err(failed)?.status() == StatusCode::OK {
                return Ok(kept);
            }
        }
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self.client.post(format!("{}/api/v1.0/keys", self.url));
        let request = request
            .header(COOKIE, cookies.join("; "))
            .header("origin", &self.url);
        let answer = request
            .json(&json!({"name": "demo"}))
            .send()
            .await
            .map_err(failed)?;
        let made: Value = answer.json().await.map_err(failed)?;
        let key = made.get("key").and_then(Value::as_str);
        let key = key.ok_or_else(|| Failure::Other(format!("the demo key of tokenstore: {made}")))?;
        demo.place.keep(KEY_FILE, key)?;
        Ok(key.to_owned())
    }
}

fn leads_to(answer: &Response) -> Result<String, Failure> {
    let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
    to.map(ToOwned::to_owned).ok_or_else(|| {
        let (url, status) = (answer.url().path(), answer.status());
        Failure::Other(format!("the demo data of tokenstore: {url} answered {status}"))
    })
}
