//! The spans that a collector of OpenTelemetry gets, by OTLP over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use data_encoding::HEXLOWER;
use identity_testkit::{Behaviour, Receiver, Signal, TestDatabase, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use crate::notifications::person;
use crate::operation::{held_up, lock};
use crate::processes::serve;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The spans that came until now, each with the name of its service.
fn spans(collector: &Receiver) -> Vec<(String, Span)> {
    let batches = collector.received().into_iter().map(|received| {
        assert_eq!((&*received.method, &*received.path), ("POST", "/v1/traces"));
        assert_eq!(received.header("content-type"), "application/x-protobuf");
        ExportTraceServiceRequest::decode(&*received.bytes).unwrap()
    });
    batches
        .flat_map(|batch| batch.resource_spans)
        .flat_map(|of_service| {
            let service = text(&of_service.resource.unwrap().attributes, "service.name");
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| (service.clone(), span)).collect::<Vec<_>>()
        })
        .collect()
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

/// An attribute as a text, empty where there is none.
fn text(attributes: &[KeyValue], name: &str) -> String {
    let plain = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    match value(attributes, name) {
        None => String::new(),
        Some(Value::ArrayValue(all)) => {
            let of = |item: &AnyValue| item.value.as_ref().map(plain).unwrap_or_default();
            all.values.iter().map(of).collect::<Vec<_>>().join(",")
        }
        Some(one) => plain(one),
    }
}

#[tokio::test]
async fn a_collector_gets_a_span_for_each_request_at_the_latest_at_the_end() {
    let database = TestDatabase::empty().await;
    let collector = Receiver::start();
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.url);
    let mut process = serve(&database, &[&endpoint, "server.request_timeout=1s"]);
    let url = format!("http://{}", process.address().await);
    let http = reqwest::Client::new();
    let made = http
        .post(&url)
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-request-id", "abc-1")
        .json(&person("robb"));
    assert_eq!(made.send().await.unwrap().status(), 201);
    let missing = http.get(format!("{url}/4711?secret=hidden")).send();
    assert_eq!(missing.await.unwrap().status(), 404);
    let nowhere = http.get(format!("{url}/no/such/path")).send();
    assert_eq!(nowhere.await.unwrap().status(), 404);
    let lock = lock(&database).await;
    let late = tokio::spawn(http.post(&url).json(&person("arya")).send());
    held_up(&lock).await;
    assert_eq!(late.await.unwrap().unwrap().status(), 503);
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0));

    let spans = spans(&collector);
    assert!(spans.iter().all(|(service, _)| service == "ident"));
    let of = |name: &str, status: &str| {
        let is_it = |span: &&Span| {
            let found = text(&span.attributes, "http.response.status_code");
            span.name == name && found == status
        };
        spans.iter().map(|(_, span)| span).find(is_it).unwrap()
    };
    let made = of("POST /", "201");
    assert_eq!(HEXLOWER.encode(&made.trace_id), TRACE);
    assert_eq!(HEXLOWER.encode(&made.parent_span_id), PARENT);
    assert_eq!(made.kind(), SpanKind::Server);
    assert!(made.end_time_unix_nano > made.start_time_unix_nano);
    for (name, expected) in [
        ("http.request.method", "POST"),
        ("http.route", "/"),
        ("http.request.header.x-request-id", "abc-1"),
        ("client.address", "192.0.2.7"),
        ("error.type", ""),
    ] {
        assert_eq!(text(&made.attributes, name), expected, "{name}");
    }
    let missing = of("GET /{id}", "404");
    assert_ne!(HEXLOWER.encode(&missing.trace_id), TRACE);
    assert_eq!(missing.parent_span_id, Vec::<u8>::new());
    assert!(
        missing
            .status
            .as_ref()
            .is_none_or(|status| status.code() == StatusCode::Unset)
    );
    assert_eq!(text(&of("GET", "404").attributes, "http.route"), "");
    let late = of("POST", "503");
    assert_eq!(late.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(text(&late.attributes, "error.type"), "503");
    assert!(late.end_time_unix_nano - late.start_time_unix_nano >= 1_000_000_000);
    let sent = format!("{spans:?}");
    assert!(!sent.contains("4711") && !sent.contains("hidden") && !sent.contains("robb"));
}

#[tokio::test]
async fn who_is_no_trusted_proxy_chooses_no_trace() {
    let database = TestDatabase::empty().await;
    let collector = Receiver::start();
    let endpoint = format!("telemetry.otlp_endpoint={}/v1/traces", collector.url);
    let mut process = serve(&database, &[&endpoint, "server.trusted_proxies=[]"]);
    let url = format!("http://{}/healthz", process.address().await);
    let request = reqwest::Client::new().get(url);
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-00"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0));
    let spans = spans(&collector);
    let [(_, span)] = spans.as_slice() else {
        panic!("one span, not {spans:?}");
    };
    assert_ne!(HEXLOWER.encode(&span.trace_id), TRACE);
    assert_eq!(span.name, "GET /healthz");
}

#[tokio::test]
async fn without_its_collector_a_service_goes_on_and_says_so_once() {
    let database = TestDatabase::empty().await;
    let collector = Receiver::start();
    collector.behave(|_| Behaviour::Answer(503));
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.url);
    let mut process = serve(&database, &[&endpoint]);
    let url = format!("http://{}/healthz", process.address().await);
    let http = reqwest::Client::new();
    // As many as make a batch, so that nothing is waited for.
    for _ in 0..512 {
        assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    }
    let said = |log: &str| log.matches("traces cannot be sent").count();
    eventually("it says so", async || (said(&process.log()) > 0).then_some(())).await;
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    process.signal(Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(15), process.ended()).await;
    assert_eq!(ended.unwrap().code(), Some(0));
    assert_eq!(said(&process.log()), 1);
}
