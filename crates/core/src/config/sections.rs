//! The sections that every service has, as types. Their meanings stand in `default.toml`.

use std::path::PathBuf;

use bytesize::ByteSize;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::Settings;
use super::values::{AllowPrivate, Bind, OutageExit, Range, Rate, Span, list};
use crate::failure::Failure;

/// What every service has; a service reads its own sections beside it.
#[derive(Debug, Clone)]
pub struct Base {
    /// The listener and the bounds of a request.
    pub server: Server,
    /// The database.
    pub database: Database,
    /// Outgoing requests.
    pub outgoing: Outgoing,
    /// The log.
    pub log: Log,
    /// The metrics endpoint.
    pub metrics: Metrics,
    /// Traces.
    pub telemetry: Telemetry,
    /// How often secrets may be tried.
    pub limits: Limits,
}

impl Base {
    /// Reads the shared sections.
    ///
    /// # Errors
    /// As [`Settings::section`].
    pub fn read(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            server: settings.section("server")?,
            database: settings.section("database")?,
            outgoing: settings.section("outgoing")?,
            log: settings.section("log")?,
            metrics: settings.section("metrics")?,
            telemetry: settings.section("telemetry")?,
            limits: settings.section("limits")?,
        })
    }
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Server {
    pub bind: Bind,
    pub public_url: Option<Url>,
    pub trusted_proxies: Vec<Range>,
    pub workers: usize,
    pub body_limit: ByteSize,
    pub header_timeout: Span,
    pub request_timeout: Span,
    pub shutdown_grace: Span,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
}

impl Server {
    /// The number of threads that serve requests.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Database {
    pub migrate: bool,
    pub postgres: Postgres,
}

/// `[database.postgres]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Postgres {
    #[serde(deserialize_with = "list")]
    pub host: Vec<String>,
    pub port: u16,
    pub database: Option<String>,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    pub url: Option<SecretString>,
    pub schema: String,
    pub sslmode: SslMode,
    pub sslrootcert: Option<PathBuf>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub pool_size: usize,
    pub connect_timeout: Span,
    pub statement_timeout: Span,
    pub outage_exit: OutageExit,
}

/// How the connection to Postgres is protected; libpq's names and meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server can, not verified.
    Prefer,
    /// Encrypted, not verified.
    Require,
    /// Encrypted, the certificate's issuer verified.
    VerifyCa,
    /// Encrypted, issuer and host name verified.
    VerifyFull,
}

/// `[outgoing]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Outgoing {
    pub allow_private: AllowPrivate,
    pub timeout: Span,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[metrics]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Metrics {
    pub bind: Option<Bind>,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Telemetry {
    pub otlp_endpoint: Option<Url>,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Limits {
    pub logins_per_account: Rate,
    pub logins_per_address: Rate,
    pub mails_per_account: Rate,
}
