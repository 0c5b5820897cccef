//! Postgres: errors by their codes, connections protected by TLS, several hosts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::{Duration, Instant};

use identity_core::config::{Base, Postgres, Schema, Settings, Sources};
use identity_core::db::tokio_postgres::Client;
use identity_core::db::{Client as Pooled, Database, Error, ErrorKind, Gathered, Lookup};
use identity_core::failure::Failure;
use identity_core::http::Problem;
use identity_testkit::{Authority, TestDatabase, eventually};
use private_postgres::{Options, Programs, Server};
use tempfile::TempDir;
use tokio::net::TcpSocket;

static SCHEMA: Schema = Schema {
    service: "test",
    defaults: "[database.postgres]\nschema = \"public\"\nconnect_timeout = \"5s\"\n",
    secrets: &[],
    open: &[],
    file_variables: &[],
    originals: |_| Ok(Vec::new()),
};

/// `[database.postgres]` with these keys.
fn settings(keys: &[&str]) -> Postgres {
    let overrides = keys
        .iter()
        .map(|key| format!("database.postgres.{key}"))
        .collect();
    let sources = Sources {
        overrides,
        ..Sources::default()
    };
    let settings = Settings::load(&SCHEMA, &sources).unwrap();
    Base::read(&settings).unwrap().database.postgres
}

async fn open(keys: &[&str]) -> Result<Database, Failure> {
    Database::open("test", &settings(keys)).await
}

async fn opened(database: &TestDatabase) -> Database {
    open(&[&format!("url={}", database.url())]).await.unwrap()
}

/// The error of a statement.
async fn error(database: &Database, sql: &str) -> Error {
    let client = database.client().await.unwrap();
    client.batch_execute(sql).await.unwrap_err().into()
}

#[tokio::test]
async fn errors_are_told_apart_by_their_codes() {
    let database = TestDatabase::empty().await;
    let database = opened(&database).await;
    let unavailable = ["08006", "53300", "53100", "57P01", "57P02", "57P03", "25006"];
    let cases = [
        (&["40001", "40P01"][..], ErrorKind::Conflict),
        (&["57014"], ErrorKind::Timeout),
        (&unavailable, ErrorKind::Unavailable),
        (&["42601", "22001", "P0001", "23514", "XX000"], ErrorKind::Other),
        (&["23505"], ErrorKind::Unique(String::new())),
        (&["23503"], ErrorKind::ForeignKey(String::new())),
    ];
    for (codes, kind) in cases {
        for code in codes {
            let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$");
            let error = error(&database, &sql).await;
            assert_eq!(error.kind(), &kind, "{code}");
            assert!(error.to_string().contains(code), "{error}");
            let put_off = matches!(
                kind,
                ErrorKind::Conflict | ErrorKind::Timeout | ErrorKind::Unavailable
            );
            let status = Problem::from(error).status().as_u16();
            assert_eq!(status, if put_off { 503 } else { 500 }, "{code}");
        }
    }
}

#[tokio::test]
async fn an_error_names_the_constraint_and_shows_no_value() {
    let database = TestDatabase::empty().await;
    let database = opened(&database).await;
    let client = database.client().await.unwrap();
    let tables =
        "CREATE TABLE a (id text CONSTRAINT a_key PRIMARY KEY, n int CONSTRAINT n_positive CHECK (n > 0));
                  CREATE TABLE b (a text CONSTRAINT b_of_a REFERENCES a);
                  INSERT INTO a VALUES ('private@example.org', 1)";
    client.batch_execute(tables).await.unwrap();
    for (sql, kind) in [
        (
            "INSERT INTO a VALUES ('private@example.org', 2)",
            ErrorKind::Unique("a_key".into()),
        ),
        (
            "INSERT INTO b VALUES ('private-2@example.org')",
            ErrorKind::ForeignKey("b_of_a".into()),
        ),
        (
            "INSERT INTO a VALUES ('private-3@example.org', 0)",
            ErrorKind::Other,
        ),
    ] {
        let error = error(&database, sql).await;
        assert_eq!(error.kind(), &kind);
        assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
        assert!(error.to_string().contains("constraint"), "{error}");
        assert_eq!(error.violates("a_key"), kind == ErrorKind::Unique("a_key".into()));
    }
}

#[tokio::test]
async fn a_statement_and_a_wait_for_a_connection_end_in_time() {
    let database = TestDatabase::empty().await;
    let url = format!("url={}", database.url());
    let keys = [
        &url,
        "statement_timeout=200ms",
        "pool_size=1",
        "connect_timeout=300ms",
    ];
    let database = open(&keys).await.unwrap();
    assert_eq!(
        error(&database, "SELECT pg_sleep(60)").await.kind(),
        &ErrorKind::Timeout
    );
    let only = database.client().await.unwrap();
    assert_eq!(
        database.client().await.unwrap_err().kind(),
        &ErrorKind::Unavailable
    );
    drop(only);
    assert!(database.client().await.is_ok());
}

#[tokio::test]
async fn a_connection_that_postgres_ends_is_unavailable_and_replaced() {
    let database = TestDatabase::empty().await;
    let database = opened(&database).await;
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert_eq!(error(&database, end).await.kind(), &ErrorKind::Unavailable);
    eventually("the next one works", async || {
        let client = database.client().await.ok()?;
        client.batch_execute("SELECT 1").await.ok()
    })
    .await;
    let reader = database.reader();
    let first = reader.client().await.unwrap();
    assert!(first.batch_execute(end).await.is_err());
    eventually("the next one works", async || {
        reader.client().await.ok()?.batch_execute("SELECT 1").await.ok()
    })
    .await;
}

/// Squares of numbers that are not negative, each with how many were asked for with it.
enum Squares {}

impl Lookup for Squares {
    type Key = i32;
    type Found = (i32, usize);

    async fn find(client: &Pooled, keys: &[i32]) -> Result<Vec<(i32, Self::Found)>, Error> {
        assert!(!keys.contains(&99), "on purpose");
        let sql = "SELECT key, key * key FROM unnest($1::int[]) key WHERE key >= 0";
        let rows = client.query(sql, &[&keys]).await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), (row.get(1), keys.len())))
            .collect())
    }
}

#[tokio::test]
async fn lookups_at_the_same_time_go_together_and_each_gets_its_own_answer() {
    let database = TestDatabase::empty().await;
    let squares = Gathered::<Squares>::new(&opened(&database).await.reader());
    let of = |keys: std::ops::Range<i32>| {
        futures_util::future::join_all(keys.map(|key| {
            let squares = &squares;
            // Of each two, both ask for the same.
            async move { squares.find(key / 2).await.unwrap().as_deref().copied() }
        }))
    };
    assert_eq!(squares.find(7).await.unwrap().as_deref(), Some(&(49, 1)));
    assert_eq!(squares.find(-7).await.unwrap(), None);
    let answers = of(-20..180).await;
    for (key, answer) in (-20..180).zip(&answers) {
        let square = answer.map(|(square, _)| square);
        assert_eq!(square, (key / 2 >= 0).then_some((key / 2) * (key / 2)), "{key}");
    }
    let together = answers.iter().flatten().map(|(_, together)| *together).max();
    assert!(
        together.is_some_and(|count| (10..=64).contains(&count)),
        "{together:?}"
    );
}

#[tokio::test]
async fn a_lookup_that_is_given_up_takes_no_other_with_it() {
    let database = TestDatabase::empty().await;
    let squares = Gathered::<Squares>::new(&opened(&database).await.reader());
    let mut first = Box::pin(squares.find(2));
    let mut second = Box::pin(squares.find(3));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    // Both are under way.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    drop(first);
    assert_eq!(second.await.unwrap().as_deref(), Some(&(9, 2)));
}

#[tokio::test]
async fn after_a_failure_lookups_work_again() {
    let database = TestDatabase::empty().await;
    let opened = opened(&database).await;
    let reader = opened.reader();
    let squares = Gathered::<Squares>::new(&reader);
    // A panic fails those that go with it, and leaves nobody waiting.
    let (panicked, other) = tokio::join!(squares.find(99), squares.find(3));
    assert_eq!(panicked.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(other.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(squares.find(3).await.unwrap().as_deref(), Some(&(9, 1)));
    // A lost connection as well.
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert!(reader.client().await.unwrap().batch_execute(end).await.is_err());
    eventually("the next one works", async || squares.find(3).await.ok()).await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    for (keys, expected) in [
        (&["schema=a; DROP TABLE x"][..], "database.postgres.schema"),
        (&["schema=Upper"], "database.postgres.schema"),
        (&["url=mysql://db/x"], "database.postgres.url"),
        (&["url=postgresql://db/x?sslmode=maybe"], "sslmode"),
        (&["url=postgresql://db/x?nonsense=1"], "database.postgres.url"),
        (&["sslcert=/nonexistent"], "database.postgres.sslcert"),
        (
            &["sslmode=verify-full", "sslrootcert=/nonexistent"],
            "database.postgres.sslrootcert",
        ),
    ] {
        match open(keys).await.unwrap_err() {
            Failure::Configuration(line) => assert!(line.contains(expected), "{line}"),
            other => panic!("{keys:?}: {other}"),
        }
    }
}

/// A server of the test's own, with these settings.
async fn server(settings: &[(&str, &str)]) -> Server {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres");
    let programs = Programs::find_or_fetch(&cache).await.unwrap();
    let mut options = Options::ephemeral();
    let owned = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    options.settings = owned.collect();
    Server::start(programs, options).await.unwrap()
}

/// A loopback address that nobody else uses: ephemeral servers all have the same port.
fn own_address() -> String {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.77.{high}.{low}")
}

/// Writes a file into the data directory, which only Postgres's own user can.
async fn write(client: &Client, name: &str, text: &str) {
    let lines: Vec<_> = text.lines().map(|line| format!("('{line}')")).collect();
    let sql = format!(
        "COPY (VALUES {}) TO PROGRAM 'umask 077; cat > {name}'",
        lines.join(",")
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "has no loopback addresses to spare")]
async fn the_modes_of_tls_protect_as_their_names_say() {
    let address = own_address();
    let server = server(&[("listen_addresses", &address)]).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let certified = authority.certify(&["db.test"]);
    let client = server.connect("postgres").await.unwrap();
    write(&client, "server.crt", &certified.certificate).await;
    write(&client, "server.key", &certified.key).await;
    write(&client, "root.crt", &authority.pem()).await;
    for set in ["ssl = on", "ssl_ca_file = 'root.crt'"] {
        client
            .batch_execute(&format!("ALTER SYSTEM SET {set}"))
            .await
            .unwrap();
    }
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();

    let files = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (trusted, other) = (file("root", &authority.pem()), file("other", &stranger.pem()));
    // The name that the certificate has, and the address, which it has not.
    let by_name = format!("url=postgresql://postgres@db.test:5432/postgres?hostaddr={address}");
    let by_address = format!("url=postgresql://postgres@{address}:5432/postgres");
    let protected = async |url: &str, mode: &str, root: Option<&str>| {
        let (mode, root) = (
            format!("sslmode={mode}"),
            root.map(|root| format!("sslrootcert={root}")),
        );
        let mut keys = vec![url, &mode, "connect_timeout=700ms"];
        keys.extend(root.as_deref());
        let client = open(&keys).await?.connect().await.unwrap();
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok::<bool, Failure>(client.query_one(sql, &[]).await.unwrap().get(0))
    };
    eventually("it speaks TLS", async || {
        protected(&by_name, "require", None).await.ok()
    })
    .await;
    for (url, mode, root, expected) in [
        (&by_name, "disable", None, Some(false)),
        (&by_name, "prefer", None, Some(true)),
        (&by_name, "require", Some(&other), Some(true)),
        (&by_name, "verify-ca", Some(&trusted), Some(true)),
        (&by_name, "verify-ca", Some(&other), None),
        (&by_name, "verify-ca", None, None),
        (&by_address, "verify-ca", Some(&trusted), Some(true)),
        (&by_name, "verify-full", Some(&trusted), Some(true)),
        (&by_name, "verify-full", Some(&other), None),
        (&by_address, "verify-full", Some(&trusted), None),
    ] {
        let found = protected(url, mode, root.map(String::as_str)).await;
        assert_eq!(
            found.as_ref().ok(),
            expected.as_ref(),
            "{url} {mode} {root:?}: {found:?}"
        );
        assert!(found.is_ok() || matches!(found, Err(Failure::Unreachable(_))));
    }
    let in_url = format!("{by_name}&sslmode=verify-full&sslrootcert={other}");
    assert!(
        protected(&in_url, "disable", None).await.is_err(),
        "the URL's own mode counts"
    );

    // Our own certificate, which Postgres asks for.
    let ours = authority.certify(&["client.test"]);
    let (certificate, key) = (file("cert", &ours.certificate), file("key", &ours.key));
    let (certificate, key) = (format!("sslcert={certificate}"), format!("sslkey={key}"));
    let client = open(&[&by_name, "sslmode=require", &certificate, &key])
        .await
        .unwrap();
    let sql = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let client = client.connect().await.unwrap();
    let known: Option<String> = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(known.is_some());
}

#[tokio::test]
async fn encryption_that_is_required_is_not_given_up() {
    let database = TestDatabase::empty().await;
    // Postgres does not encrypt what comes over its Unix socket.
    let (_proxy, url) = database.behind_proxy();
    let url = format!("url={url}");
    let refused = open(&[&url, "sslmode=require", "connect_timeout=600ms"]).await;
    if std::env::var_os("DATABASE_URL").is_none() {
        assert!(matches!(refused, Err(Failure::Unreachable(_))));
    }
    open(&[&url, "sslmode=prefer"]).await.unwrap();
}

/// A connection URL of several addresses.
fn url_of(database: &TestDatabase, addresses: &[&str]) -> String {
    let (proxy, url) = database.behind_proxy();
    format!(
        "url={}",
        url.replace(&proxy.address.to_string(), &addresses.join(","))
    )
}

#[tokio::test]
async fn of_several_hosts_the_first_that_works_is_taken() {
    let database = TestDatabase::empty().await;
    let (alive, _) = database.behind_proxy();
    let (silent, _) = database.behind_proxy();
    silent.silence();
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing_address = refusing.local_addr().unwrap().to_string();
    let (alive, silent_address) = (alive.address.to_string(), silent.address.to_string());
    for addresses in [
        [&alive, &refusing_address],
        [&refusing_address, &alive],
        [&silent_address, &alive],
    ] {
        let url = url_of(&database, &addresses.map(String::as_str));
        let began = Instant::now();
        let database = open(&[&url, "connect_timeout=2s"]).await.unwrap();
        // The one that is silent costs its share once, and is not the first any more.
        for _ in 0..3 {
            database.connect().await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_millis(1900), "{addresses:?}");
    }
    let none = url_of(&database, &[&refusing_address, &silent_address]);
    let failure = open(&[&none, "connect_timeout=600ms"]).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)));
}

#[tokio::test]
async fn a_host_that_only_reads_is_passed_over() {
    let reading = server(&[("default_transaction_read_only", "on")]).await;
    let writing = server(&[]).await;
    let both = [&reading, &writing].map(|server| {
        let url = server.connection_string("postgres");
        let authority = url.split_once('@').unwrap().1;
        authority.split_once('/').unwrap().0.to_owned()
    });
    let url = format!("url=postgresql://postgres@{}/postgres", both.join(","));
    let database = open(&[&url]).await.unwrap();
    let client = database.client().await.unwrap();
    client
        .batch_execute("CREATE TABLE written (id int)")
        .await
        .unwrap();
    let client = writing.connect("postgres").await.unwrap();
    client.batch_execute("SELECT * FROM written").await.unwrap();
}

#[tokio::test]
async fn when_the_host_in_use_falls_silent_another_takes_over() {
    let database = TestDatabase::empty().await;
    let (first, _) = database.behind_proxy();
    let (second, _) = database.behind_proxy();
    let addresses = [first.address.to_string(), second.address.to_string()];
    let url = url_of(&database, &addresses.each_ref().map(String::as_str));
    let opened = open(&[&url, "connect_timeout=1s", "outage_exit=never"])
        .await
        .unwrap();
    let reader = opened.reader();
    reader.client().await.unwrap();
    drop(opened.client().await.unwrap());
    let watching = watching(&database, &opened).await;
    first.silence();
    eventually("the reader is connected to the other", async || {
        let client = reader.client().await.ok()?;
        answers(&client).await
    })
    .await;
    eventually("the pool is connected to the other", async || {
        let client = opened.client().await.ok()?;
        answers(&client).await
    })
    .await;
    watching.abort();
}

#[tokio::test]
async fn who_waits_for_a_host_that_hangs_gets_an_error_when_another_takes_over() {
    let database = TestDatabase::empty().await;
    let (first, _) = database.behind_proxy();
    let (second, _) = database.behind_proxy();
    let addresses = [first.address.to_string(), second.address.to_string()];
    let url = url_of(&database, &addresses.each_ref().map(String::as_str));
    let settings = [&url, "connect_timeout=1s", "outage_exit=never", "pool_size=1"];
    let opened = open(&settings).await.unwrap();
    let held = opened.client().await.unwrap();
    let watching = watching(&database, &opened).await;
    first.silence();
    {
        let mut waiting = std::pin::pin!(held.batch_execute("SELECT 1"));
        // Not the network ends it: the host only says nothing.
        let patience = Duration::from_secs(1);
        tokio::time::timeout(patience, &mut waiting).await.unwrap_err();
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        let error = Error::from(waited.unwrap().unwrap_err());
        assert_eq!(error.kind(), &ErrorKind::Unavailable);
    }
    // The pool's only place is free again.
    drop(held);
    opened
        .client()
        .await
        .unwrap()
        .batch_execute("SELECT 1")
        .await
        .unwrap();
    watching.abort();
}

/// Has `opened` watch Postgres; returns when it has got its first answer.
async fn watching(database: &TestDatabase, opened: &Database) -> tokio::task::JoinHandle<Failure> {
    let watching = tokio::spawn({
        let opened = opened.clone();
        async move { opened.watch().await }
    });
    let observer = database.connect("public").await;
    eventually("it has been answered", async || {
        // What it asks is an empty statement.
        let sql = "SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'test'
                     AND state = 'idle' AND query = '' AND query_start IS NOT NULL";
        observer.query_opt(sql, &[]).await.unwrap().map(drop)
    })
    .await;
    watching
}

async fn answers(client: &Client) -> Option<()> {
    let answer = tokio::time::timeout(Duration::from_millis(300), client.batch_execute("SELECT 1"));
    answer.await.ok()?.ok()
}
