//! The settings of ident, as types. Their meanings stand in `default.toml`.

use std::time::Duration;

use identity_core::config::values::{Secrets, Span};
use identity_core::config::{Base, Lower, Schema, Setting, Settings};
use identity_core::crypto::fernet::{Keys, Raw};
use identity_core::crypto::{issuer, password};
use identity_core::failure::Failure;
use serde::Deserialize;

use crate::keys::Rotation;
use crate::notifications::Destination;
use crate::records::ServiceName;

/// What ident's configuration knows, and where it is looked for.
pub static SCHEMA: Schema = Schema {
    service: "ident",
    defaults: include_str!("../default.toml"),
    secrets: &["notifications.secret"],
    open: &[],
    file_variables: &["IDENT_CONFIG", "PHI_IDENT_SETTINGS", "IDENT_SETTINGS"],
    originals,
};

/// The settings of one instance.
#[derive(Debug)]
pub struct Config {
    /// The sections that every service has.
    pub base: Base,
    /// `database.encryption_key`
    pub encryption_keys: Keys,
    /// `auth.records`
    pub records: RecordsAccess,
    /// `services.allowed`; empty: any.
    pub allowed_services: Vec<ServiceName>,
    /// `notifications`; none without a URL.
    pub notifications: Option<Destination>,
    /// `auth.audience`
    pub audience: String,
    /// `auth.auto_configure`
    pub auto_configure: bool,
    /// `auth.trusted_issuers`
    pub trusted_issuers: Vec<issuer::Settings>,
    /// `auth.password`
    pub password: password::Settings,
    /// `refresh.retry_window`
    pub retry_window: Duration,
    /// `keys`
    pub rotation: Rotation,
}

/// Who may use the people's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordsAccess {
    /// Whoever has a token with the permission.
    Token,
    /// Everybody who reaches the service.
    Open,
}

#[derive(Deserialize)]
struct Auth {
    records: RecordsAccess,
    audience: String,
    auto_configure: bool,
    trusted_issuers: Vec<issuer::Settings>,
    password: password::Settings,
}

#[derive(Deserialize)]
struct Refresh {
    retry_window: Span,
}

#[derive(Deserialize)]
struct SigningKeys {
    rotate_every: Option<Span>,
    jwks_max_age: Span,
}

#[derive(Deserialize)]
struct Database {
    #[serde(default)]
    encryption_key: Secrets,
}

#[derive(Deserialize)]
struct Services {
    allowed: Vec<ServiceName>,
}

#[derive(Deserialize)]
struct Notifications {
    url: Option<String>,
    secret: Option<secrecy::SecretString>,
    give_up_after: Span,
}

impl Config {
    /// Reads all sections.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the key and what is expected of it.
    pub fn read(settings: &Settings) -> Result<Self, Failure> {
        let Database { encryption_key } = settings.section("database")?;
        let encryption_keys = Keys::parse(&encryption_key.0, Raw::Refused)
            .map_err(|error| Failure::configuration(format!("database.encryption_key {error}")))?;
        let Services { allowed } = settings.section("services")?;
        let Notifications {
            url,
            secret,
            give_up_after,
        } = settings.section("notifications")?;
        let notifications = url
            .map(|url| Destination::new(&url, secret.as_ref(), give_up_after.0))
            .transpose();
        let auth: Auth = settings.section("auth")?;
        let Refresh { retry_window } = settings.section("refresh")?;
        let SigningKeys {
            rotate_every,
            jwks_max_age,
        } = settings.section("keys")?;
        let rotation = Rotation {
            every: rotate_every.map(|every| every.0),
            jwks_max_age: jwks_max_age.0,
        };
        Ok(Self {
            base: Base::read(settings)?,
            encryption_keys,
            records: auth.records,
            allowed_services: allowed,
            notifications: notifications.map_err(Failure::configuration)?,
            audience: auth.audience,
            auto_configure: auth.auto_configure,
            trusted_issuers: auth.trusted_issuers,
            password: auth.password,
            retry_window: retry_window.0,
            rotation,
        })
    }
}

/// The environment of the second original, which issued tokens.
fn originals(lower: &Lower<'_>) -> Result<Vec<Setting>, Failure> {
    let environment = lower.environment;
    let mut settings = lower.renamed(&[
        ("DATABASE_HOST", "database.postgres.host"),
        ("DATABASE_PORT", "database.postgres.port"),
        ("DATABASE_USERNAME", "database.postgres.user"),
        ("DATABASE_PASSWORD", "database.postgres.password"),
        ("DATABASE_SCHEMA_NAME", "database.postgres.schema"),
        ("DATABASE_SSL_MODE", "database.postgres.sslmode"),
        ("DATABASE_SSL_ROOT_CERT", "database.postgres.sslrootcert"),
        ("DATABASE_SSL_CERT", "database.postgres.sslcert"),
        ("DATABASE_SSL_KEY", "database.postgres.sslkey"),
        ("ENCRYPTION_KEY", "database.encryption_key"),
    ]);
    if let Some(driver) = environment.get("DATABASE_DRIVER")
        && !driver.to_lowercase().contains("postgres")
    {
        let message = format!("environment variable DATABASE_DRIVER: expected PostgreSQL, found `{driver}`");
        return Err(Failure::configuration(message));
    }
    if let Some(port) = environment.get("PORT") {
        let bind = lower.text("server.bind").unwrap_or_default();
        let host = bind.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        settings.push(Setting::new(
            "server.bind",
            format!("{host}:{port}"),
            "environment variable PORT",
        ));
    }
    settings.extend(pool_size(lower)?);
    Ok(settings)
}

/// `SQLAlchemy` counts the connections that it keeps and those beyond apart; ours is one number.
fn pool_size(lower: &Lower<'_>) -> Result<Option<Setting>, Failure> {
    let number = |name: &str| match lower.environment.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_| {
            Failure::configuration(format!(
                "environment variable {name}: expected a number, found `{text}`"
            ))
        }),
    };
    let kept = number("DATABASE_CONNECTION_POOL_SIZE")?;
    let beyond = number("DATABASE_CONNECTION_MAX_OVERFLOW")?;
    if kept.is_none() && beyond.is_none() {
        return Ok(None);
    }
    let configured = lower
        .text("database.postgres.pool_size")
        .and_then(|size| size.parse().ok());
    let size = kept.or(configured).unwrap_or_default() + beyond.unwrap_or_default();
    let origin = "environment variables DATABASE_CONNECTION_POOL_SIZE and DATABASE_CONNECTION_MAX_OVERFLOW";
    Ok(Some(Setting::new(
        "database.postgres.pool_size",
        size.to_string(),
        origin,
    )))
}
