//! What happens to the database when ident starts: migrations, and the keys of its secrets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use identity_core::clock::Clock;
use identity_testkit::{Process, TestDatabase, TestService, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::notifications::{make, person};
use crate::processes::{KEY, complained, printed, run, serve, set, status};

/// Other keys than the one of all tests.
const NEW_KEY: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The last line that a process complained with.
fn last_line(complaint: &str) -> &str {
    complaint.lines().last().unwrap_or_default()
}

#[tokio::test]
async fn migrating_twice_does_something_once() {
    let database = TestDatabase::empty().await;
    let first = run(&database, &["migrate"]).await;
    assert_eq!(status(&first), 0, "{}", complained(&first));
    let first = printed(&first);
    assert!(first.contains("applied V1__records"), "{first}");
    let second = run(&database, &["migrate"]).await;
    assert_eq!(status(&second), 0);
    assert_eq!(
        printed(&second),
        "0 migrations applied; the schema is up to date\n"
    );
}

#[tokio::test]
async fn instances_that_start_at_once_migrate_one_after_the_other() {
    let database = Arc::new(TestDatabase::empty().await);
    let instances: Vec<TestService> = (0..5)
        .map(|_| IDENT.try_start(database.clone(), &Clock::system(), &[]))
        .collect();
    for (number, ident) in instances.iter().enumerate() {
        eventually("the instance is ready", async || {
            let ready = ident.get("/readyz").send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        make(ident, person(&format!("user{number}"))).await;
    }
    let client = database.connect("ident").await;
    let sql = "SELECT count(*), count(DISTINCT version) FROM refinery_schema_history";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
}

#[tokio::test]
async fn a_schema_that_is_newer_is_refused_and_left_alone() {
    let database = Arc::new(TestDatabase::empty().await);
    assert_eq!(status(&run(&database, &["migrate"]).await), 0);
    let client = database.connect("ident").await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (9999, 'future', '2030-01-01T00:00:00Z', '1')";
    client.batch_execute(newer).await.unwrap();
    for arguments in [
        &["migrate"][..],
        &["serve"],
        &["--set", "database.migrate=false", "serve"],
    ] {
        let refused = run(&database, arguments).await;
        assert_eq!(status(&refused), 1);
        let line = complained(&refused);
        assert!(
            last_line(&line).contains("9999") && last_line(&line).contains("newer"),
            "{line}"
        );
    }
}

/// How often a connection to `port` is made until `process` ends, which is tried all the time.
async fn connections(port: u16, process: &mut Process) -> (usize, Option<i32>) {
    let connect = move || std::net::TcpStream::connect(("127.0.0.1", port));
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let trying = tokio::task::spawn_blocking(move || {
        let mut made = 0;
        while !over.load(Ordering::Relaxed) {
            made += usize::from(connect().is_ok());
            std::thread::sleep(Duration::from_millis(1));
        }
        made
    });
    let status = process.ended().await.code();
    is_over.store(true, Ordering::Relaxed);
    (trying.await.unwrap(), status)
}

#[tokio::test]
async fn nobody_can_connect_to_an_instance_that_will_refuse_its_schema() {
    // A proxy could not send what it has sent there to another instance.
    let database = TestDatabase::empty().await;
    assert_eq!(status(&run(&database, &["migrate"]).await), 0);
    let client = database.connect("ident").await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (9999, 'future', '2030-01-01T00:00:00Z', '1')";
    client.batch_execute(newer).await.unwrap();
    let port = free_port();
    let mut process = serve(&database, &[&format!("server.bind=127.0.0.1:{port}")]);
    assert_eq!(connections(port, &mut process).await, (0, Some(1)));
    assert!(process.log().contains("newer"), "{}", process.log());
}

#[tokio::test]
async fn nobody_can_connect_before_postgres_has_answered_and_then_everybody_can() {
    let database = TestDatabase::empty().await;
    let (proxy, url) = database.behind_proxy();
    proxy.cut();
    let (url, port) = (format!("database.postgres.url={url}"), free_port());
    let bind = format!("server.bind=127.0.0.1:{port}");
    let process = serve(&database, &[&url, &bind]);
    let waits = "Postgres does not answer yet";
    eventually(waits, async || process.log().contains(waits).then_some(())).await;
    let early = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let ready = format!("http://127.0.0.1:{port}/readyz");
    proxy.mend();
    process.address().await;
    let answer = reqwest::get(ready).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_another_program_has_is_an_error_at_once() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = format!("server.bind={}", other.local_addr().unwrap());
    let database = TestDatabase::empty().await;
    let (proxy, url) = database.behind_proxy();
    // Before anything else: Postgres would never answer.
    proxy.silence();
    let url = format!("database.postgres.url={url}");
    let refused = run(
        &database,
        &set(&[&url, &bind, "database.postgres.connect_timeout=10m"]),
    )
    .await;
    assert_eq!(status(&refused), 1);
    let line = complained(&refused);
    let told = format!("ident: listening on {bind}").replace('=', " ");
    assert!(last_line(&line).starts_with(&told), "{line}");
}

#[tokio::test]
async fn without_leave_to_migrate_an_old_schema_is_refused() {
    let database = TestDatabase::empty().await;
    let refused = run(&database, &set(&["database.migrate=false"])).await;
    assert_eq!(status(&refused), 1);
    let line = complained(&refused);
    assert!(
        last_line(&line).contains("outstanding") && last_line(&line).contains("`migrate`"),
        "{line}"
    );
    let client = database.connect("public").await;
    let made = client
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = 'ident'", &[])
        .await
        .unwrap();
    assert!(made.is_none(), "nothing was made");
    assert_eq!(status(&run(&database, &["migrate"]).await), 0);
    let process = serve(&database, &["database.migrate=false"]);
    process.address().await;
}

#[tokio::test]
async fn keys_that_cannot_read_the_database_are_refused() {
    let database = Arc::new(TestDatabase::empty().await);
    IDENT
        .start_on(database.clone(), &Clock::system(), &[])
        .await
        .stop()
        .await
        .unwrap();
    let client = database.connect("ident").await;
    let row = client
        .query_one("SELECT fingerprint FROM encryption_keys", &[])
        .await
        .unwrap();
    let fingerprint: String = row.get(0);
    let refused = run(&database, &set(&[&format!("database.encryption_key={NEW_KEY}")])).await;
    assert_eq!(status(&refused), 2);
    let line = complained(&refused);
    assert!(last_line(&line).contains("database.encryption_key"), "{line}");
    assert!(last_line(&line).contains(&fingerprint), "{line}");
    assert!(!line.contains(NEW_KEY) && !line.contains(KEY), "{line}");
}

/// The access token that is stored for a user's account.
async fn token(ident: &TestService, user: i64) -> Value {
    let answer = ident
        .get(&format!("/{user}/services/github/token"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_new_key_before_the_old_one_encrypts_and_what_the_old_one_made_stays_readable() {
    let database = Arc::new(TestDatabase::empty().await);
    let with_token = |name: &str| {
        let mut document = person(name);
        document["services"] = json!({"github": {"id": name, "access_token": format!("token of {name}")}});
        document
    };
    let start = async |keys: &str| {
        let keys = format!("database.encryption_key={keys}");
        IDENT.start_on(database.clone(), &Clock::system(), &[&keys]).await
    };
    let ident = start(KEY).await;
    let robb = make(&ident, with_token("robb")).await;
    ident.stop().await.unwrap();

    let ident = start(&format!("{NEW_KEY}, {KEY}")).await;
    assert_eq!(
        token(&ident, robb).await,
        json!({"access_token": "token of robb"})
    );
    let jon = make(&ident, with_token("jon")).await;
    assert_eq!(token(&ident, jon).await, json!({"access_token": "token of jon"}));
    ident.stop().await.unwrap();

    // Neither of the two can go while the database has secrets of both.
    for missing in [NEW_KEY, KEY] {
        let refused = run(&database, &set(&[&format!("database.encryption_key={missing}")])).await;
        assert_eq!(status(&refused), 2, "{}", complained(&refused));
    }
    let ident = start(&format!("{KEY},{NEW_KEY}")).await;
    assert_eq!(
        token(&ident, robb).await,
        json!({"access_token": "token of robb"})
    );
    assert_eq!(token(&ident, jon).await, json!({"access_token": "token of jon"}));
}

#[tokio::test]
async fn a_token_that_was_moved_to_another_row_is_not_given_out() {
    let ident = IDENT.start(&[]).await;
    let mut users = Vec::new();
    for name in ["robb", "jon"] {
        let mut document = person(name);
        document["services"] = json!({"github": {"id": name, "access_token": format!("token of {name}")}});
        users.push(make(&ident, document).await);
    }
    let client = ident.database.connect("ident").await;
    let moved = "UPDATE linked_accounts SET access_token =
                 (SELECT access_token FROM linked_accounts WHERE user_id = $1) WHERE user_id = $2";
    client.execute(moved, &[&users[0], &users[1]]).await.unwrap();
    let answer = ident
        .get(&format!("/{}/services/github/token", users[1]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text().await.unwrap().contains("token of"));
    assert_eq!(
        token(&ident, users[0]).await,
        json!({"access_token": "token of robb"})
    );
}
