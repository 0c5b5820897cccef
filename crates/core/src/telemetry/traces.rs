//! Traces: a span for each request that was answered, sent in batches to an OpenTelemetry collector by OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/>), with the attributes of the semantic conventions for HTTP servers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use actix_web::http::header::{HeaderMap, HeaderName};
use futures_util::future::BoxFuture;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use url::Url;

use crate::failure::{Failure, causes};
use crate::http::client::Client;

/// How long a collector may take for an answer, and how long the end of a service waits for the last batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes that are read of a collector's answer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Where spans go. What comes faster than it can be sent is left out: requests never wait for it.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request that was answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// One of the methods of HTTP, or `other`.
    pub method: &'static str,
    /// The template of its path; none where no route matched.
    pub route: Option<&'a str>,
    /// The status it was answered with.
    pub status: u16,
    /// From its head to its answer.
    pub took: Duration,
    /// Who asked.
    pub client: &'a Client,
    /// The span in which it was asked.
    pub caller: &'a Context,
}

impl Traces {
    /// Sends the spans of `service` to the collector at `endpoint`, whose path `/v1/traces` need not be said.
    /// Sending begins with the first span. Called within a runtime, whose threads do it.
    ///
    /// # Errors
    /// [`Failure::Configuration`] for an endpoint that cannot be one, [`Failure::Other`] when TLS cannot be set up.
    pub fn start(service: &str, endpoint: &Url) -> Result<Self, Failure> {
        if !["http", "https"].contains(&endpoint.scheme()) {
            let message = "telemetry.otlp_endpoint: expected the address of a collector, http:// or https://";
            return Err(Failure::configuration(message));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new()?)
            .with_endpoint(of_traces(endpoint))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::configuration(format!("telemetry.otlp_endpoint: {error}")))?;
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("identity-services");
        Ok(Self { provider, tracer })
    }

    /// The span in which `client` asks, by `traceparent` (W3C Trace Context); an empty context where none is said. A
    /// proxy that is trusted is believed, and nobody else: whoever could choose the trace could hide in another.
    #[must_use]
    pub fn caller(&self, client: &Client, headers: &HeaderMap) -> Context {
        if client.is_behind_proxy {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
        } else {
            Context::new()
        }
    }

    /// Notes a request that was answered just now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a collector compares it with other machines' time; nothing is decided by it"
    )]
    pub fn note(&self, request: &Answered<'_>) {
        let now = SystemTime::now();
        let method = match request.method {
            "other" => "_OTHER",
            known => known,
        };
        let id = StringValue::from(request.client.request_id.clone());
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(request.status)),
            KeyValue::new(
                "http.request.header.x-request-id",
                Value::Array(Array::String(vec![id])),
            ),
        ];
        if let Some(address) = request.client.address {
            attributes.push(KeyValue::new("client.address", address.to_string()));
        }
        let name = match request.route {
            Some(route) => {
                attributes.push(KeyValue::new("http.route", route.to_owned()));
                format!("{} {route}", request.method)
            }
            None => request.method.to_owned(),
        };
        let failed = request.status >= 500;
        if failed {
            attributes.push(KeyValue::new("error.type", request.status.to_string()));
        }
        let mut span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_start_time(now.checked_sub(request.took).unwrap_or(now))
            .with_attributes(attributes)
            .start_with_context(&self.tracer, request.caller);
        if failed {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(now);
    }

    /// Sends what is left and ends, within five seconds.
    pub async fn end(&self) {
        let provider = self.provider.clone();
        // It waits for its own thread, which needs the runtime.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE)).await;
        let sent = ended
            .map_err(|error| error.to_string())
            .and_then(|sent| sent.map_err(|error| error.to_string()));
        if let Err(error) = sent {
            tracing::warn!(error, "the last traces could not be sent");
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Traces")
    }
}

/// The specification's path behind what may be the address of a collector, of one behind a path, or whole.
fn of_traces(endpoint: &Url) -> String {
    let given = endpoint.as_str().trim_end_matches('/');
    if given.ends_with("/v1/traces") {
        given.to_owned()
    } else {
        format!("{given}/v1/traces")
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Carries batches on the service's runtime; the thread that makes them has none. Says once when they cannot be sent,
/// and once when they can again.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    is_failing: AtomicBool,
}

impl Collector {
    fn new() -> Result<Self, Failure> {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::because("preparing to send traces", error))?;
        Ok(Self {
            client,
            runtime: Handle::current(),
            is_failing: AtomicBool::new(false),
        })
    }

    fn note(&self, sent: Result<u16, &str>) {
        let cause = match sent {
            Ok(status) if (200..300).contains(&status) => None,
            Ok(status) => Some(format!("the collector answered {status}")),
            Err(cause) => Some(cause.to_owned()),
        };
        let was_failing = self.is_failing.swap(cause.is_some(), Ordering::Relaxed);
        match cause {
            Some(cause) if !was_failing => tracing::warn!(cause, "traces cannot be sent"),
            None if was_failing => tracing::info!("traces are sent again"),
            _ => {}
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let sending = self.runtime.spawn(send(self.client.clone(), request));
        Box::pin(async move {
            let sent = match sending.await {
                Ok(sent) => sent,
                Err(error) => Err(error.into()),
            };
            match &sent {
                Ok(response) => self.note(Ok(response.status().as_u16())),
                Err(error) => self.note(Err(&causes(&**error))),
            }
            sent
        })
    }
}

async fn send(client: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > LONGEST_ANSWER {
            return Err("the collector's answer is too long".into());
        }
        body.extend_from_slice(&part);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_need_not_be_said() {
        for (given, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/otlp", "https://otel.example/otlp/v1/traces"),
            ("https://otel.example/v1/traces", "https://otel.example/v1/traces"),
        ] {
            assert_eq!(of_traces(&given.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_is_no_address_of_http_is_a_wrong_configuration() {
        let started = Traces::start("ident", &"ftp://otel.example".parse().unwrap());
        let Err(Failure::Configuration(message)) = started else {
            panic!("{started:?}");
        };
        assert!(message.contains("telemetry.otlp_endpoint"), "{message}");
    }
}
