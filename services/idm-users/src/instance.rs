//! One instance of idm-users: put together from its configuration, for serving and for commands.

use std::sync::Arc;

use actix_web::web;
use identity_core::clock::Clock;
use identity_core::config::Base;
use identity_core::config::values::Span;
use identity_core::crypto::issuer::Issuers;
use identity_core::crypto::jwt::SharedKey;
use identity_core::crypto::password::{self, Hasher};
use identity_core::db::{Database, migrate as migrations_of};
use identity_core::failure::Failure;
use identity_core::http::page;
use identity_core::http::server::{self, Service};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Runtime;
use identity_core::throttle::Throttle;
use secrecy::ExposeSecret;

use crate::config::{Config, Jwt};
use crate::mail::{self, Postbox, Sender};
use crate::setup::{self, Setup};
use crate::state::{Counts, Shared, Signing, State};
use crate::{answer, audit, forgotten, links, openapi, secret, sign_in, status, subjects, users};

mod migrations {
    refinery::embed_migrations!("../../migrations/idm_users");
}

/// What one instance works with.
#[derive(Debug)]
pub struct Instance {
    base: Base,
    metrics: Metrics,
    mailing: mail::Worker,
    /// What handlers and commands share.
    pub shared: Shared,
}

/// Opens the database of `config`.
///
/// # Errors
/// As [`Database::open`].
pub async fn open(config: &Config) -> Result<Database, Failure> {
    let base = &config.base;
    Database::open("idm-users", &base.database.postgres).await
}

/// Applies outstanding migrations and gives their names.
///
/// # Errors
/// As [`migrations_of::run`].
pub async fn migrate(database: &Database) -> Result<Vec<String>, Failure> {
    migrations_of::run(database, &migrations::migrations::runner()).await
}

/// Brings the schema up to date where the configuration says so, or sees that it is.
///
/// # Errors
/// As [`migrations_of::prepare`].
pub(crate) async fn prepare(database: &Database, config: &Base) -> Result<(), Failure> {
    let migrations = migrations::migrations::runner();
    migrations_of::prepare(database, &migrations, config.database.migrate).await
}

impl Instance {
    /// Opens the database, brings it up to date and puts everything together.
    ///
    /// # Errors
    /// [`Failure`] when the database cannot be used or the configuration cannot work.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, Failure> {
        let public_url = public_url(&config.base);
        let host = url::Url::parse(&public_url).ok();
        let host = host
            .as_ref()
            .and_then(url::Url::domain)
            .unwrap_or("localhost")
            .to_owned();
        let sender = Sender::new(&config.mail, config.admin_email.as_ref(), &host)?;
        let signing = Arc::new(signing(config.jwt)?);
        let outgoing = Outgoing::new(&config.base.outgoing)?;
        let issuers = Issuers::new(config.trusted_issuers, &outgoing);
        let hasher = Hasher::new(&costs())?;
        let setup = match config.init_code {
            Some(code) => Setup::Configured(code),
            None if config.base.server.bind.0.ip().is_loopback() => Setup::Open,
            None => Setup::Told,
        };
        let database = Database::open("idm-users", &config.base.database.postgres).await?;
        prepare(&database, &config.base).await?;
        secret::require(&database, &signing.at_rest, clock.now()).await?;
        let metrics = Metrics::new("idm-users");
        database.measure(&metrics);
        let queue = hasher.clone();
        let depth = move || vec![("admitted", queue.depth())];
        metrics.collect_gauges(
            "password_hashes",
            "Passwords being hashed or waiting for it",
            depth,
        );
        let postbox = Postbox::new(sender, signing.clone());
        let retry_interval = config.mail.retry_interval;
        let mailing = mail::Worker::new(
            postbox.clone(),
            database.clone(),
            clock.clone(),
            retry_interval,
            &metrics,
        );
        let shared = Shared {
            database,
            clock,
            signing,
            issuers,
            hasher,
            throttle: Throttle::new(&config.base.limits),
            mails_per_account: config.base.limits.mails_per_account,
            shortest_password: config.shortest_password,
            public_url: public_url.into(),
            postbox,
            setup: Arc::new(setup),
            asked: Arc::default(),
            counts: Counts::new(&metrics),
        };
        Ok(Self {
            base: config.base,
            metrics,
            mailing,
            shared,
        })
    }

    /// Serves until the word to stop.
    ///
    /// # Errors
    /// [`Failure`] when it cannot start or go on.
    pub async fn serve(self, runtime: Runtime) -> Result<(), Failure> {
        let shared = self.shared.clone();
        setup::prepare(&shared)
            .await
            .map_err(|error| Failure::because("preparing the first administrator", error))?;
        let stop = runtime.stop.clone();
        let answering = forgotten::Worker(shared.clone());
        let working = async {
            tokio::join!(answering.run(&stop), self.mailing.run(&stop));
            Ok(())
        };
        let service = Service {
            form: answer::form,
            openapi: openapi::document(),
            database: shared.database.clone(),
            metrics: self.metrics.clone(),
            hasher: Some(shared.hasher.clone()),
        };
        let routed = shared.clone();
        let serving = server::serve(&self.base, service, runtime, move |config| {
            routes(config, &routed);
        });
        tokio::try_join!(serving, working).map(|_| ())
    }
}

/// Adds all paths, for one worker.
fn routes(config: &mut web::ServiceConfig, shared: &Shared) {
    config.app_data(web::Data::new(State::of_worker(shared)));
    page::routes(config);
    status::api::routes(config);
    sign_in::api::routes(config);
    setup::api::routes(config);
    forgotten::api::routes(config);
    users::api::routes(config);
    subjects::api::routes(config);
    links::api::routes(config);
    audit::api::routes(config);
}

/// Under which the service is reached, without a slash at the end.
fn public_url(base: &Base) -> String {
    if let Some(url) = &base.server.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let tls = base.server.tls_cert.is_some();
    format!("http{}://{}", if tls { "s" } else { "" }, base.server.bind.0)
}

/// The costs that OWASP recommends; there is no reason for a site to choose others.
fn costs() -> password::Settings {
    password::Settings {
        memory_kib: 19 * 1024,
        iterations: 2,
        parallelism: 1,
        concurrency: 0,
        queue: 64,
        remember_secret: Span(std::time::Duration::ZERO),
    }
}

fn signing(jwt: Jwt) -> Result<Signing, Failure> {
    let unusable = || Failure::configuration("jwt.secret: it cannot be used");
    let key = SharedKey::new(jwt.algorithm, jwt.secret.expose_secret().as_bytes()).ok_or_else(unusable)?;
    let at_rest = secret::keys(&[&jwt.secret]).ok_or_else(unusable)?;
    Ok(Signing {
        key,
        algorithm: jwt.algorithm,
        secret: jwt.secret,
        issuer: jwt.iss,
        audience: jwt.aud,
        expiration_seconds: jwt.expiration_seconds,
        at_rest,
    })
}
