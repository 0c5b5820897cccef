//! ident keeps people's records with their linked accounts and tells others of every change.
//!
//! The folders are what it does: [`records`], [`notifications`]. [`run`] serves one instance, for
//! `main`, for tests and for the development launcher alike.

mod access;
pub mod config;
pub mod notifications;
pub mod openapi;
pub mod records;
mod state;

use std::sync::Arc;

use actix_web::web;
use identity_core::db::{Database, encryption_keys, migrate};
use identity_core::failure::Failure;
use identity_core::http::problem;
use identity_core::http::server::{self, Service};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Runtime;
use tokio::sync::Notify;

use config::Config;
use notifications::Dispatcher;
use state::{Shared, State};

mod migrations {
    refinery::embed_migrations!("../../migrations/ident");
}

/// Opens the database of `config`.
///
/// # Errors
/// As [`Database::open`].
pub async fn open(config: &Config) -> Result<Database, Failure> {
    Database::open(
        "ident",
        &config.base.database.postgres,
        config.base.server.worker_count(),
    )
    .await
}

/// Applies outstanding migrations and gives their names.
///
/// # Errors
/// As [`migrate::run`].
pub async fn migrate(database: &Database) -> Result<Vec<String>, Failure> {
    migrate::run(database, &migrations::migrations::runner()).await
}

/// Serves one instance until the word to stop.
///
/// # Errors
/// [`Failure`] when it cannot start or go on.
pub async fn run(config: Config, runtime: Runtime) -> Result<(), Failure> {
    let Config {
        base,
        encryption_keys: keys,
        records,
        allowed_services,
        notifications,
    } = config;
    let database = Database::open("ident", &base.database.postgres, base.server.worker_count()).await?;
    if base.database.migrate {
        migrate(&database).await?;
    } else {
        migrate::check(&database, &migrations::migrations::runner()).await?;
    }
    check_keys(&database, &keys, &runtime).await?;

    let metrics = Metrics::new("ident");
    database.measure(&metrics);
    let written = notifications.as_ref().map(|_| Arc::new(Notify::new()));
    let dispatching = {
        let (database, clock, stop) = (database.clone(), runtime.clock.clone(), runtime.stop.clone());
        let outgoing = Outgoing::new(&base.outgoing)?;
        let timeout = base.outgoing.timeout.0;
        let dispatcher = notifications.zip(written.clone()).map(|(destination, written)| {
            Dispatcher::new(database, clock, destination, outgoing, timeout, written, &metrics)
        });
        async move {
            if let Some(dispatcher) = dispatcher {
                tokio::join!(dispatcher.run(&stop), dispatcher.measure(&stop));
            }
            Ok(())
        }
    };
    let shared = Shared {
        database: database.clone(),
        clock: runtime.clock.clone(),
        keys: Arc::new(keys),
        records,
        allowed_services: allowed_services.into(),
        written,
    };
    let routes = move |config: &mut web::ServiceConfig| {
        config.app_data(web::Data::new(State::of_worker(&shared)));
        records::api::routes(config);
    };
    let service = Service {
        form: problem::rfc9457,
        openapi: openapi::document(),
        database,
        metrics,
    };
    let serving = server::serve(&base, service, runtime, routes);
    tokio::try_join!(serving, dispatching).map(|_| ())
}

/// Refuses to start with keys that cannot read what the database holds.
async fn check_keys(
    database: &Database,
    keys: &identity_core::crypto::fernet::Keys,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let checking = |error| Failure::because("checking database.encryption_key", error);
    let client = database.client().await.map_err(checking)?;
    match encryption_keys::record(&client, keys, runtime.clock.now())
        .await
        .map_err(checking)?
    {
        None => Ok(()),
        Some(missing) => Err(Failure::configuration(format!(
            "database.encryption_key: the database holds secrets of the key with fingerprint {missing}, which is not \
             among the configured ones; put it back behind the first"
        ))),
    }
}
