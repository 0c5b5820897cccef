//! The bounds of a request, what stands around every answer, and what the log tells of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_core::crypto::random;
use identity_testkit::{Behaviour, Process, Receiver, TestDatabase, TestService, eventually};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::IDENT;
use crate::notifications::{SECRET, make, person, refs, settings};
use crate::operation::{held_up, lock};
use crate::processes::{KEY, ident_at, serve, set};

/// A connection on which the test writes what it likes.
async fn connect(ident: &TestService) -> TcpStream {
    let address = ident.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// All that comes until the service closes the connection.
async fn rest(mut connection: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut bytes)).await;
    // A reset ends what comes as well as an end does.
    assert!(read.is_ok(), "the service closes the connection");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_not_waited_for() {
    let ident = IDENT.start(&["server.header_timeout=300ms"]).await;
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-a: "] {
        let mut connection = connect(&ident).await;
        connection.write_all(begun.as_bytes()).await.unwrap();
        let answer = rest(connection).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    assert_eq!(ident.get("/").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_not_waited_for() {
    let ident = IDENT.start(&["server.request_timeout=300ms"]).await;
    let mut connection = connect(&ident).await;
    let begun = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"name\"";
    connection.write_all(begun.as_bytes()).await.unwrap();
    let answer = rest(connection).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("application/problem+json") && answer.contains("x-request-id"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let ident = IDENT.start(&["server.body_limit=1KiB"]).await;
    let mut document = person("robb");
    document["name"] = json!("r".repeat(2000));
    for request in [ident.post("/"), ident.patch("/1")] {
        let merge = request.header("content-type", "application/merge-patch+json");
        let answer = merge.body(document.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let mut connection = connect(&ident).await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let body = format!("{:x}\r\n{document}\r\n0\r\n\r\n", document.to_string().len());
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(connection).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // One byte less than too much is taken.
    let mut document = person("robb");
    document["name"] = json!("");
    let spare = 1024 - document.to_string().len();
    document["name"] = json!("r".repeat(spare.min(200)));
    make(&ident, document).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let ident = IDENT.start(&[]).await;
    let mut connection = connect(&ident).await;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n",
        "a".repeat(1024 * 1024)
    );
    // The service may close before all is written.
    drop(connection.write_all(head.as_bytes()).await);
    let answer = rest(connection).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(ident.get("/").send().await.unwrap().status(), 200);
}

fn put_off(answer: &Response) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_put_off_and_leaves_nothing() {
    for (limit, timeout) in [
        ("server.request_timeout=300ms", true),
        ("database.postgres.statement_timeout=300ms", false),
    ] {
        let ident = IDENT.start(&[limit]).await;
        let lock = lock(&ident.database).await;
        put_off(&ident.post("/").json(&person("robb")).send().await.unwrap());
        put_off(&ident.get("/").send().await.unwrap());
        lock.batch_execute("COMMIT").await.unwrap();
        if timeout {
            // Whether the change was still made nobody can know; the service goes on.
            let answer = ident.get("/").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        } else {
            make(&ident, person("robb")).await;
        }
    }
}

#[tokio::test]
async fn a_request_held_up_does_not_hold_up_others() {
    let ident = IDENT.start(&[]).await;
    let (robb, jon) = (
        make(&ident, person("robb")).await,
        make(&ident, person("jon")).await,
    );
    let client = ident.database.connect("ident").await;
    let sql = format!("BEGIN; SELECT 1 FROM users WHERE id = {robb} FOR UPDATE");
    client.batch_execute(&sql).await.unwrap();
    let waiting = tokio::spawn(ident.delete(&format!("/{robb}")).send());
    held_up(&client).await;
    assert_eq!(ident.get(&format!("/{robb}")).send().await.unwrap().status(), 200);
    assert_eq!(
        ident.delete(&format!("/{jon}")).send().await.unwrap().status(),
        204
    );
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn every_answer_protects_browsers_and_has_an_id() {
    let ident = IDENT.start(&[]).await;
    let requests = [
        (Method::GET, "/", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/openapi.json", 200),
        (Method::GET, "/docs/", 200),
        (Method::GET, "/nothing/here", 404),
        (Method::GET, "/1", 404),
        (Method::PUT, "/", 405),
        (Method::POST, "/", 415),
        (Method::GET, "/?x=1", 400),
    ];
    let mut ids = Vec::new();
    for (method, path, status) in requests {
        let answer = ident.request(method, path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let header = |name: &str| {
            let value = answer.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(!header("cache-control").is_empty(), "{path}");
        assert_eq!(header("strict-transport-security"), "", "not without https");
        assert_eq!(header("server"), "");
        ids.push(header("x-request-id"));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "each its own");
    let ident = IDENT
        .start(&["server.public_url=https://ident.example.org/"])
        .await;
    let answer = ident.get("/").send().await.unwrap();
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
}

/// The log's line of the request with this id.
async fn line_of(process: &Process, id: &str) -> Value {
    eventually("the request is logged", async || {
        let lines: Vec<Value> = process
            .entries()
            .into_iter()
            .filter(|line| line["message"] == "request" && line["request_id"] == id)
            .collect();
        assert!(lines.len() <= 1, "one line a request: {lines:?}");
        lines.into_iter().next()
    })
    .await
}

#[tokio::test]
async fn a_request_is_one_line_of_the_log() {
    let database = TestDatabase::empty().await;
    let process = serve(&database, &[]);
    let url = format!("http://{}", process.address().await);
    let http = reqwest::Client::new();
    let request = http
        .patch(format!("{url}/77?x=y"))
        .header("x-request-id", "id-of-the-proxy");
    let answer = request
        .header("x-forwarded-for", "8.8.8.8, 192.0.2.7")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"], "id-of-the-proxy");
    let line = line_of(&process, "id-of-the-proxy").await;
    assert_eq!(line["method"], "PATCH");
    assert_eq!(line["route"], "/{id}");
    assert_eq!(line["status"], 415);
    assert_eq!(line["client"], "192.0.2.7");
    assert_eq!(line["level"], "INFO");
    assert!(
        line["duration_ms"].is_u64() && line["timestamp"].is_string(),
        "{line}"
    );
    // What has no route is not named: anybody could fill the log with names.
    let answer = http.get(format!("{url}/a/b/c/d")).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let line = line_of(&process, &id).await;
    assert_eq!(
        (&line["route"], &line["client"]),
        (&json!("-"), &json!("127.0.0.1"))
    );
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed() {
    let database = TestDatabase::empty().await;
    let process = serve(&database, &["server.trusted_proxies=10.0.0.0/8, 192.0.2.1"]);
    let url = format!("http://{}/", process.address().await);
    let request = reqwest::Client::new().get(&url).header("x-request-id", "chosen");
    let answer = request
        .header("x-forwarded-for", "192.0.2.7")
        .send()
        .await
        .unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_ne!(id, "chosen");
    assert_eq!(line_of(&process, &id).await["client"], "127.0.0.1");
}

/// Does everything that can go right and wrong with records.
async fn a_whole_session(url: &str) {
    let http = reqwest::Client::new();
    let account = |token: &str| json!({"id": "account-of-robb", "access_token": token});
    let mut robb = json!({"name": "Robb-Secretname", "email": "robb-private@deceased.north"});
    robb["services"] = json!({"github": account("tok-of-robb")});
    let made = http.post(url).json(&robb).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let id = made.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
    let user = format!("{url}{id}");
    let patch = |media_type: &str, body: String| {
        http.patch(&user)
            .header("content-type", format!("application/{media_type}+json"))
            .body(body)
    };
    let merge = |patched: Value| patch("merge-patch", patched.to_string());
    let operation = |value: &str| json!([{"op": "test", "path": "/name", "value": value}]).to_string();
    let requests = [
        http.post(url).json(&robb),
        http.post(url)
            .json(&json!({"name": "Robb-Secretname", "email": "", "tok-of-robb": 1})),
        http.post(url)
            .header("content-type", "application/json")
            .body("{\"name\": \"Robb-Secretname"),
        http.post(url).body("robb-private@deceased.north"),
        http.get(url).query(&[("email", "robb-private@deceased.north")]),
        http.get(url)
            .query(&[("name", "Robb-Secretname"), ("robb-private", "tok-of-robb")]),
        http.get(format!("{url}robb-private@deceased.north")),
        http.get(format!("{url}robb-private@deceased.north/tok-of-robb")),
        http.get(&user)
            .header("authorization", "Bearer tok-of-robb")
            .header("cookie", "robb-private=1"),
        http.get(format!("{user}/services/github/token")),
        merge(json!({"services": {"gitlab": account("tok-of-robb")}})),
        merge(json!({"email": "robb-private"})),
        merge(json!({"name": ["Robb-Secretname"]})),
        patch("json-patch", operation("Robb-Secretname-2")),
        patch("json-patch", "[{\"Robb-Secretname\"]".to_owned()),
        http.put(&user).body("Robb-Secretname"),
        http.delete(&user),
    ];
    for request in requests {
        let answer = request.send().await.unwrap();
        assert!(!answer.status().is_server_error(), "{answer:?}");
    }
}

#[tokio::test]
async fn no_secret_and_nothing_personal_is_logged_at_any_level() {
    let receiver = Receiver::start();
    receiver.behave(|_| Behaviour::Answer(500));
    let database = TestDatabase::empty().await;
    let password = format!("pw-{}", random::uuid());
    let url = database.url().replacen('@', &format!(":{password}@"), 1);
    for level in ["trace", "trace,tokio_postgres=trace,hyper=trace,reqwest=trace"] {
        let settings = settings(
            &receiver,
            &[
                &format!("log.level={level}"),
                "database.postgres.statement_timeout=2s",
            ],
        );
        let mut process = Process::start(ident_at(&url, &set(&refs(&settings))));
        let address = process.address().await;
        a_whole_session(&format!("http://{address}/")).await;
        eventually("a notification fails", async || {
            process.log().contains("a notification failed").then_some(())
        })
        .await;
        let log = process.log();
        let requests = process
            .entries()
            .iter()
            .filter(|line| line["message"] == "request")
            .count();
        assert_eq!(requests, 18, "{log}");
        let secret = SECRET.trim_start_matches("whsec_");
        let unspeakable = [
            "Robb-Secretname",
            "robb-private",
            "tok-of-robb",
            "account-of-robb",
            KEY,
            secret,
            &password,
        ];
        for text in unspeakable {
            if let Some(line) = log
                .lines()
                .find(|line| line.to_lowercase().contains(&text.to_lowercase()))
            {
                panic!("{text} is in the log: {line}");
            }
        }
        process.kill();
    }
}
