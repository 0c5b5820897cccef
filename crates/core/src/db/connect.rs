//! From the settings to the parameters of a connection.

use secrecy::ExposeSecret;
use tokio_postgres::config::{LoadBalanceHosts, SslMode as Negotiation, TargetSessionAttrs};
use url::form_urlencoded;

use crate::config::{Postgres, SslMode};
use crate::failure::Failure;

/// The parameters for `settings`, as `application` in Postgres's own lists of connections.
///
/// `settings` loses what its URL says of TLS to its own fields: tokio-postgres knows neither the
/// verifying modes nor the files.
///
/// # Errors
/// [`Failure::Configuration`] naming the key.
pub(super) fn parameters(
    settings: &mut Postgres,
    application: &str,
) -> Result<tokio_postgres::Config, Failure> {
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
        .ssl_mode(match settings.sslmode {
            SslMode::Disable => Negotiation::Disable,
            SslMode::Prefer => Negotiation::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Negotiation::Require,
        });
    if parameters.get_hosts().len() > 1 {
        // After a failover the first host that answers may be one that only reads.
        parameters
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .load_balance_hosts(LoadBalanceHosts::Disable);
    }
    Ok(parameters)
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
