//! The settings of eida-auth, as types. Their meanings stand in `default.toml`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use identity_core::config::values::{OutageExit, Range, Span, list};
use identity_core::config::{Base, Lower, Postgres, Schema, Setting, Settings, SslMode};
use identity_core::crypto::issuer;
use identity_core::failure::Failure;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::openpgp::{Policy, Source};

/// What eida-auth's configuration knows, and where it is looked for.
pub static SCHEMA: Schema = Schema {
    service: "eida-auth",
    defaults: include_str!("../default.toml"),
    secrets: &[
        "authdb.password",
        "authdb.url",
        "privilegedb.password",
        "privilegedb.url",
        "credentials.secret",
        "cleanup.token",
    ],
    open: &[],
    file_variables: &["EIDA_AUTH_CONFIG"],
    originals,
};

/// The shortest secret that logins are derived with, in characters.
const SHORTEST_SECRET: usize = 32;
/// The most logins of a token that can be allowed.
const MOST_PER_TOKEN: u16 = 10_000;

/// The settings of one instance.
#[derive(Debug)]
pub struct Config {
    /// The sections that every service has.
    pub base: Base,
    /// `runmode`
    pub run_mode: RunMode,
    /// `contact_email`
    pub contact_email: Option<String>,
    /// `token_url`
    pub token_url: Option<Url>,
    /// `keyring` and `gnupg_home`
    pub key_sources: Vec<Source>,
    /// `accept_sha1`
    pub policy: Policy,
    /// `[authdb]`, where a data centre has its own.
    pub auth: Option<AuthDatabase>,
    /// `[privilegedb]`, where a data centre has its own.
    pub privileges: Option<PrivilegeDatabase>,
    /// Whether `[database.postgres]` says where it is.
    pub has_own_database: bool,
    /// `[credentials]`
    pub credentials: Credentials,
    /// `[cleanup]`
    pub cleanup: Cleanup,
    /// `[eas]`
    pub eas: Option<Eas>,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RunMode {
    /// For users: it does not start without keys.
    Production,
    /// For developers.
    Development,
    /// For tests.
    Test,
}

/// `[authdb]`
#[derive(Debug)]
pub struct AuthDatabase {
    /// Where it is.
    pub postgres: Postgres,
    /// `users_table`, `credentials_table`, `mapping_table`
    pub tables: AuthTables,
}

/// `[privilegedb]`
#[derive(Debug)]
pub struct PrivilegeDatabase {
    /// Where it is.
    pub postgres: Postgres,
    /// `networks_table`, `privileges_table`
    pub tables: PrivilegeTables,
}

/// The names of the tables of the authentication database.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct AuthTables {
    pub users_table: String,
    pub credentials_table: String,
    pub mapping_table: String,
}

/// The names of the tables of the privilege database.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct PrivilegeTables {
    pub networks_table: String,
    pub privileges_table: String,
}

/// `[credentials]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Credentials {
    pub lifetime: Span,
    pub cap_to_token: bool,
    pub mode: Mode,
    pub secret: Option<SecretString>,
    pub max_per_token: u16,
}

/// Where logins and passwords come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The system's random source.
    Random,
    /// The token and the secret.
    Derived,
}

/// `[cleanup]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Cleanup {
    pub interval: Span,
    pub allow_from: Vec<Range>,
    pub token: Option<SecretString>,
}

/// `[eas]`
#[derive(Debug, Clone)]
pub struct Eas {
    /// `issuer`, `jwks_uri`, `audience`
    pub issuer: issuer::Settings,
    /// `memberships_claim`
    pub memberships_claim: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EasSection {
    issuer: Option<String>,
    jwks_uri: Option<Url>,
    audience: String,
    memberships_claim: String,
}

/// `[authdb]` or `[privilegedb]`, without the names of tables.
#[derive(Deserialize)]
struct External {
    #[serde(default, deserialize_with = "list")]
    host: Vec<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    url: Option<SecretString>,
    schema: String,
    sslmode: Option<SslMode>,
    sslrootcert: Option<PathBuf>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
    pool_size: Option<usize>,
    connect_timeout: Option<Span>,
    statement_timeout: Option<Span>,
    outage_exit: Option<OutageExit>,
}

impl FromStr for RunMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "production" => Ok(Self::Production),
            "development" => Ok(Self::Development),
            "test" => Ok(Self::Test),
            _ => Err(format!(
                "expected production, development or test, found `{text}`"
            )),
        }
    }
}

impl TryFrom<String> for RunMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for RunMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Production => "production",
            Self::Development => "development",
            Self::Test => "test",
        })
    }
}

impl Config {
    /// Reads `settings`.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the key and what is expected of it.
    pub fn read(settings: &Settings) -> Result<Self, Failure> {
        let base = Base::read(settings)?;
        let keyring = settings.value("keyring")?.map(Source::Files);
        let gnupg_home = settings.value("gnupg_home")?.map(Source::GnuPg);
        let auth = external(settings, "authdb", &base)?;
        let privileges = external(settings, "privilegedb", &base)?;
        let auth_tables = settings.section("authdb")?;
        let privilege_tables = settings.section("privilegedb")?;
        let own = ["url", "database", "host", "port", "user"];
        let has_own_database = own
            .iter()
            .any(|key| settings.is_set(&format!("database.postgres.{key}")));
        Ok(Self {
            run_mode: settings.value("runmode")?.unwrap_or(RunMode::Development),
            contact_email: settings.value("contact_email")?,
            token_url: settings.value("token_url")?,
            key_sources: keyring.into_iter().chain(gnupg_home).collect(),
            policy: Policy {
                accept_sha1: settings.value("accept_sha1")?.unwrap_or_default(),
            },
            has_own_database: has_own_database || auth.is_none() || privileges.is_none(),
            auth: auth.map(|postgres| AuthDatabase {
                postgres,
                tables: auth_tables,
            }),
            privileges: privileges.map(|postgres| PrivilegeDatabase {
                postgres,
                tables: privilege_tables,
            }),
            credentials: credentials(settings)?,
            cleanup: cleanup(settings)?,
            eas: eas(settings)?,
            base,
        })
    }
}

fn credentials(settings: &Settings) -> Result<Credentials, Failure> {
    let credentials: Credentials = settings.section("credentials")?;
    let length = credentials
        .secret
        .as_ref()
        .map_or(0, |secret| secret.expose_secret().chars().count());
    if credentials.mode == Mode::Derived && length < SHORTEST_SECRET {
        return Err(Failure::configuration(format!(
            "credentials.secret: expected at least {SHORTEST_SECRET} characters where credentials.mode is `derived`"
        )));
    }
    if !(1..=MOST_PER_TOKEN).contains(&credentials.max_per_token) {
        return Err(Failure::configuration(format!(
            "credentials.max_per_token: expected a number from 1 to {MOST_PER_TOKEN}"
        )));
    }
    if credentials.lifetime.0.as_secs() == 0 {
        return Err(Failure::configuration(
            "credentials.lifetime: expected at least a second",
        ));
    }
    Ok(credentials)
}

fn cleanup(settings: &Settings) -> Result<Cleanup, Failure> {
    let cleanup: Cleanup = settings.section("cleanup")?;
    if cleanup.interval.0.as_secs() == 0 {
        return Err(Failure::configuration(
            "cleanup.interval: expected at least a second",
        ));
    }
    Ok(cleanup)
}

fn eas(settings: &Settings) -> Result<Option<Eas>, Failure> {
    let EasSection {
        issuer,
        jwks_uri,
        audience,
        memberships_claim,
    } = settings.section("eas")?;
    Ok(issuer.map(|issuer| Eas {
        issuer: issuer::Settings {
            issuer,
            jwks_uri,
            audience,
        },
        memberships_claim,
    }))
}

/// A database of the data centre; none where neither its name nor its URL is set.
fn external(settings: &Settings, section: &str, base: &Base) -> Result<Option<Postgres>, Failure> {
    let External {
        host,
        port,
        database,
        user,
        password,
        url,
        schema,
        sslmode,
        sslrootcert,
        sslcert,
        sslkey,
        pool_size,
        connect_timeout,
        statement_timeout,
        outage_exit,
    } = settings.section(section)?;
    if database.is_none() && url.is_none() {
        let said = !host.is_empty() || user.is_some() || password.is_some() || port.is_some();
        return if said {
            Err(Failure::configuration(format!(
                "{section}.database: expected the name of the database, since other keys of [{section}] are set"
            )))
        } else {
            Ok(None)
        };
    }
    let own = &base.database.postgres;
    Ok(Some(Postgres {
        host: if host.is_empty() {
            vec!["localhost".to_owned()]
        } else {
            host
        },
        port: port.unwrap_or(5432),
        database,
        user,
        password,
        url,
        schema,
        sslmode: sslmode.unwrap_or(own.sslmode),
        sslrootcert: sslrootcert.or_else(|| own.sslrootcert.clone()),
        sslcert: sslcert.or_else(|| own.sslcert.clone()),
        sslkey: sslkey.or_else(|| own.sslkey.clone()),
        pool_size: pool_size.unwrap_or(own.pool_size),
        connect_timeout: connect_timeout.unwrap_or(own.connect_timeout),
        statement_timeout: statement_timeout.unwrap_or(own.statement_timeout),
        outage_exit: outage_exit.unwrap_or(own.outage_exit),
    }))
}

/// The original's one variable.
#[expect(clippy::unnecessary_wraps, reason = "the form of Schema::originals")]
fn originals(lower: &Lower<'_>) -> Result<Vec<Setting>, Failure> {
    Ok(lower.renamed(&[("RUNMODE", "runmode")]))
}
