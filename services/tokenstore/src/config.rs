//! The settings of tokenstore, as types. Their meanings stand in `default.toml`.

use std::time::Duration;

use identity_core::config::values::{Secrets, Span, list};
use identity_core::config::{Base, Schema, Settings};
use identity_core::crypto::fernet::Keys;
use identity_core::crypto::webhook::Signer;
use identity_core::failure::Failure;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::originals;
use crate::providers::Settings as Provider;
use crate::providers::model::Written;

/// What tokenstore's configuration knows, and where it is looked for.
pub static SCHEMA: Schema = Schema {
    service: "tokenstore",
    defaults: include_str!("../default.toml"),
    secrets: &[
        "crypto_keys",
        "oidc.client_secret",
        "notifications.secret",
        "providers.*.client_secret",
    ],
    open: &[
        "providers.*.preset",
        "providers.*.discovery_url",
        "providers.*.issuer",
        "providers.*.authorization_endpoint",
        "providers.*.token_endpoint",
        "providers.*.revocation_endpoint",
        "providers.*.userinfo_endpoint",
        "providers.*.jwks_uri",
        "providers.*.client_id",
        "providers.*.client_secret",
        "providers.*.scope",
        "providers.*.token_endpoint_auth_method",
        "providers.*.authorize_params.*",
        "providers.*.require_same_subject",
        "providers.*.keep_alive",
        "providers.*.metadata.name",
        "providers.*.metadata.description",
        "providers.*.metadata.url",
        "providers.*.metadata.icon",
        "providers.*.metadata.logo",
    ],
    file_variables: &["TOKENSTORE_CONFIG", "TOKENSTORE_SETTINGS"],
    originals: originals::settings,
};

/// The settings of one instance.
#[derive(Debug)]
pub struct Config {
    /// The sections that every service has.
    pub base: Base,
    /// `crypto_keys`
    pub crypto_keys: Keys,
    /// `return_urls`
    pub return_urls: Vec<Url>,
    /// `refresh_margin`
    pub refresh_margin: Duration,
    /// `oidc`: the login provider.
    pub oidc: Provider,
    /// `oidc.audience`
    pub audience: String,
    /// `session`
    pub session: Session,
    /// `cors.allowed_origins`
    pub allowed_origins: Vec<String>,
    /// `providers`, in configured order.
    pub providers: Vec<Provider>,
    /// `notifications`; none without a URL.
    pub notifications: Option<Notifications>,
    /// `outbox.give_up_after`
    pub give_up_after: Duration,
    /// `audit.keep`
    pub audit_keep: Duration,
    /// Told in the log at start.
    pub warnings: Vec<String>,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Without use.
    pub idle: Duration,
    /// In all.
    pub lifetime: Duration,
}

/// Where the operator is told of broken links.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Where it is posted.
    pub url: Url,
    /// Signs it.
    pub signer: Signer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Oidc {
    discovery_url: Option<Url>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    scope: String,
    audience: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sessions {
    idle: Span,
    lifetime: Span,
    r#type: Option<String>,
    file_dir: Option<String>,
}

#[derive(Deserialize)]
struct Cors {
    #[serde(deserialize_with = "list")]
    allowed_origins: Vec<String>,
}

#[derive(Deserialize)]
struct NotificationSettings {
    url: Option<Url>,
    secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct Outbox {
    give_up_after: Span,
}

#[derive(Deserialize)]
struct Audit {
    keep: Span,
}

impl Config {
    /// Reads all sections.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the key and what is expected of it.
    pub fn read(settings: &Settings) -> Result<Self, Failure> {
        let Secrets(keys) = settings.value("crypto_keys")?.unwrap_or_default();
        let List(return_urls) = settings.value("return_urls")?.unwrap_or_default();
        let Span(refresh_margin) = settings.value("refresh_margin")?.unwrap_or(Span(Duration::ZERO));
        let crypto_keys = originals::keys(keys.into_iter())
            .map_err(|wrong| Failure::configuration(format!("crypto_keys: {wrong}")))?;
        let oidc: Oidc = settings.section("oidc")?;
        let sessions: Sessions = settings.section("session")?;
        let Cors { allowed_origins } = settings.section("cors")?;
        let Outbox { give_up_after } = settings.section("outbox")?;
        let Audit { keep } = settings.section("audit")?;
        let audience = oidc.audience.clone().or_else(|| oidc.client_id.clone());
        let session = Session {
            idle: sessions.idle.0,
            lifetime: sessions.lifetime.0,
        };
        let warnings = [
            ("session.type", sessions.r#type),
            ("session.file_dir", sessions.file_dir),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|_| format!("{key} is ignored: sessions are kept in Postgres")));
        Ok(Self {
            base: Base::read(settings)?,
            crypto_keys,
            return_urls: urls("return_urls", &return_urls)?,
            refresh_margin,
            audience: audience.unwrap_or_default(),
            oidc: login_provider(oidc)?,
            session,
            allowed_origins: origins(&allowed_origins)?,
            providers: providers(settings)?,
            notifications: notifications(settings.section("notifications")?)?,
            give_up_after: give_up_after.0,
            audit_keep: keep.0,
            warnings: warnings.collect(),
        })
    }
}

#[derive(Default, Deserialize)]
struct List(#[serde(deserialize_with = "list")] Vec<String>);

fn login_provider(oidc: Oidc) -> Result<Provider, Failure> {
    let missing =
        |key: &str| Failure::configuration(format!("oidc.{key}: expected that of the login provider"));
    let written = Written {
        discovery_url: Some(oidc.discovery_url.ok_or_else(|| missing("discovery_url"))?),
        client_id: Some(oidc.client_id.ok_or_else(|| missing("client_id"))?),
        client_secret: oidc.client_secret,
        scope: Some(oidc.scope),
        // Whoever is signed in at the provider is signed in here.
        authorize_params: Some(std::collections::BTreeMap::new()),
        ..Written::default()
    };
    Provider::complete("oidc", written).map_err(|wrong| Failure::configuration(format!("oidc.{wrong}")))
}

fn providers(settings: &Settings) -> Result<Vec<Provider>, Failure> {
    let read = |id: &String| {
        let section = format!("providers.{id}");
        // `/api/v1.0/keys` is taken.
        if !originals::is_id(id) || id == "keys" {
            let message = format!("{section}: expected letters, digits, - and _ in the id, and not `keys`");
            return Err(Failure::configuration(message));
        }
        let written: Written = settings.section(&section)?;
        Provider::complete(id, written).map_err(|wrong| Failure::configuration(format!("{section}.{wrong}")))
    };
    settings.names("providers").iter().map(read).collect()
}

fn urls(key: &str, texts: &[String]) -> Result<Vec<Url>, Failure> {
    let parse = |text: &String| {
        let url = Url::parse(text).ok().filter(|url| {
            ["http", "https"].contains(&url.scheme())
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.ok_or_else(|| {
            Failure::configuration(format!(
                "{key}: expected http(s)://host/path without user, query and fragment, found `{text}`"
            ))
        })
    };
    texts.iter().map(parse).collect()
}

fn origins(texts: &[String]) -> Result<Vec<String>, Failure> {
    let parse = |text: &String| {
        let url = Url::parse(text)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()));
        let origin = url.map(|url| url.origin().ascii_serialization());
        origin
            .filter(|origin| origin == text.trim_end_matches('/'))
            .ok_or_else(|| {
                Failure::configuration(format!(
                    "cors.allowed_origins: expected an origin like `https://app.example.org`, found `{text}`"
                ))
            })
    };
    texts.iter().map(parse).collect()
}

fn notifications(settings: NotificationSettings) -> Result<Option<Notifications>, Failure> {
    let Some(url) = settings.url else {
        return Ok(None);
    };
    let wrong = |what: &str| Failure::configuration(format!("notifications.secret: {what}"));
    let secret = settings
        .secret
        .ok_or_else(|| wrong("expected one, since notifications.url is set"))?;
    let signer = Signer::new(&secret).map_err(wrong)?;
    Ok(Some(Notifications { url, signer }))
}
