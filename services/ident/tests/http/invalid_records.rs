//! What is no valid record: refused with everything that is wrong, and nothing is stored.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{expect, kind, make_from, pointers, problem};

/// The largest body that is taken unless it is configured.
const BODY_LIMIT: usize = 64 * 1024;

fn sent(ident: &TestService, body: impl Into<reqwest::Body>) -> RequestBuilder {
    ident
        .post("/")
        .header("content-type", "application/json")
        .body(body)
}

async fn nobody_is_there(ident: &TestService) {
    let list = ident.get("/").send().await.unwrap();
    assert_eq!(expect(list, StatusCode::OK).await, json!([]));
}

/// A record that is valid but for these members.
fn record_with(members: &Value) -> Value {
    let mut record = json!({"name": "Robb", "email": "robb@north"});
    for (name, value) in members.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let ident = IDENT.start(&[]).await;
    let document = json!({
        "name": 9, "age": 3,
        "services": {"github": {}, "GitHub": {"id": "1"}, "a": {"id": " ", "x/y~z": 1}, "b": {"id": "1", "access_token": 5}},
    });
    let body = problem(ident.post("/").json(&document), StatusCode::BAD_REQUEST).await;
    assert_eq!(kind(&body), "invalid");
    assert_eq!(body["type"], "urn:identity-services:problem:invalid");
    let mut members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["detail", "errors", "status", "title", "type"]);
    let mut found = pointers(&body);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/age",
            "/email",
            "/name",
            "/services/GitHub",
            "/services/a/id",
            "/services/a/x~1y~0z",
            "/services/b/access_token",
            "/services/github/id"
        ]
    );
    nobody_is_there(&ident).await;
}

#[tokio::test]
async fn a_member_that_is_wrong_is_pointed_at() {
    let ident = IDENT.start(&[]).await;
    let long = |length| "x".repeat(length);
    let service = |account: Value| json!({"services": {"github": account}});
    let many: Value = (0..101)
        .map(|n| (format!("s{n}"), json!({"id": "1"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let cases = [
        (json!({"name": null}), "/name"),
        (json!({"name": ""}), "/name"),
        (json!({"name": " \t\u{a0}\u{3000}\n"}), "/name"),
        (json!({"name": 1}), "/name"),
        (json!({"name": true}), "/name"),
        (json!({"name": ["Robb"]}), "/name"),
        (json!({"name": {}}), "/name"),
        (json!({"name": "Ro\u{0}bb"}), "/name"),
        (json!({"name": "Ro\nbb"}), "/name"),
        (json!({"name": "Ro\u{1b}[2Jbb"}), "/name"),
        (json!({"name": "Ro\u{7f}bb"}), "/name"),
        (json!({"name": "Ro\u{85}bb"}), "/name"),
        (json!({"name": long(256)}), "/name"),
        (json!({"email": null}), "/email"),
        (json!({"email": ""}), "/email"),
        (json!({"email": "\u{2003}"}), "/email"),
        (json!({"email": 7}), "/email"),
        (json!({"email": []}), "/email"),
        (json!({"email": "a\u{0}b"}), "/email"),
        (json!({"email": "a\r\nBcc: b"}), "/email"),
        (json!({"email": long(321)}), "/email"),
        (json!({"services": null}), "/services"),
        (json!({"services": []}), "/services"),
        (json!({"services": "github"}), "/services"),
        (json!({ "services": many }), "/services"),
        (service(Value::Null), "/services/github"),
        (service(json!("25")), "/services/github"),
        (service(json!(25)), "/services/github"),
        (service(json!([])), "/services/github"),
        (service(json!({})), "/services/github/id"),
        (service(json!({"id": 25})), "/services/github/id"),
        (service(json!({"id": null})), "/services/github/id"),
        (service(json!({"id": ""})), "/services/github/id"),
        (service(json!({"id": "  "})), "/services/github/id"),
        (service(json!({"id": "2\u{0}5"})), "/services/github/id"),
        (service(json!({"id": long(256)})), "/services/github/id"),
        (
            service(json!({"id": "1", "access_token": ""})),
            "/services/github/access_token",
        ),
        (
            service(json!({"id": "1", "access_token": 1})),
            "/services/github/access_token",
        ),
        (
            service(json!({"id": "1", "access_token": {}})),
            "/services/github/access_token",
        ),
        (
            service(json!({"id": "1", "access_token": long(16 * 1024 + 1)})),
            "/services/github/access_token",
        ),
        (
            service(json!({"id": "1", "token": "t"})),
            "/services/github/token",
        ),
        (json!({"services": {"": {"id": "1"}}}), "/services/"),
        (json!({"services": {"1a": {"id": "1"}}}), "/services/1a"),
        (json!({"services": {"Github": {"id": "1"}}}), "/services/Github"),
        (json!({"services": {"git hub": {"id": "1"}}}), "/services/git hub"),
        (json!({"services": {"a/b": {"id": "1"}}}), "/services/a~1b"),
        (json!({"services": {"a~b": {"id": "1"}}}), "/services/a~0b"),
        (json!({"services": {"a\u{0}": {"id": "1"}}}), "/services/a\u{0}"),
        (json!({"services": {"gıthub": {"id": "1"}}}), "/services/gıthub"),
        (json!({"username": "robb"}), "/username"),
        (json!({"Name": "Robb"}), "/Name"),
        (json!({"__proto__": {}}), "/__proto__"),
        (json!({"": 1}), "/"),
        (json!({"version": 1}), "/version"),
    ];
    for (members, pointer) in cases {
        let request = ident.post("/").json(&record_with(&members));
        let body = problem(request, StatusCode::BAD_REQUEST).await;
        assert_eq!(pointers(&body), [pointer], "{members}");
        assert_eq!(kind(&body), "invalid");
    }
    let long_name = "a".repeat(64);
    let document = record_with(&json!({"services": {&long_name: {"id": "1"}}}));
    let body = problem(ident.post("/").json(&document), StatusCode::BAD_REQUEST).await;
    assert_eq!(pointers(&body), [format!("/services/{long_name}")]);
    let missing = problem(sent(&ident, "{}"), StatusCode::BAD_REQUEST).await;
    assert_eq!(pointers(&missing), ["/name", "/email"]);
    nobody_is_there(&ident).await;
}

#[tokio::test]
async fn what_is_just_short_enough_is_taken() {
    let ident = IDENT.start(&[]).await;
    let services: serde_json::Map<_, _> = (0..99)
        .map(|n| (format!("s{n}"), json!({"id": "\u{1F43A}".repeat(255)})))
        .chain([(
            "a".repeat(63),
            json!({"id": "1", "access_token": "t".repeat(16 * 1024)}),
        )])
        .collect();
    let ident_large = IDENT
        .start_on(
            ident.database.clone(),
            &ident.clock,
            &["server.body_limit=256KiB"],
        )
        .await;
    // What is trimmed does not count.
    let name = format!(" {} ", "\u{1F43A}".repeat(255));
    let document = json!({"name": name, "email": "é".repeat(320), "services": services});
    let id = make_from(&ident_large, &document).await;
    let record = crate::people::record(&ident, id).await;
    assert_eq!(record["name"], name.trim());
    assert_eq!(record["services"].as_object().unwrap().len(), 100);
}

/// Some characters stand for many: normalised, a text can be eighteen times as long.
#[tokio::test]
async fn texts_that_grow_when_they_are_normalised_are_no_trouble() {
    let ident = IDENT.start(&[]).await;
    let squares = ["\u{3316}", "\u{FDFA}", "\u{33C2}", "\u{1F110}"];
    for (number, square) in squares.iter().enumerate() {
        let name = square.repeat(255);
        let id = make_from(&ident, &json!({"name": name, "email": format!("{number}@x")})).await;
        let found = ident.get("/").query(&[("name", &square.repeat(255))]);
        let found = expect(found.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(found[0]["id"], id, "{square}");
        let more = ident.get("/").query(&[("name", &square.repeat(320))]);
        expect(more.send().await.unwrap(), StatusCode::OK).await;
    }
    // Too varied to be compressed.
    let kana: String = (0_u32..320)
        .filter_map(|n| char::from_u32(0x3300 + n * n * 31 % 88))
        .collect();
    for email in [kana, squares[0].repeat(320), squares[1].repeat(320)] {
        let document = json!({"name": "Robb", "email": email});
        let body = problem(ident.post("/").json(&document), StatusCode::BAD_REQUEST).await;
        assert_eq!(pointers(&body), ["/email"]);
        let found = ident.get("/").query(&[("email", &email)]);
        assert_eq!(
            expect(found.send().await.unwrap(), StatusCode::OK).await,
            json!([])
        );
    }
}

#[tokio::test]
async fn what_is_no_object_is_no_record() {
    let ident = IDENT.start(&[]).await;
    for body in [
        "null",
        "[]",
        "7",
        "\"Robb\"",
        "true",
        "[{\"name\": \"a\", \"email\": \"b\"}]",
    ] {
        let refused = problem(sent(&ident, body), StatusCode::BAD_REQUEST).await;
        assert_eq!(pointers(&refused), [""], "{body}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let ident = IDENT.start(&[]).await;
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let valid = r#"{"name": "a", "email": "b"}"#;
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"{".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\"".to_vec(),
        b"{'name': 'a', 'email': 'b'}".to_vec(),
        b"{name: \"a\", email: \"b\"}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\",}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\"} // comment".to_vec(),
        format!("{valid} {valid}").into(),
        format!("\u{feff}{valid}").into(),
        b"{\"name\": NaN, \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\", \"id\": 1e400}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\", \"id\": 01}".to_vec(),
        b"{\"name\": \"a\nb\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"a\0b\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"\\ud800\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"\\x41\", \"email\": \"b\"}".to_vec(),
        // Not UTF-8: a lonely byte, an overlong slash, a surrogate, UTF-16.
        b"{\"name\": \"\xff\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"\xc0\xaf\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"\xed\xa0\x80\", \"email\": \"b\"}".to_vec(),
        valid.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        // Two members of one name, whichever of them would be right.
        b"{\"name\": \"a\", \"name\": \"a\", \"email\": \"b\"}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\", \"\\u006eame\": \"c\"}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\", \"id\": 1, \"id\": 2}".to_vec(),
        b"{\"name\": \"a\", \"email\": \"b\", \"services\": {\"x\": {\"id\": \"1\"}, \"x\": {\"id\": \"2\"}}}".to_vec(),
        // Deep nesting, closed and not.
        nested(200).into(),
        format!("{{\"name\": \"a\", \"email\": \"b\", \"id\": {}}}", nested(10_000)).into(),
        "[".repeat(BODY_LIMIT).into(),
        "{\"a\":".repeat(BODY_LIMIT / 5).into(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(body.get(..body.len().min(80)).unwrap()).into_owned();
        let refused = problem(sent(&ident, body), StatusCode::BAD_REQUEST).await;
        assert_eq!(kind(&refused), "malformed", "{shown}");
    }
    nobody_is_there(&ident).await;
}

#[tokio::test]
async fn numbers_beyond_64_bits_are_no_texts_and_no_trouble() {
    let ident = IDENT.start(&[]).await;
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "1e300",
        "123456789012345678901234567890123456789",
    ] {
        let body = format!("{{\"name\": {number}, \"email\": {number}}}");
        let refused = problem(sent(&ident, body), StatusCode::BAD_REQUEST).await;
        assert_eq!(pointers(&refused), ["/name", "/email"], "{number}");
    }
}

#[tokio::test]
async fn only_json_is_taken() {
    let ident = IDENT.start(&[]).await;
    let valid = r#"{"name": "Robb", "email": "robb@north"}"#;
    for media_type in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "application/ld+json",
        "application/jsonx",
        "application/*",
        "*/*",
        "json",
        "",
        "text/plain, application/json",
    ] {
        let request = ident.post("/").header("content-type", media_type).body(valid);
        problem(request, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    }
    problem(ident.post("/").body(valid), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    nobody_is_there(&ident).await;
    for (number, media_type) in [
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"name": "Robb", "email": format!("{number}@north")}).to_string();
        let request = ident.post("/").header("content-type", media_type).body(body);
        expect(request.send().await.unwrap(), StatusCode::CREATED).await;
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_configured() {
    let ident = IDENT.start(&[]).await;
    let padded = |size: usize, email: &str| {
        let record = json!({"name": "Robb", "email": email}).to_string();
        let blanks = " ".repeat(size - record.len());
        record + blanks.as_str()
    };
    problem(
        sent(&ident, padded(BODY_LIMIT + 1, "a@b")),
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    nobody_is_there(&ident).await;
    let largest = sent(&ident, padded(BODY_LIMIT, "a@b"));
    expect(largest.send().await.unwrap(), StatusCode::CREATED).await;
    let small = IDENT.start(&["server.body_limit=100"]).await;
    problem(sent(&small, padded(101, "a@b")), StatusCode::PAYLOAD_TOO_LARGE).await;
    expect(
        sent(&small, padded(100, "a@b")).send().await.unwrap(),
        StatusCode::CREATED,
    )
    .await;
}

#[tokio::test]
async fn only_allowed_services_can_be_linked() {
    let ident = IDENT.start(&["services.allowed=github,facebook"]).await;
    let record = record_with(&json!({"services": {"github": {"id": "1"}, "gitlab": {"id": "1"}}}));
    let refused = problem(ident.post("/").json(&record), StatusCode::BAD_REQUEST).await;
    assert_eq!(pointers(&refused), ["/services/gitlab"]);
    let record = record_with(&json!({"services": {"github": {"id": "1"}, "facebook": {"id": "1"}}}));
    make_from(&ident, &record).await;
}
