//! What happens around every request: its id and span, its time limit, a panic caught, errors
//! shown in the service's form, headers that protect browsers, one log line, one measurement.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use futures_util::FutureExt;
use opentelemetry::Context;
use tracing::Instrument;

use super::Problem;
use super::body::Receiving;
use super::client::{Client, REQUEST_ID};
use super::connection::Turn;
use super::leaving::Leaving;
use super::problem::Form;
use crate::config::values::Range;
use crate::crypto::password::Hasher;
use crate::metrics::Metrics;
use crate::telemetry::traces::{Answered, Traces};

/// What the guard of a service knows.
#[derive(Debug, Clone)]
pub struct Guard {
    /// How this service shows errors.
    pub form: Form,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<Range>,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether browsers come by HTTPS and shall go on doing so.
    pub https: bool,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Where their spans go, if anywhere.
    pub traces: Option<Arc<Traces>>,
    /// What hashes passwords, and leaves room for other requests.
    pub hasher: Option<Hasher>,
    /// Whether the server is about to stop.
    pub leaving: Leaving,
}

/// The outermost middleware of every service.
///
/// # Errors
/// A request that took too long or panicked leaves nothing to answer to but an error, which carries
/// its answer.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(guard) = request.app_data::<web::Data<Guard>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let _open = guard.leaving.open();
    let turn = request.request().conn_data::<Turn>();
    let _handled = turn.map(|turn| turn.of(body_size(request.headers())));
    let peer = request.peer_addr().map(|peer| peer.ip());
    let client = Client::of(peer, request.headers(), &guard.trusted_proxies);
    let receiving = Receiving::default();
    request.extensions_mut().insert(client.clone());
    request.extensions_mut().insert(receiving.clone());
    let method = known(request.method());
    let traces = guard.traces.as_ref();
    let caller = traces.map(|traces| traces.caller(&client, request.headers()));
    let span = tracing::info_span!("request", id = client.request_id);

    let handled = Hasher::beside(guard.hasher.as_ref(), next.call(request));
    let handled = AssertUnwindSafe(handled).catch_unwind();
    let handled = tokio::time::timeout(guard.request_timeout, handled)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    let problem = match handled {
        Ok(Ok(Ok(answer))) => {
            let mut answer = guard.in_our_form(answer.map_into_boxed_body(), &client);
            let route = answer.request().match_pattern();
            guard.protect(answer.headers_mut(), &client);
            guard.part(answer.response_mut());
            guard.report(
                method,
                route.as_deref(),
                answer.status(),
                started,
                &client,
                caller.as_ref(),
            );
            return Ok(answer);
        }
        Ok(Ok(Err(error))) => Problem::new(
            error.as_response_error().status_code(),
            "The request could not be handled.",
        ),
        Ok(Err(panic)) => Problem::internal(format!("panicked: {}", message_of(&*panic))),
        Err(_) if receiving.0.get() => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive.")
        }
        Err(_) => Problem::unavailable("The request took too long.", 5),
    };
    let mut answer = guard.show(&problem, &client);
    guard.protect(answer.headers_mut(), &client);
    guard.part(&mut answer);
    guard.report(method, None, problem.status(), started, &client, caller.as_ref());
    Err(InternalError::from_response(problem, answer).into())
}

impl Guard {
    /// Replaces an error's answer by the service's own: actix would show the error's text.
    fn in_our_form(&self, answer: ServiceResponse, client: &Client) -> ServiceResponse {
        let Some(error) = answer.response().error() else {
            return answer;
        };
        let shown = if let Some(problem) = error.as_error::<Problem>() {
            self.show(problem, client)
        } else {
            let status = error.as_response_error().status_code();
            let problem = Problem::new(status, "The request could not be understood.");
            self.show(&problem, client)
        };
        let mut shown = shown;
        // What a service's own middleware has added stays, as the headers of CORS.
        for (name, value) in answer.response().headers() {
            if !shown.headers().contains_key(name) {
                shown.headers_mut().append(name.clone(), value.clone());
            }
        }
        answer.into_response(shown)
    }

    fn show(&self, problem: &Problem, client: &Client) -> HttpResponse {
        match problem.cause() {
            Some(cause) if problem.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(cause, request_id = client.request_id, "a request failed");
            }
            Some(cause) => tracing::warn!(cause, request_id = client.request_id, "a request was put off"),
            None => {}
        }
        problem.answer(self.form, &client.request_id)
    }

    fn protect(&self, headers: &mut HeaderMap, client: &Client) {
        let mut unless_set = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        unless_set(header::X_FRAME_OPTIONS, "DENY");
        unless_set(header::REFERRER_POLICY, "no-referrer");
        unless_set(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        );
        unless_set(header::CACHE_CONTROL, "no-store");
        unless_set(
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        );
        if self.https {
            unless_set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
        }
        if let Ok(id) = HeaderValue::from_str(&client.request_id) {
            headers.insert(REQUEST_ID, id);
        }
    }

    /// The last answer of its connection, if the server is about to stop.
    fn part<B>(&self, answer: &mut HttpResponse<B>) {
        if self.leaving.is_on() {
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
    }

    fn report(
        &self,
        method: &'static str,
        route: Option<&str>,
        status: StatusCode,
        started: Instant,
        client: &Client,
        caller: Option<&Context>,
    ) {
        let took = started.elapsed();
        if let (Some(traces), Some(caller)) = (&self.traces, caller) {
            traces.note(&Answered {
                method,
                route,
                status: status.as_u16(),
                took,
                client,
                caller,
            });
        }
        let route = route.unwrap_or("-");
        self.metrics
            .answered(method, route, status.as_u16(), took.as_secs_f64());
        tracing::info!(
            method,
            route,
            status = status.as_u16(),
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            request_id = client.request_id,
            client = client.address.map(tracing::field::display),
            "request"
        );
    }
}

/// The bytes of a request's body; those of one in chunks are not known.
fn body_size(headers: &HeaderMap) -> u64 {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return u64::MAX;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    length
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

/// The method for logs and metrics: a stranger must not be able to invent series.
fn known(method: &Method) -> &'static str {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods
        .iter()
        .zip(names)
        .find(|(known, _)| *known == method)
        .map_or("other", |(_, name)| name)
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
