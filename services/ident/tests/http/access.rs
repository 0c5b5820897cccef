//! Who may use the people's records: without a valid token nobody may anything, or learns anything.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::IDENT;
use crate::people::{header, problem};

/// The requests of all paths, right and wrong ones.
const REQUESTS: [(&str, &str, &str, &str); 17] = [
    ("GET", "/", "", ""),
    ("GET", "/?page_size=0&nonsense", "", ""),
    ("HEAD", "/", "", ""),
    (
        "POST",
        "/",
        "application/json",
        r#"{"name": "Robb", "email": "king@deceased.north"}"#,
    ),
    ("POST", "/", "application/json", r#"{"name": 7}"#),
    ("POST", "/", "application/json", "{"),
    ("POST", "/", "text/plain", "Robb"),
    ("GET", "/1", "", ""),
    ("GET", "/77", "", ""),
    ("GET", "/nobody", "", ""),
    (
        "PATCH",
        "/1",
        "application/merge-patch+json",
        r#"{"name": "Bran"}"#,
    ),
    (
        "PATCH",
        "/77",
        "application/merge-patch+json",
        r#"{"name": "Bran"}"#,
    ),
    ("PATCH", "/1", "application/json-patch+json", "no patch"),
    ("PATCH", "/1", "text/plain", ""),
    ("DELETE", "/1", "", ""),
    ("GET", "/1/services/github/token", "", ""),
    ("GET", "/77/services/GITHUB/token", "", ""),
];

fn all(ident: &identity_testkit::TestService) -> Vec<(String, RequestBuilder)> {
    let request = |(method, path, media_type, body): (&str, &str, &'static str, &'static str)| {
        let mut request = ident.request(method.parse().unwrap(), path);
        if !media_type.is_empty() {
            request = request.header("content-type", media_type).body(body);
        }
        (format!("{method} {path} {body}"), request)
    };
    REQUESTS.into_iter().map(request).collect()
}

#[tokio::test]
async fn without_a_token_every_path_of_records_asks_for_one_before_it_looks_at_anything_else() {
    let open = IDENT.start(&[]).await;
    let id = crate::people::make_from(
        &open,
        &json!({"name": "Jon", "email": "jon@wall", "services": {"github": {"id": "1", "access_token": "s3cret"}}}),
    )
    .await;
    assert_eq!(
        id, 1,
        "the requests name the record that is there, and one that is not"
    );
    let closed = IDENT
        .start_on(open.database.clone(), &open.clock, &["auth.records=token"])
        .await;

    let mut answers = Vec::new();
    for (what, request) in all(&closed) {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        assert!(
            header(&answer, "www-authenticate").starts_with("Bearer"),
            "{what}"
        );
        assert_eq!(header(&answer, "cache-control"), "no-store", "{what}");
        assert_eq!(header(&answer, "etag"), "", "{what}");
        answers.push(answer.text().await.unwrap());
    }
    answers.retain(|body| !body.is_empty());
    answers.dedup();
    assert_eq!(answers.len(), 1, "who is there cannot be told: {answers:?}");
    assert_eq!(
        crate::people::record(&open, 1).await["name"],
        "Jon",
        "nothing was changed"
    );
    let list = open.get("/").send().await.unwrap();
    let list = crate::people::expect(list, StatusCode::OK).await;
    assert_eq!(
        list.as_array().map(Vec::len),
        Some(1),
        "nobody was made or deleted"
    );
}

#[tokio::test]
async fn the_answer_without_a_token_is_a_problem() {
    let ident = IDENT.start(&["auth.records=token"]).await;
    let body = problem(ident.get("/1"), StatusCode::UNAUTHORIZED).await;
    assert!(body.get("errors").is_none(), "{body}");
}

#[tokio::test]
async fn what_is_no_valid_token_opens_nothing() {
    let ident = IDENT.start(&["auth.records=token"]).await;
    let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwicGVybWlzc2lvbnMiOlsidXNlcnM6cmVhZCJdfQ.";
    for credentials in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer a.b.c",
        "Basic cm9iYjpzdGFyaw==",
        unsigned,
    ] {
        for (what, request) in all(&ident) {
            let answer = request.header("authorization", credentials).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{credentials}: {what}");
            assert!(
                header(&answer, "www-authenticate").starts_with("Bearer"),
                "{credentials}: {what}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_waited_for_without_a_token() {
    let ident = IDENT.start(&["auth.records=token"]).await;
    let request = ident
        .post("/")
        .header("content-type", "application/json")
        .body(vec![b' '; 64 * 1024 + 1]);
    problem(request, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn health_and_documentation_need_no_token() {
    let ident = IDENT.start(&["auth.records=token"]).await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        let answer = ident.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}
