//! One instance of ident: put together from its configuration, for serving and for commands.

use std::sync::Arc;

use actix_web::web;
use identity_core::clock::Clock;
use identity_core::config::Base;
use identity_core::crypto::issuer::Issuers;
use identity_core::crypto::password::Hasher;
use identity_core::db::{Database, encryption_keys, migrate as migrations_of};
use identity_core::failure::Failure;
use identity_core::http::problem;
use identity_core::http::server::{self, Service};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Runtime;
use identity_core::throttle::Throttle;
use tokio::sync::Notify;

use crate::clients::{self, RememberedSecrets};
use crate::config::Config;
use crate::login;
use crate::notifications::{Destination, Dispatcher};
use crate::state::{Counts, Shared, State};
use crate::tokens::{self, Authority};
use crate::{keys, oauth, openapi, records, users};

mod migrations {
    refinery::embed_migrations!("../../migrations/ident");
}

/// What one instance works with.
#[derive(Debug)]
pub struct Instance {
    base: Base,
    metrics: Metrics,
    outgoing: Outgoing,
    destination: Option<Destination>,
    auto_configure: bool,
    /// What handlers and commands share.
    pub shared: Shared,
}

/// Opens the database of `config`.
///
/// # Errors
/// As [`Database::open`].
pub async fn open(config: &Config) -> Result<Database, Failure> {
    let base = &config.base;
    Database::open("ident", &base.database.postgres).await
}

/// Applies outstanding migrations and gives their names.
///
/// # Errors
/// As [`migrations_of::run`].
pub async fn migrate(database: &Database) -> Result<Vec<String>, Failure> {
    migrations_of::run(database, &migrations::migrations::runner()).await
}

impl Instance {
    /// Opens the database, brings it up to date and puts everything together.
    ///
    /// # Errors
    /// [`Failure`] when the database cannot be used or the configuration cannot work.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, Failure> {
        let database = open(&config).await?;
        let migrations = migrations::migrations::runner();
        migrations_of::prepare(&database, &migrations, config.base.database.migrate).await?;
        encryption_keys::require(
            &database,
            &config.encryption_keys,
            "database.encryption_key",
            clock.now(),
        )
        .await?;
        let metrics = Metrics::new("ident");
        database.measure(&metrics);
        let outgoing = Outgoing::new(&config.base.outgoing)?;
        let hasher = Hasher::new(&config.password)?;
        let queue = hasher.clone();
        let depth = move || vec![("admitted", queue.depth())];
        metrics.collect_gauges(
            "password_hashes",
            "Passwords being hashed or waiting for it",
            depth,
        );
        let shared = Shared {
            database,
            clock,
            keys: Arc::new(config.encryption_keys),
            records: config.records,
            allowed_services: config.allowed_services.into(),
            written: config.notifications.as_ref().map(|_| Arc::new(Notify::new())),
            authority: Authority::default(),
            issuers: Issuers::new(config.trusted_issuers, &outgoing),
            hasher,
            remembered: Arc::new(RememberedSecrets::new(config.password.remember_secret.0)),
            throttle: Throttle::new(&config.base.limits),
            rotation: config.rotation,
            audience: config.audience,
            retry_window: config.retry_window,
            public_url: public_url(&config.base),
            counts: Counts::new(&metrics),
        };
        let (destination, auto_configure) = (config.notifications, config.auto_configure);
        Ok(Self {
            base: config.base,
            metrics,
            outgoing,
            destination,
            auto_configure,
            shared,
        })
    }

    /// Serves until the word to stop.
    ///
    /// # Errors
    /// [`Failure`] when it cannot start or go on.
    pub async fn serve(self, runtime: Runtime) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let starting = |error| Failure::because("preparing the signing keys", error);
        if self.auto_configure {
            let (database, keys) = (&shared.database, &shared.keys);
            let made = keys::auto_configure(database, keys, &shared.public_url, &shared.clock).await;
            if made.map_err(starting)? {
                tracing::info!(issuer = shared.public_url, "made the first signing key");
            }
        }
        shared.learn().await.map_err(starting)?;
        let stop = runtime.stop.clone();
        let remembered = shared.remembered.clone();
        let syncing = tokens::keep_up_to_date(
            shared.database.clone(),
            shared.keys.clone(),
            shared.authority.clone(),
            shared.rotation,
            shared.clock.clone(),
            stop.clone(),
            async move |database: &Database| remembered.recheck(&database.client().await?).await,
        );
        let dispatcher = self.dispatcher();
        let working = async move {
            let dispatching = async {
                if let Some(dispatcher) = dispatcher {
                    tokio::join!(dispatcher.run(&stop), dispatcher.measure(&stop));
                }
            };
            tokio::join!(syncing, dispatching);
            Ok(())
        };
        let service = Service {
            form: problem::rfc9457,
            openapi: openapi::document(),
            database: shared.database.clone(),
            metrics: self.metrics.clone(),
            hasher: Some(shared.hasher.clone()),
        };
        let serving = server::serve(&self.base, service, runtime, move |config| {
            routes(config, &shared);
        });
        tokio::try_join!(serving, working).map(|_| ())
    }

    fn dispatcher(&self) -> Option<Dispatcher> {
        let (destination, written) = self.destination.clone().zip(self.shared.written.clone())?;
        Some(Dispatcher::new(
            self.shared.database.clone(),
            self.shared.clock.clone(),
            destination,
            self.outgoing.clone(),
            self.base.outgoing.timeout.0,
            written,
            &self.metrics,
        ))
    }
}

/// Adds all paths, for one worker.
fn routes(config: &mut web::ServiceConfig, shared: &Shared) {
    config.app_data(web::Data::new(State::of_worker(shared)));
    login::api::routes(config);
    tokens::api::routes(config);
    keys::api::routes(config);
    oauth::api::routes(config);
    users::api::routes(config);
    clients::api::routes(config);
    // The last: `/{id}` matches what no literal path does.
    records::api::routes(config);
}

/// Under which the service is reached, without a slash at the end.
fn public_url(base: &Base) -> String {
    if let Some(url) = &base.server.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let tls = base.server.tls_cert.is_some();
    format!("http{}://{}", if tls { "s" } else { "" }, base.server.bind.0)
}
