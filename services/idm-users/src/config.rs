//! The settings of idm-users, as types. Their meanings stand in `default.toml`.

use std::path::PathBuf;
use std::time::Duration;

use identity_core::config::values::Span;
use identity_core::config::{Base, Schema, Settings};
use identity_core::crypto::issuer;
use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use identity_core::failure::Failure;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What idm-users' configuration knows, and where it is looked for.
pub static SCHEMA: Schema = Schema {
    service: "idm-users",
    defaults: include_str!("../default.toml"),
    secrets: &["init.code", "jwt.secret", "mail.password"],
    open: &[],
    file_variables: &["IDM_USERS_CONFIG", "IDM_USERS_SETTINGS"],
    originals: |_| Ok(Vec::new()),
};

/// The settings of one instance.
#[derive(Debug)]
pub struct Config {
    /// The sections that every service has.
    pub base: Base,
    /// `admin_email`
    pub admin_email: Option<Mailbox>,
    /// `trusted_issuers`
    pub trusted_issuers: Vec<issuer::Settings>,
    /// `init.code`
    pub init_code: Option<SecretString>,
    /// `jwt`
    pub jwt: Jwt,
    /// `mail`
    pub mail: Mail,
    /// `password.min_length`
    pub shortest_password: usize,
}

/// `[jwt]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Jwt {
    pub iss: String,
    pub aud: String,
    pub expiration_seconds: i64,
    #[serde(default)]
    pub secret: SecretString,
    pub algorithm: SharedAlgorithm,
}

/// `[mail]`
#[derive(Debug)]
pub struct Mail {
    /// How mails leave.
    pub transport: Transport,
    /// Whom they come from; none: a name at our own host.
    pub from: Option<Mailbox>,
    /// `retry_interval`
    pub retry_interval: Duration,
}

/// How mails leave.
#[derive(Debug)]
pub enum Transport {
    /// To an SMTP server.
    Smtp(Smtp),
    /// Into files of a directory.
    File(PathBuf),
    /// Not at all.
    None,
}

/// An SMTP server, and how it is spoken to.
#[derive(Debug)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Smtp {
    pub server: String,
    pub port: u16,
    pub encryption: Encryption,
    pub credentials: Option<(String, SecretString)>,
}

/// How a connection to an SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Begun in the clear, and not gone on with before it is encrypted (RFC 3207).
    Starttls,
    /// From the first byte (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransportName {
    Smtp,
    File,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailSection {
    transport: TransportName,
    directory: Option<PathBuf>,
    server: String,
    port: u16,
    encryption: Encryption,
    username: Option<String>,
    password: Option<SecretString>,
    from: Option<String>,
    retry_interval: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    code: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    min_length: usize,
}

impl Config {
    /// Reads all sections.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the key and what is expected of it.
    pub fn read(settings: &Settings) -> Result<Self, Failure> {
        let admin_email: String = top_level(settings, "admin_email")?;
        let Init { code } = settings.section("init")?;
        let Password { min_length } = settings.section("password")?;
        // A longer minimum than the longest password would refuse them all.
        if !(8..=128).contains(&min_length) {
            return Err(Failure::configuration(
                "password.min_length: expected a number from 8 to 128",
            ));
        }
        let admin_email = address("admin_email", Some(admin_email).filter(|text| !text.is_empty()))?;
        Ok(Self {
            base: Base::read(settings)?,
            mail: Mail::read(settings, admin_email.as_ref())?,
            admin_email,
            trusted_issuers: top_level(settings, "trusted_issuers")?,
            init_code: code,
            jwt: Jwt::read(settings)?,
            shortest_password: min_length,
        })
    }
}

/// A key that stands in no section.
fn top_level<T: DeserializeOwned>(settings: &Settings, key: &str) -> Result<T, Failure> {
    settings.section(key)
}

fn address(key: &str, text: Option<String>) -> Result<Option<Mailbox>, Failure> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Failure::configuration(format!("{key}: expected an email address, found `{text}`")))
    };
    text.map(parse).transpose()
}

impl Jwt {
    fn read(settings: &Settings) -> Result<Self, Failure> {
        let jwt: Self = settings.section("jwt")?;
        if SharedKey::new(jwt.algorithm, jwt.secret.expose_secret().as_bytes()).is_none() {
            return Err(Failure::configuration(format!(
                "jwt.secret: expected at least {} bytes for {}",
                jwt.algorithm.shortest_secret(),
                jwt.algorithm.as_str()
            )));
        }
        // With a century a point in time can still be computed.
        if !(1..=100 * 366 * 86_400).contains(&jwt.expiration_seconds) {
            return Err(Failure::configuration(
                "jwt.expiration_seconds: expected a number of seconds from 1 on",
            ));
        }
        Ok(jwt)
    }
}

impl Mail {
    fn read(settings: &Settings, admin_email: Option<&Mailbox>) -> Result<Self, Failure> {
        let section: MailSection = settings.section("mail")?;
        let transport = match section.transport {
            TransportName::None => Transport::None,
            TransportName::File => Transport::File(section.directory.ok_or_else(|| {
                Failure::configuration(
                    "mail.directory: expected a directory, since mail.transport is \"file\"",
                )
            })?),
            TransportName::Smtp => {
                let credentials = match (section.username, section.password) {
                    (Some(username), Some(password)) => Some((username, password)),
                    (None, None) => None,
                    _ => {
                        return Err(Failure::configuration(
                            "mail.username and mail.password: expected both or neither",
                        ));
                    }
                };
                let port = match (section.port, section.encryption) {
                    (0, Encryption::Starttls) => 587,
                    (0, Encryption::Tls) => 465,
                    (0, Encryption::None) => 25,
                    (port, _) => port,
                };
                Transport::Smtp(Smtp {
                    server: section.server,
                    port,
                    encryption: section.encryption,
                    credentials,
                })
            }
        };
        if section.retry_interval.0.is_zero() {
            return Err(Failure::configuration(
                "mail.retry_interval: expected a longer time than 0",
            ));
        }
        Ok(Self {
            transport,
            from: address("mail.from", section.from)?.or_else(|| admin_email.cloned()),
            retry_interval: section.retry_interval.0,
        })
    }
}
