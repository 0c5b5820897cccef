//! What the tests of records share: people are made and read, answers and problems taken apart.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// Makes a record and gives its id.
pub async fn make(ident: &TestService, name: &str, email: &str) -> i64 {
    make_from(ident, &json!({"name": name, "email": email})).await
}

/// Makes a record of this document and gives its id.
pub async fn make_from(ident: &TestService, document: &Value) -> i64 {
    let made = ident.post("/").json(document).send().await.unwrap();
    let made = expect(made, StatusCode::CREATED).await;
    made["id"].as_i64().unwrap()
}

/// The record of this id.
pub async fn record(ident: &TestService, id: i64) -> Value {
    expect(ident.get(&format!("/{id}")).send().await.unwrap(), StatusCode::OK).await
}

/// The entity tag of this record.
pub async fn tag(ident: &TestService, id: i64) -> String {
    let shown = ident.get(&format!("/{id}")).send().await.unwrap();
    header(&shown, "etag")
}

/// The access token of a linked account, with the status of the answer.
pub async fn token(ident: &TestService, id: i64, service: &str) -> (StatusCode, Value) {
    let path = format!("/{id}/services/{service}/token");
    let answer = ident.get(&path).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// A form of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON Patch (RFC 6902).
    Operations,
    /// JSON Merge Patch (RFC 7396).
    Merge,
}

impl Kind {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Operations => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
        }
    }
}

/// A request that patches a record.
pub fn patched(ident: &TestService, id: i64, kind: Kind, patch: &Value) -> RequestBuilder {
    ident
        .patch(&format!("/{id}"))
        .header("content-type", kind.media_type())
        .body(patch.to_string())
}

/// The body of an answer that must have this status.
pub async fn expect(answer: Response, status: StatusCode) -> Value {
    let (found, body) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The problem (RFC 9457) that the request is answered with, which must have this status.
pub async fn problem(request: RequestBuilder, status: StatusCode) -> Value {
    let answer = request.send().await.unwrap();
    let media_type = header(&answer, "content-type");
    let (found, body) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(found, status, "{body}");
    assert_eq!(media_type, "application/problem+json", "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], status.as_u16(), "{body}");
    assert_eq!(problem["title"], status.canonical_reason().unwrap(), "{body}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "{body}"
    );
    let kind = problem["type"].as_str().unwrap();
    assert!(
        kind == "about:blank" || kind.starts_with("urn:identity-services:problem:"),
        "{body}"
    );
    problem
}

/// The last part of a problem's type.
pub fn kind(problem: &Value) -> &str {
    let kind = problem["type"].as_str().unwrap();
    kind.rsplit(':').next().unwrap()
}

/// Where the input is wrong; each place is explained.
pub fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let explained = |error: &&Value| error["detail"].as_str().is_some_and(|detail| !detail.is_empty());
    assert!(errors.iter().all(|error| explained(&error)), "{problem}");
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect()
}

/// The keys that verify tokens, as they are published.
pub async fn published_keys(ident: &TestService) -> Value {
    let answer = ident.get("/.well-known/jwks.json").send().await.unwrap();
    answer.json().await.unwrap()
}

/// A header of an answer; empty when it is not there.
pub fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}
