//! The listener of a service: connections that come to an end, no more of them than the process can hold.

use std::future::ready;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::KeepAlive;
use rustix::process::{Resource, getrlimit};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::address;
use super::connection::{Connection, Limits, Socket};
use super::leaving::Leaving;
use crate::config::Server as Settings;
use crate::failure::Failure;
use crate::runtime::Stop;

/// An idle connection stays open longer than nginx keeps one to its upstreams (60 s), so that it is
/// nginx that closes, and never while it sends the next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client has to close a connection that is done with.
const LEAVE: Duration = Duration::from_secs(1);
/// How long idle connections, and those that are sending a head, may take to end when all requests are answered; in
/// seconds.
const CLOSING: u64 = 2;
/// The guard and actix know better what to answer when a time is over: they come first.
const AFTER_ALL_OTHERS: Duration = Duration::from_secs(5);
/// The most connections at a time: idle ones take some 12 KiB each, those that send what is no request up to 150 KiB.
const MOST_CONNECTIONS: usize = 16_384;
/// Open files that are kept for Postgres, outgoing requests and the log.
const OTHER_FILES: usize = 200;

/// The server of the application that `app` makes for each worker. From now on connections can come.
///
/// # Errors
/// [`Failure::Other`] when listening fails.
pub(super) fn serve<A, I, F, B>(
    settings: &Settings,
    tls: Option<ServerConfig>,
    listener: TcpListener,
    (stop, leaving): (&Stop, Leaving),
    app: A,
) -> Result<Server, Failure>
where
    A: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<F, Request> + 'static,
    F: ServiceFactory<Request, Config = AppConfig, Error = actix_web::Error, InitError = ()> + 'static,
    F::Response: Into<Response<B>> + 'static,
    <F::Service as actix_service::Service<Request>>::Future: 'static,
    F::Service: 'static,
    B: MessageBody + 'static,
{
    let listening = |error| Failure::because("listening", error);
    let address = listener.local_addr().map_err(listening)?;
    address::listen(&listener)
        .map_err(|error| Failure::because(&format!("listening on {address}"), error))?;
    let workers = settings.worker_count();
    let known = listener.try_clone().map_err(listening)?;
    let last = leaving.clone();
    let server = actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections(most_connections(open_files(), workers))
        .shutdown_timeout(CLOSING)
        .shutdown_signal(async move { last.over().await });
    let draining = server.graceful_shutdown_signal();
    let head = settings.header_timeout.0;
    let limits = Limits {
        answer: head + settings.request_timeout.0 + AFTER_ALL_OTHERS,
        idle: KEEP_ALIVE + AFTER_ALL_OTHERS,
        take: settings.request_timeout.0,
    };
    let http = move || {
        let app = app().into_factory().map_err(|error| error.error_response());
        let draining = draining.clone();
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(head)
            .client_disconnect_timeout(LEAVE)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.turn());
            })
            .finish(map_config(app, |()| AppConfig::default()))
    };
    let server = match tls {
        None => server.listen("http", listener, move || {
            let connected = move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                let connection = Connection::new(Socket::Plain(stream), limits);
                ready(Ok((connection, Protocol::Http1, peer)))
            };
            fn_service(connected).and_then(http())
        }),
        Some(mut tls) => {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            server.listen("https", listener, move || {
                let connected = move |stream: TlsStream<TcpStream>| {
                    let peer = stream.get_ref().0.peer_addr().ok();
                    let connection = Connection::new(Socket::Tls(Box::new(stream)), limits);
                    ready(Ok((connection, Protocol::Http1, peer)))
                };
                Acceptor::new(tls.clone())
                    .map_err(TlsError::into_service_error)
                    .and_then(connected)
                    .and_then(http().map_err(TlsError::Service))
            })
        }
    };
    let server = server.map_err(listening)?.run();
    tokio::spawn(leaving.see_off(stop.clone(), server.handle(), known, settings.shutdown_grace.0));
    Ok(server)
}

/// How many files the process may have open; none: any number.
fn open_files() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok())
}

/// How many connections a worker takes: beyond that they wait in the kernel's queue, and what is served is served.
fn most_connections(open_files: Option<usize>, workers: usize) -> usize {
    let files = open_files.unwrap_or(usize::MAX);
    let all = files
        .saturating_sub(OTHER_FILES)
        .max(files / 2)
        .min(MOST_CONNECTIONS);
    (all / workers).max(1)
}

#[cfg(test)]
mod tests {
    use super::most_connections;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(most_connections(Some(1_024), 2), 412);
        assert_eq!(most_connections(Some(65_536), 2), 8_192);
        assert_eq!(most_connections(None, 4), 4_096);
        assert_eq!(most_connections(Some(64), 2), 16);
        assert_eq!(most_connections(Some(0), 2), 1);
    }
}
