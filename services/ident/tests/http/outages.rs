//! Postgres out of reach: at the start, while serving, for a moment, for good.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use identity_core::clock::Clock;
use identity_testkit::{Process, Proxy, Receiver, TestDatabase, TestService, eventually, output};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::IDENT;
use crate::notifications::{make, patch, person, refs, settings, taken};
use crate::processes::{complained, ident_at, set, status};

/// ident with a proxy before its Postgres.
async fn start(others: &[&str]) -> (TestService, Proxy) {
    let database = Arc::new(TestDatabase::empty().await);
    let (proxy, url) = database.behind_proxy();
    let url = format!("database.postgres.url={url}");
    let mut settings = vec![url.as_str()];
    settings.extend(others);
    (IDENT.start_on(database, &Clock::system(), &settings).await, proxy)
}

async fn put_off(request: RequestBuilder) {
    let answer = request.send().await.unwrap();
    let headers = answer.headers().clone();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], 503, "{body}");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert!(headers.contains_key("x-request-id"));
}

/// Every kind of request, all of which need Postgres.
fn requests(ident: &TestService, user: i64) -> [RequestBuilder; 6] {
    let path = format!("/{user}");
    [
        ident.get("/"),
        ident.get(&path),
        ident.get(&format!("{path}/services/github/token")),
        ident.post("/").json(&person("arya")),
        patch(
            ident,
            user,
            "application/merge-patch+json",
            &json!({"name": "wolf"}),
        ),
        ident.delete(&path),
    ]
}

async fn ready(ident: &TestService, status: StatusCode) {
    eventually("readiness is as expected", async || {
        let answer = ident.get("/readyz").send().await.unwrap();
        (answer.status() == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_are_put_off_during_an_outage_and_answered_after_it() {
    let (ident, proxy) = start(&["database.postgres.outage_exit=never"]).await;
    let robb = make(&ident, person("robb")).await;
    proxy.cut();
    // Both before it is noticed, when connections break, and after.
    for request in requests(&ident, robb) {
        put_off(request).await;
    }
    ready(&ident, StatusCode::SERVICE_UNAVAILABLE).await;
    for request in requests(&ident, robb) {
        put_off(request).await;
    }
    let ready_lines = ident.get("/readyz").send().await.unwrap();
    assert!(ready_lines.headers().contains_key("retry-after"));
    assert!(
        ready_lines
            .text()
            .await
            .unwrap()
            .contains("database: out of reach")
    );
    assert_eq!(ident.get("/healthz").send().await.unwrap().status(), 200);
    proxy.mend();
    ready(&ident, StatusCode::OK).await;
    let shown = ident.get(&format!("/{robb}")).send().await.unwrap();
    assert_eq!(
        shown.json::<Value>().await.unwrap()["name"],
        "robb",
        "nothing was changed meanwhile"
    );
    for (request, status) in requests(&ident, robb)
        .into_iter()
        .zip([200, 200, 404, 201, 200, 204])
    {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn connections_that_went_silent_are_replaced_when_postgres_answers_again() {
    let (ident, proxy) = start(&[
        "database.postgres.outage_exit=never",
        "database.postgres.connect_timeout=1s",
        "server.request_timeout=1s",
    ])
    .await;
    let robb = make(&ident, person("robb")).await;
    let path = format!("/{robb}");
    assert_eq!(ident.get(&path).send().await.unwrap().status(), 200);
    proxy.silence();
    put_off(ident.get(&path)).await;
    ready(&ident, StatusCode::SERVICE_UNAVAILABLE).await;
    let asked = Instant::now();
    put_off(ident.get(&path)).await;
    assert!(
        asked.elapsed() < Duration::from_millis(900),
        "nothing is tried while it is known"
    );
    proxy.mend();
    ready(&ident, StatusCode::OK).await;
    // The old connections are still open, and will say nothing for ever.
    for (request, status) in requests(&ident, robb)
        .into_iter()
        .zip([200, 200, 404, 201, 200, 204])
    {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn connections_that_postgres_ends_are_replaced() {
    let (ident, _proxy) = start(&["database.postgres.outage_exit=never"]).await;
    let robb = make(&ident, person("robb")).await;
    let client = ident.database.connect("ident").await;
    for _ in 0..5 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended: i64 = client.query_one(end, &[]).await.unwrap().get(0);
        assert!(ended > 0);
        for request in requests(&ident, robb).into_iter().take(3) {
            let status = request.send().await.unwrap().status();
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        eventually("requests are answered", async || {
            let answer = ident.get(&format!("/{robb}")).send().await.unwrap();
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_notification_is_told_after_an_outage() {
    let receiver = Receiver::start();
    let database = Arc::new(TestDatabase::empty().await);
    let (proxy, url) = database.behind_proxy();
    let mut settings = settings(&receiver, &["database.postgres.outage_exit=never"]);
    settings.push(format!("database.postgres.url={url}"));
    let ident = IDENT.start_on(database, &Clock::system(), &refs(&settings)).await;
    proxy.cut();
    ready(&ident, StatusCode::SERVICE_UNAVAILABLE).await;
    proxy.mend();
    ready(&ident, StatusCode::OK).await;
    make(&ident, person("robb")).await;
    taken(&receiver, 1).await;
}

/// The line on standard error that is not of the log, and the exit status.
async fn ended(process: &mut Process) -> (Option<i32>, String) {
    let status = process.ended().await.code();
    let log = process.log();
    let lines: Vec<_> = log.lines().filter(|line| !line.starts_with('{')).collect();
    (status, lines.join("\n"))
}

#[tokio::test]
async fn a_postgres_that_cannot_be_reached_at_the_start_ends_every_command() {
    // Bound and not listening: connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing = format!("postgresql://postgres@{}/ident", socket.local_addr().unwrap());
    let database = TestDatabase::empty().await;
    let (proxy, silent) = database.behind_proxy();
    proxy.silence();
    for url in [&refusing, &silent] {
        for command in ["serve", "migrate", "events list"] {
            let mut arguments = set(&["database.postgres.connect_timeout=700ms"]);
            arguments.extend(command.split(' '));
            let ended = output(ident_at(url, &arguments)).await;
            assert_eq!(status(&ended), 129, "{command}: {}", complained(&ended));
            let complaint = complained(&ended);
            let lines: Vec<_> = complaint.lines().filter(|line| !line.starts_with('{')).collect();
            let [line] = lines[..] else { panic!("{complaint}") };
            assert!(line.starts_with("ident: Postgres cannot be reached: "), "{line}");
        }
    }
}

#[tokio::test]
async fn an_outage_that_lasts_ends_the_process() {
    for (outage_exit, least) in [("0", Duration::ZERO), ("1s", Duration::from_secs(1))] {
        let database = TestDatabase::empty().await;
        let (proxy, url) = database.behind_proxy();
        let outage_exit = format!("database.postgres.outage_exit={outage_exit}");
        let mut process = Process::start(ident_at(&url, &set(&[&outage_exit])));
        let address = process.address().await;
        proxy.cut();
        let cut = Instant::now();
        if !least.is_zero() {
            let answer = reqwest::get(format!("http://{address}/")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let (status, complaint) = ended(&mut process).await;
        assert_eq!(status, Some(129));
        assert!(
            complaint.starts_with("ident: Postgres cannot be reached: "),
            "{complaint}"
        );
        assert!(cut.elapsed() >= least && cut.elapsed() < least + Duration::from_secs(10));
    }
}

#[tokio::test]
async fn an_outage_that_is_over_in_time_does_not_count() {
    let (ident, proxy) = start(&["database.postgres.outage_exit=20s"]).await;
    for _ in 0..2 {
        proxy.cut();
        ready(&ident, StatusCode::SERVICE_UNAVAILABLE).await;
        proxy.mend();
        ready(&ident, StatusCode::OK).await;
    }
    make(&ident, person("robb")).await;
    ident.stop().await.unwrap();
}
