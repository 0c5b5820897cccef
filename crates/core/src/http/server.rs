//! The listener: a service's routes within the bounds of its configuration, until the word to stop.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use utoipa::openapi::OpenApi;

use super::docs::{self, Docs};
use super::guard::{Guard, guard};
use super::health::{self, Health};
use super::leaving::Leaving;
use super::problem::Form;
use super::route;
use crate::config::{Base, Server as Settings};
use crate::crypto::password::Hasher;
use crate::db::Database;
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::runtime::{Runtime, Stop};
use crate::telemetry::traces::Traces;

/// What a service serves with.
#[derive(Debug)]
pub struct Service {
    /// How it shows errors.
    pub form: Form,
    /// Its interface.
    pub openapi: OpenApi,
    /// Its database.
    pub database: Database,
    /// Its metrics.
    pub metrics: Metrics,
    /// What hashes its passwords, if it has any.
    pub hasher: Option<Hasher>,
}

/// Serves `routes`, which is called once in each worker's thread, until the runtime's stop is said.
///
/// # Errors
/// [`Failure::Unreachable`] when Postgres was out of reach for too long, [`Failure::Configuration`]
/// for a certificate that cannot be used, [`Failure::Other`] when listening fails.
pub async fn serve<R>(base: &Base, service: Service, runtime: Runtime, routes: R) -> Result<(), Failure>
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    serve_with(base, service, Vec::new(), runtime, routes).await
}

/// As [`serve`], with databases beside the service's own: `/readyz` has a line for each, by its name,
/// and one that is out of reach for too long ends the service as its own does.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with<R>(
    base: &Base,
    service: Service,
    others: Vec<(&'static str, Database)>,
    runtime: Runtime,
    routes: R,
) -> Result<(), Failure>
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let Runtime { listener, stop, .. } = runtime;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::because("listening", error))?;
    let metrics_server = metrics_server(base, &service.metrics, &stop)?;
    let mut databases = vec![service.database.clone()];
    databases.extend(others.iter().map(|(_, database)| database.clone()));
    let traces = traces(base, &service)?;
    let server = main_server(
        &base.server,
        service,
        others,
        listener,
        &stop,
        traces.clone(),
        routes,
    )?;
    tracing::info!(%address, "listening");
    let handles: Vec<ServerHandle> = [Some(&server), metrics_server.as_ref()]
        .into_iter()
        .flatten()
        .map(Server::handle)
        .collect();
    // Both end at the word to stop, the one with nothing left to do first: it must not take the
    // other's open requests with it.
    let serving = async {
        let metrics_server = async {
            match metrics_server {
                Some(server) => server.await,
                None => Ok(()),
            }
        };
        tokio::try_join!(server, metrics_server).map(|_| ())
    };
    let watching = databases.iter().map(|database| Box::pin(database.watch()));
    let watching = futures_util::future::select_all(watching);
    let ended = tokio::select! {
        ended = serving => ended.map_err(|error| Failure::because("serving", error)),
        (failure, ..) = watching => {
            for handle in handles {
                handle.stop(false).await;
            }
            Err(failure)
        }
    };
    if let Some(traces) = traces {
        traces.end().await;
    }
    ended
}

fn traces(base: &Base, service: &Service) -> Result<Option<Arc<Traces>>, Failure> {
    let endpoint = base.telemetry.otlp_endpoint.as_ref();
    endpoint
        .map(|endpoint| Traces::start(&service.openapi.info.title, endpoint).map(Arc::new))
        .transpose()
}

fn main_server<R>(
    settings: &Settings,
    service: Service,
    others: Vec<(&'static str, Database)>,
    listener: TcpListener,
    stop: &Stop,
    traces: Option<Arc<Traces>>,
    routes: R,
) -> Result<Server, Failure>
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let tls = tls(settings)?;
    let leaving = Leaving::default();
    let guarding = web::Data::new(Guard {
        form: service.form,
        trusted_proxies: settings.trusted_proxies.clone(),
        request_timeout: settings.request_timeout.0,
        https: tls.is_some()
            || settings
                .public_url
                .as_ref()
                .is_some_and(|url| url.scheme() == "https"),
        metrics: service.metrics,
        traces,
        hasher: service.hasher,
        leaving: leaving.clone(),
    });
    let docs = web::Data::new(Docs::new(&service.openapi));
    let health = web::Data::new(Health {
        database: service.database,
        others,
        stop: stop.clone(),
    });
    let body_limit = usize::try_from(settings.body_limit.as_u64()).unwrap_or(usize::MAX);
    let app = move || {
        App::new()
            .wrap(from_fn(guard))
            .app_data(guarding.clone())
            .app_data(docs.clone())
            .app_data(health.clone())
            .app_data(web::PayloadConfig::new(body_limit))
            .configure(health::routes)
            .configure(docs::routes)
            .configure(&routes)
            .default_service(route::nothing_here())
    };
    super::listener::serve(settings, tls, listener, (stop, leaving), app)
}

/// `/metrics`, on a listener of its own, which nobody outside needs to reach.
fn metrics_server(base: &Base, metrics: &Metrics, stop: &Stop) -> Result<Option<Server>, Failure> {
    let Some(bind) = base.metrics.bind else {
        return Ok(None);
    };
    let metrics = web::Data::new(metrics.clone());
    let stopped = stop.clone();
    let server = HttpServer::new(move || {
        let scrape = |metrics: web::Data<Metrics>| async move {
            HttpResponse::Ok()
                .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
                .body(metrics.encode())
        };
        App::new()
            .app_data(metrics.clone())
            .route("/metrics", web::get().to(scrape))
    });
    let server = server
        .workers(1)
        .shutdown_timeout(1)
        .shutdown_signal(async move { stopped.said().await })
        .bind(bind.0);
    let server =
        server.map_err(|error| Failure::because(&format!("listening on metrics.bind {}", bind.0), error))?;
    for address in server.addrs() {
        tracing::info!(%address, "listening for metrics");
    }
    Ok(Some(server.run()))
}

fn tls(settings: &Settings) -> Result<Option<ServerConfig>, Failure> {
    let (certificate, key) = match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        _ => {
            return Err(Failure::configuration(
                "server.tls_cert and server.tls_key: expected both or neither",
            ));
        }
    };
    let unusable =
        |key: &str, error: &dyn std::fmt::Display| Failure::configuration(format!("{key}: {error}"));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable("server.tls_cert", &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("server.tls_key", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::because("preparing TLS", error))?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    config
        .map(Some)
        .map_err(|error| unusable("server.tls_cert", &error))
}
