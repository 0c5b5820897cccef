//! How a process of ident stops, and what its command line does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use identity_core::db::tokio_postgres::Client;
use identity_testkit::{Authority, Process, Signal, TestDatabase, eventually, output};
use reqwest::{Certificate, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::notifications::person;
use crate::processes::{complained, ident_at, ident_in, printed, run, serve, set, status};

/// A connection that holds up all that touches records, until it commits.
pub async fn lock(database: &TestDatabase) -> Client {
    let client = database.connect("ident").await;
    let sql = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE";
    client.batch_execute(sql).await.unwrap();
    client
}

/// Returns when a request waits for `lock`.
pub async fn held_up(lock: &Client) {
    eventually("a request waits for the lock", async || {
        // Within a transaction the first look would be kept.
        let anew = "SELECT pg_stat_clear_snapshot()";
        lock.query_one(anew, &[]).await.unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = lock.query_one(sql, &[]).await.unwrap().get(0);
        (waiting > 0).then_some(())
    })
    .await;
}

/// Returns when nobody listens at `address` any more.
async fn closed(address: SocketAddr) {
    eventually("no connection is accepted", async || {
        TcpStream::connect(address).await.err().map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_signal_to_stop_lets_open_requests_end() {
    for (signal, settings) in [
        (Signal::TERM, &[][..]),
        (Signal::INT, &["metrics.bind=127.0.0.1:0"]),
    ] {
        let database = TestDatabase::empty().await;
        let mut process = serve(&database, settings);
        let address = process.address().await;
        let http = reqwest::Client::new();
        let url = format!("http://{address}/");
        // Leaves a connection behind that is open and idle.
        http.get(&url).send().await.unwrap().text().await.unwrap();
        let lock = lock(&database).await;
        let open = tokio::spawn(reqwest::Client::new().post(&url).json(&person("robb")).send());
        held_up(&lock).await;
        process.signal(signal);
        closed(address).await;
        let early = tokio::time::timeout(Duration::from_millis(500), process.ended()).await;
        assert!(early.is_err(), "the open request is waited for");
        lock.batch_execute("COMMIT").await.unwrap();
        let answer = open.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let answered = Instant::now();
        assert_eq!(process.ended().await.code(), Some(0));
        assert!(
            answered.elapsed() < Duration::from_secs(10),
            "idle connections are not waited for"
        );
    }
}

#[tokio::test]
async fn while_a_process_stops_an_idle_connection_is_served_once_more() {
    // A proxy may be sending on it, and could not send a POST anywhere else afterwards.
    let database = TestDatabase::empty().await;
    let mut process = serve(&database, &[]);
    let address = process.address().await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut ask = async || {
        let request = b"GET /healthz HTTP/1.1\r\nhost: ident\r\n\r\n";
        idle.write_all(request).await.unwrap();
        let (mut answer, mut part) = (String::new(), [0; 1024]);
        while !answer.ends_with("alive\n") {
            let length = idle.read(&mut part).await.unwrap();
            assert_ne!(length, 0, "closed after {answer:?}");
            answer += std::str::from_utf8(&part[..length]).unwrap();
        }
        answer.to_ascii_lowercase()
    };
    assert!(!ask().await.contains("connection: close"));
    let lock = lock(&database).await;
    let post = reqwest::Client::new().post(format!("http://{address}/"));
    let open = tokio::spawn(post.json(&person("robb")).send());
    held_up(&lock).await;
    process.signal(Signal::TERM);
    closed(address).await;
    assert!(ask().await.contains("connection: close"));
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(open.await.unwrap().unwrap().status(), StatusCode::CREATED);
    assert_eq!(process.ended().await.code(), Some(0));
}

/// Asks over one new connection after the other until they are refused, and counts the answers.
async fn ask_until_refused(url: String, answers: Arc<AtomicUsize>) {
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let http = http.build().unwrap();
    loop {
        match http.get(&url).send().await {
            Ok(answer) => assert_eq!(answer.status(), StatusCode::OK),
            Err(error) if error.is_connect() => return,
            Err(error) => panic!("{error:?}: there was a connection, and no answer over it"),
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_no_connection_and_logs_no_error() {
    for _ in 0..3 {
        let database = TestDatabase::empty().await;
        let mut process = serve(&database, &[]);
        let url = format!("http://{}/healthz", process.address().await);
        let answers = Arc::<AtomicUsize>::default();
        let asking: Vec<_> = (0..16)
            .map(|_| tokio::spawn(ask_until_refused(url.clone(), answers.clone())))
            .collect();
        eventually("there is load", async || {
            (answers.load(Ordering::Relaxed) > 50).then_some(())
        })
        .await;
        process.signal(Signal::TERM);
        for client in asking {
            client.await.unwrap();
        }
        assert_eq!(process.ended().await.code(), Some(0));
        let entries = process.entries();
        let errors: Vec<_> = entries.iter().filter(|entry| entry["level"] != "INFO").collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_is_waited_for_as_long_as_the_grace_says() {
    let database = TestDatabase::empty().await;
    let mut process = serve(&database, &["server.shutdown_grace=300ms"]);
    let url = format!("http://{}/", process.address().await);
    let lock = lock(&database).await;
    let open = tokio::spawn(reqwest::Client::new().post(&url).json(&person("robb")).send());
    held_up(&lock).await;
    let told = Instant::now();
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    // It is cut off, or told that its connection to Postgres was, whichever of the two is over first.
    if let Ok(answer) = open.await.unwrap() {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn the_command_line_explains_itself_and_refuses_what_it_does_not_know() {
    for (argument, expected) in [
        ("--help", "Exit status"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let shown = output(ident_in(&[], &[argument])).await;
        assert_eq!(status(&shown), 0);
        assert!(printed(&shown).contains(expected), "{}", printed(&shown));
    }
    for wrong in [
        &["--nonsense"][..],
        &["frobnicate"],
        &["--config"],
        &["events", "frobnicate"],
    ] {
        let refused = output(ident_in(&[], wrong)).await;
        assert_eq!(status(&refused), 2, "{wrong:?}");
        assert!(complained(&refused).starts_with("error: "), "{wrong:?}");
        assert_eq!(printed(&refused), "");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let database = TestDatabase::empty().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bind = format!("server.bind={address}");
    let refused = run(&database, &set(&[&bind])).await;
    assert_eq!(status(&refused), 1);
    assert!(
        complained(&refused).contains(&address),
        "{}",
        complained(&refused)
    );
}

/// Whether the command `health` finds the service at `address` ready, and what it says.
async fn health(database: &TestDatabase, address: SocketAddr, others: &[&str]) -> (bool, String) {
    let bind = format!("server.bind={address}");
    let mut arguments = set(&[&bind]);
    arguments.extend(set(others));
    arguments.push("health");
    let told = run(database, &arguments).await;
    assert!([0, 1].contains(&status(&told)), "{}", complained(&told));
    (status(&told) == 0, printed(&told))
}

#[tokio::test]
async fn the_command_health_tells_whether_the_service_is_ready() {
    let database = TestDatabase::empty().await;
    let (proxy, url) = database.behind_proxy();
    let mut process = Process::start(ident_at(&url, &set(&["database.postgres.outage_exit=never"])));
    let address = process.address().await;
    let (ready, lines) = health(&database, address, &[]).await;
    assert!(ready && lines.contains("database: ok"), "{lines}");
    proxy.cut();
    eventually("it is not ready", async || {
        let (ready, lines) = health(&database, address, &[]).await;
        (!ready && lines.contains("database: out of reach")).then_some(())
    })
    .await;
    process.kill();
    assert!(!health(&database, address, &[]).await.0);
}

#[tokio::test]
async fn https_is_served_with_a_certificate() {
    let files = TempDir::new().unwrap();
    let authority = Authority::new();
    let certified = authority.certify(&["ident.test"]);
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, &certified.certificate).unwrap();
    std::fs::write(&key, &certified.key).unwrap();
    let settings = [
        format!("server.tls_cert={}", certificate.display()),
        format!("server.tls_key={}", key.display()),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let database = TestDatabase::empty().await;
    let process = serve(&database, &settings);
    let address = process.address().await;
    let trusted = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = || {
        reqwest::Client::builder()
            .tls_certs_only([trusted.clone()])
            .resolve("ident.test", address)
            .resolve("other.test", address)
    };
    let url = format!("https://ident.test:{}/", address.port());
    let answer = client().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!([]));
    let other = url.replace("ident.test", "other.test");
    assert!(client().build().unwrap().get(other).send().await.is_err());
    let plain = url.replace("https", "http");
    let plain = client().build().unwrap().get(plain).send().await;
    assert!(plain.is_err() || plain.is_ok_and(|answer| answer.status() == StatusCode::BAD_REQUEST));
    assert!(health(&database, address, &settings).await.0);

    // One without the other, and files that hold something else.
    let (certificate, key) = (certificate.display(), key.display());
    let setting = |name: &str, file: &dyn std::fmt::Display| format!("server.tls_{name}={file}");
    for (wrong, named) in [
        (vec![setting("cert", &certificate)], "server.tls_key"),
        (vec![setting("key", &key)], "server.tls_cert"),
        (
            vec![setting("cert", &key), setting("key", &key)],
            "server.tls_cert",
        ),
        (
            vec![setting("cert", &certificate), setting("key", &certificate)],
            "server.tls_key",
        ),
        (
            vec![setting("cert", &"/nonexistent"), setting("key", &key)],
            "server.tls_cert",
        ),
    ] {
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        let refused = run(&database, &set(&wrong)).await;
        let complaint = complained(&refused);
        assert_eq!(status(&refused), 2, "{complaint}");
        assert!(complaint.lines().last().unwrap().contains(named), "{complaint}");
    }
}

#[tokio::test]
async fn strangers_cannot_fill_the_log_with_what_is_no_request() {
    let database = TestDatabase::empty().await;
    let process = serve(&database, &[]);
    let address = process.address().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(nonsense).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
    }
    let healthy = reqwest::get(format!("http://{address}/healthz")).await.unwrap();
    assert_eq!(healthy.status(), StatusCode::OK);
    let loud: Vec<Value> = process
        .entries()
        .into_iter()
        .filter(|line| matches!(line["level"].as_str(), Some("ERROR" | "WARN")))
        .collect();
    assert!(loud.is_empty(), "{loud:?}");
}
