//! One instance of tokenstore: put together from its configuration, for serving and for commands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web;
use identity_core::clock::Clock;
use identity_core::config::Base;
use identity_core::db::{Database, encryption_keys, migrate as migrations_of};
use identity_core::failure::Failure;
use identity_core::http::server::{self, Service};
use identity_core::http::{page as pages, problem, route};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::{Runtime, Stop};
use tokio::sync::OnceCell;
use url::Url;

use crate::audit::Recorder;
use crate::config::{Config, Notifications};
use crate::cookies::Cookies;
use crate::links::{self, Refresher, keep_alive};
use crate::outbox::{Dispatcher, Outbox};
use crate::providers::{Provider, Providers};
use crate::return_url::ReturnUrls;
use crate::state::{Counts, Shared, State};
use crate::{api_keys, login, openapi, page, sweep};

mod migrations {
    refinery::embed_migrations!("../../migrations/tokenstore");
}

/// What one instance works with.
#[derive(Debug)]
pub struct Instance {
    base: Base,
    metrics: Metrics,
    notifications: Option<Notifications>,
    give_up_after: Duration,
    warnings: Vec<String>,
    /// What handlers and commands share.
    pub shared: Shared,
}

/// Opens the database of `config`.
///
/// # Errors
/// As [`Database::open`].
pub async fn open(config: &Config) -> Result<Database, Failure> {
    let base = &config.base;
    Database::open("tokenstore", &base.database.postgres).await
}

/// Applies outstanding migrations and gives their names.
///
/// # Errors
/// As [`migrations_of::run`].
pub async fn migrate(database: &Database) -> Result<Vec<String>, Failure> {
    migrations_of::run(database, &migrations::migrations::runner()).await
}

impl Instance {
    /// Opens the database, brings it up to date and puts everything together; `address` is where it
    /// listens, which is its public address where none is configured.
    ///
    /// # Errors
    /// [`Failure`] when the database cannot be used or the configuration cannot work.
    pub async fn open(config: Config, clock: Clock, address: Option<SocketAddr>) -> Result<Self, Failure> {
        let database = open(&config).await?;
        let migrations = migrations::migrations::runner();
        migrations_of::prepare(&database, &migrations, config.base.database.migrate).await?;
        encryption_keys::require(&database, &config.crypto_keys, "crypto_keys", clock.now()).await?;
        let metrics = Metrics::new("tokenstore");
        database.measure(&metrics);
        let outgoing = Outgoing::new(&config.base.outgoing)?;
        let refreshing = Outgoing::new(&config.base.outgoing)?;
        let keys = Arc::new(config.crypto_keys);
        let outbox = Outbox::new(&database, &keys, &clock, config.notifications.is_some());
        let own = public_url(&config.base, address)?;
        let counts = Counts::new(&metrics);
        let shared = Shared {
            refresher: Refresher::new(&database, &clock, &keys, &outbox, &counts),
            counts,
            login: Arc::new(Provider::new(config.oidc, &outgoing, &refreshing)),
            issuers: Arc::new(OnceCell::new()),
            audience: config.audience,
            providers: Providers::new(config.providers, &outgoing, &refreshing),
            recorder: Recorder::default(),
            session: config.session,
            refresh_margin: config.refresh_margin,
            audit_keep: config.audit_keep,
            public_url: own.as_str().trim_end_matches('/').to_owned(),
            origin: own.origin().ascii_serialization(),
            cookies: Cookies {
                https: own.scheme() == "https",
            },
            return_urls: ReturnUrls::new(own, config.return_urls),
            allowed_origins: config.allowed_origins.into(),
            database,
            clock,
            keys,
            outgoing,
            outbox,
        };
        Ok(Self {
            base: config.base,
            metrics,
            notifications: config.notifications,
            give_up_after: config.give_up_after,
            warnings: config.warnings,
            shared,
        })
    }

    /// Serves until the word to stop.
    ///
    /// # Errors
    /// [`Failure`] when it cannot start or go on.
    pub async fn serve(self, runtime: Runtime) -> Result<(), Failure> {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        let shared = self.shared.clone();
        let stop = runtime.stop.clone();
        let dispatcher = self.dispatcher();
        let service = Service {
            form: problem::rfc9457,
            openapi: openapi::document(),
            database: shared.database.clone(),
            metrics: self.metrics.clone(),
            hasher: None,
        };
        let of_workers = shared.clone();
        let serving = server::serve(&self.base, service, runtime, move |config| {
            routes(config, &of_workers);
        });
        let working = async {
            tokio::join!(
                dispatcher.run(&stop),
                shared.recorder.run(&shared.database, &stop),
                sweep::run(&shared, &stop),
                keep_alive::run(&shared, &stop),
                get_to_know(&shared, &stop),
                dispatcher.measure(&stop, &shared.counts),
            );
            Ok(())
        };
        let ended = tokio::try_join!(serving, working).map(|_| ());
        // What a provider has answered is stored before the process ends.
        shared.refresher.idle().await;
        shared.recorder.write(&shared.database).await;
        ended
    }

    fn dispatcher(&self) -> Dispatcher {
        let shared = &self.shared;
        Dispatcher {
            database: shared.database.clone(),
            clock: shared.clock.clone(),
            keys: shared.keys.clone(),
            outbox: shared.outbox.clone(),
            providers: shared.providers.clone(),
            notifications: self.notifications.clone(),
            outgoing: shared.outgoing.clone(),
            timeout: self.base.outgoing.timeout.0,
            give_up_after: self.give_up_after,
        }
    }
}

/// Asks the providers who they are before anybody needs it, all at once; one that does not answer is asked
/// again when it is needed.
async fn get_to_know(shared: &Shared, stop: &Stop) {
    let all = shared.providers.iter().chain([&shared.login]);
    let asked = all.map(|provider| provider.endpoints(shared.clock.now()));
    tokio::select! {
        () = stop.said() => {}
        _ = futures_util::future::join_all(asked) => {}
    }
}

/// Adds all paths, for one worker.
fn routes(config: &mut web::ServiceConfig, shared: &Shared) {
    config.app_data(web::Data::new(State::of_worker(shared)));
    pages::routes(config);
    let scope = web::scope("")
        .wrap(from_fn(crate::around::around))
        .configure(api_keys::api::routes)
        .configure(links::api::routes)
        .configure(login::api::routes)
        .configure(page::routes)
        .default_service(route::nothing_here());
    config.service(scope);
}

/// Under which the service is reached, its path ending with a slash.
fn public_url(base: &Base, address: Option<SocketAddr>) -> Result<Url, Failure> {
    let mut url = if let Some(url) = &base.server.public_url {
        url.clone()
    } else {
        let scheme = if base.server.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        let address = address.unwrap_or(base.server.bind.0);
        Url::parse(&format!("{scheme}://{address}"))
            .map_err(|error| Failure::configuration(format!("server.bind: {error}")))?
    };
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return Err(Failure::configuration(
            "server.public_url: expected an address without query and fragment",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
