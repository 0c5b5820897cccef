//! From the settings to the parameters of a connection.

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_postgres::config::{Host, SslMode as Negotiation, TargetSessionAttrs};
use url::form_urlencoded;

use crate::config::{Postgres, SslMode};
use crate::failure::Failure;

/// How long a connection may be idle before it is asked whether its other end is still there.
const IDLE: Duration = Duration::from_secs(30);

/// The parameters for `settings`, one for each host, as `application` in Postgres's own lists of
/// connections.
///
/// `settings` loses what its URL says of TLS to its own fields: tokio-postgres knows neither the
/// verifying modes nor the files.
///
/// # Errors
/// [`Failure::Configuration`] naming the key.
pub(super) fn parameters(
    settings: &mut Postgres,
    application: &str,
) -> Result<Vec<tokio_postgres::Config>, Failure> {
    let mut parameters = match settings.url.clone() {
        Some(url) => from_url(settings, url.expose_secret())?,
        None => from_fields(settings),
    };
    let schema = &settings.schema;
    if !is_plain_name(schema) {
        let message = format!("database.postgres.schema: expected letters, digits and _, found `{schema}`");
        return Err(Failure::configuration(message));
    }
    let milliseconds = settings.statement_timeout.0.as_millis();
    parameters
        .application_name(application)
        .options(format!(
            "-c search_path={schema} -c statement_timeout={milliseconds}"
        ))
        .connect_timeout(settings.connect_timeout.0)
        .keepalives(true)
        .keepalives_idle(IDLE)
        .tcp_user_timeout(settings.connect_timeout.0)
        .ssl_mode(match settings.sslmode {
            SslMode::Disable => Negotiation::Disable,
            SslMode::Prefer => Negotiation::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Negotiation::Require,
        });
    let count = parameters.get_hosts().len().max(parameters.get_hostaddrs().len());
    if count < 2 {
        return Ok(vec![parameters]);
    }
    // After a failover the first host that answers may be one that only reads.
    parameters.target_session_attrs(TargetSessionAttrs::ReadWrite);
    Ok((0..count).map(|index| only_host(&parameters, index)).collect())
}

/// `all`, but of its hosts only the one at `index`.
fn only_host(all: &tokio_postgres::Config, index: usize) -> tokio_postgres::Config {
    let mut one = tokio_postgres::Config::new();
    match all.get_hosts().get(index) {
        Some(Host::Tcp(name)) => {
            one.host(name);
        }
        Some(Host::Unix(directory)) => {
            one.host_path(directory);
        }
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    let ports = all.get_ports();
    if let Some(port) = ports.get(index).or_else(|| ports.first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs());
    one
}

fn from_fields(settings: &Postgres) -> tokio_postgres::Config {
    let mut parameters = tokio_postgres::Config::new();
    for host in &settings.host {
        parameters.host(host);
    }
    parameters.port(settings.port);
    if let Some(database) = &settings.database {
        parameters.dbname(database);
    }
    if let Some(user) = &settings.user {
        parameters.user(user);
    }
    if let Some(password) = &settings.password {
        parameters.password(password.expose_secret());
    }
    parameters
}

fn from_url(settings: &mut Postgres, url: &str) -> Result<tokio_postgres::Config, Failure> {
    // SQLAlchemy, which two of the originals use, puts its driver's name into the scheme.
    let url = url
        .split_once("://")
        .filter(|(scheme, _)| scheme.starts_with("postgres"));
    let Some((_, rest)) = url else {
        return Err(Failure::configuration(
            "database.postgres.url: expected postgresql://user:password@host:port/database",
        ));
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut others = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "sslmode" => settings.sslmode = ssl_mode(&value)?,
            "sslrootcert" => settings.sslrootcert = Some(value.into_owned().into()),
            "sslcert" => settings.sslcert = Some(value.into_owned().into()),
            "sslkey" => settings.sslkey = Some(value.into_owned().into()),
            _ => {
                others.append_pair(&name, &value);
            }
        }
    }
    format!("postgresql://{address}?{}", others.finish())
        .parse()
        .map_err(|error: tokio_postgres::Error| {
            Failure::configuration(format!("database.postgres.url: {error}"))
        })
}

fn ssl_mode(text: &str) -> Result<SslMode, Failure> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        other => Err(Failure::configuration(format!(
            "database.postgres.url: sslmode `{other}` is not known"
        ))),
    }
}

/// Names that need no quotes in SQL, so that none can break out of them.
pub(super) fn is_plain_name(name: &str) -> bool {
    let mut characters = name.bytes();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && characters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.len() < 64
}
