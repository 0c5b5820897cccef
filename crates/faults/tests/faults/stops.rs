//! SIGTERM under load: whatever a service has accepted it answers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use faults::{Instance, Tally, ask, client, short_or_full, some_moment_after, tell};
use futures_util::future::join_all;
use identity_testkit::{Provider, Signal, TestDatabase, eventually};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;
use tokio_postgres::Client as Database;

use crate::eida::Signer;
use crate::people::{self, People};
use crate::subjects::{self, Subject, Subjects};

/// How many requests are under way at the signal: fewer than a service has connections to Postgres.
const UNDER_WAY: usize = 12;

/// A connection that holds up whoever writes to `table`, until it commits.
async fn lock(database: &TestDatabase, schema: &str, table: &str) -> Database {
    let client = database.connect(schema).await;
    let sql = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE");
    client.batch_execute(&sql).await.unwrap();
    client
}

/// Tells `instance` to stop while `requests` wait for `lock`, which is released when it takes nothing more; all of
/// them must be answered with success.
async fn answered(mut instance: Instance, lock: &Database, requests: Vec<RequestBuilder>) {
    let count = i64::try_from(requests.len()).unwrap();
    let asking = join_all(requests.into_iter().map(ask));
    let stopping = async {
        eventually("all are held up", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
            // Within a transaction, what is seen first would be seen for ever.
            lock.batch_execute("SELECT pg_stat_clear_snapshot()")
                .await
                .unwrap();
            let waiting: i64 = lock.query_one(sql, &[]).await.unwrap().get(0);
            (waiting == count).then_some(())
        })
        .await;
        stops_listening(&instance).await;
        lock.batch_execute("COMMIT").await.unwrap();
    };
    let (answers, ()) = tokio::join!(asking, stopping);
    for answer in answers {
        assert!(answer.is_success(), "{answer:?}");
    }
    assert_eq!(instance.ended().await.code(), Some(0), "{}", instance.log());
}

/// Sends the signal and waits until new connections are refused.
async fn stops_listening(instance: &Instance) {
    instance.signal(Signal::TERM);
    let address = instance.url.trim_start_matches("http://").to_owned();
    eventually("it does not listen any more", async || {
        tokio::net::TcpStream::connect(&address).await.err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ident_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let ident = Instance::start("ident", &people::settings(&database.url())).await;
    let lock = lock(&database, "ident", "users").await;
    let make = |number| {
        let document = json!({"name": "Robb", "email": format!("robb{number}@north")});
        client().post(format!("{}/", ident.url)).json(&document)
    };
    let requests = (0..UNDER_WAY).map(make).collect();
    answered(ident, &lock, requests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idm_users_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let idm = Instance::start("idm-users", &subjects::settings(&database.url())).await;
    let subjects = Subjects::at(&idm.url).await;
    let lock = lock(&database, "idm_users", "subjects").await;
    let requests =
        (0..UNDER_WAY).map(|number| subjects.request(&format!("S{number}"), &Subject::numbered(0), true));
    answered(idm, &lock, requests.collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eida_auth_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let signer = Signer::new();
    let settings = [
        format!("database.postgres.url={}", database.url()),
        signer.setting(),
    ];
    let eida = Instance::start("eida-auth", &settings).await;
    signer.map(&database).await;
    let lock = lock(&database, "eida_auth", "users").await;
    let post = |number: usize| {
        client()
            .post(format!("{}/", eida.url))
            .body(signer.token(&number.to_string()))
    };
    let requests = (0..UNDER_WAY).map(post).collect();
    answered(eida, &lock, requests).await;
}

/// Links the account of the provider's only user, as a program does.
async fn link(http: &Client, url: &str, bearer: &str) {
    let location = |answer: &reqwest::Response| {
        let to = answer.headers().get("location").unwrap();
        to.to_str().unwrap().to_owned()
    };
    let begun = http
        .post(format!("{url}/api/v1.0/idp1/authorize"))
        .bearer_auth(bearer)
        .send();
    let allowed = http.get(location(&begun.await.unwrap())).send();
    let done = http
        .get(location(&allowed.await.unwrap()))
        .bearer_auth(bearer)
        .send();
    assert!(!location(&done.await.unwrap()).contains("error"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let (login, idp) = (Provider::start(), Provider::start());
    let settings = [
        format!("database.postgres.url={}", database.url()),
        format!("oidc.discovery_url={}", login.discovery_url()),
        format!("providers.idp1.discovery_url={}", idp.discovery_url()),
    ];
    let others = [
        "crypto_keys=0123456789abcdef0123456789abcdef",
        "oidc.client_id=tokenstore",
        "oidc.client_secret=a secret/of+ours",
        "providers.idp1.client_id=tokenstore",
        "providers.idp1.client_secret=a secret/of+ours",
        "outgoing.allow_private=true",
    ];
    let settings: Vec<String> = settings.into_iter().chain(others.map(str::to_owned)).collect();
    let mut tokenstore = Instance::start("tokenstore", &settings).await;
    let http = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let bearer = login.sign(&json!({}));
    link(&http, &tokenstore.url, &bearer).await;
    idp.change(|ways| ways.delay = Duration::from_secs(2));
    // All of them wait for the one refresh.
    let fresh = format!("{}/api/v1.0/idp1/token?min_ttl=7200", tokenstore.url);
    let asking = join_all((0..50).map(|_| ask(http.get(&fresh).bearer_auth(&bearer))));
    let stopping = async {
        eventually("the provider is asked", async || {
            (idp.refreshes() == 1).then_some(())
        })
        .await;
        // The first has come that far; the others need a moment more to be taken.
        tokio::time::sleep(Duration::from_millis(500)).await;
        stops_listening(&tokenstore).await;
    };
    let (answers, ()) = tokio::join!(asking, stopping);
    for answer in answers {
        assert_eq!(answer.status, Some(StatusCode::OK), "{answer:?}");
    }
    assert_eq!(tokenstore.ended().await.code(), Some(0), "{}", tokenstore.log());
}

/// Hardly a client was left without an answer. One can be: a connection that comes just when the service stops
/// listening is closed unread.
fn nearly_none_is_left(tally: &Tally, stops: usize) {
    assert!(tally.broken * 10 <= stops, "{tally}");
}

/// Stops and starts `instance` so often under load; gives how long the slowest stop took.
async fn stop_and_start(instance: &mut Instance, times: usize, done: impl Fn() -> usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        some_moment_after(20, &done).await;
        let began = Instant::now();
        instance.signal(Signal::TERM);
        assert_eq!(instance.ended().await.code(), Some(0), "{}", instance.log());
        slowest = slowest.max(began.elapsed());
        instance.start_again().await;
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_ident_did_is_left_unanswered_when_it_is_stopped_under_load() {
    let stops = short_or_full(4, 30);
    let database = TestDatabase::empty().await;
    let mut ident = Instance::start("ident", &people::settings(&database.url())).await;
    let people = People::at(&[&ident.url]);
    let load = people.busy(8);
    let slowest = stop_and_start(&mut ident, stops, || people.ledger.tally().done).await;
    load.stop().await;
    ident.kill();
    let client = database.connect("ident").await;
    let (changes, told) = people.records_agree(&client).await;
    let tally = people.ledger.tally();
    assert_eq!(changes, tally.done, "what was not answered was not done: {told}");
    assert_eq!((tally.put_off, tally.refused), (0, 0), "{tally}");
    nearly_none_is_left(&tally, stops);
    tell(
        "ident stopped under load",
        &format!("{stops} stops, {slowest:.1?} at most; {told}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_idm_users_did_is_left_unanswered_when_it_is_stopped_under_load() {
    let stops = short_or_full(4, 30);
    let database = TestDatabase::empty().await;
    let mut idm = Instance::start("idm-users", &subjects::settings(&database.url())).await;
    let subjects = Subjects::at(&idm.url).await;
    let load = subjects.busy(8);
    let slowest = stop_and_start(&mut idm, stops, || subjects.ledger.tally().done).await;
    load.stop().await;
    idm.kill();
    let (changes, told) = subjects.agree(&database.url()).await;
    let tally = subjects.ledger.tally();
    assert_eq!(changes, tally.done, "what was not answered was not done: {told}");
    assert_eq!(tally.put_off, 0, "{tally}");
    nearly_none_is_left(&tally, stops);
    tell(
        "idm-users stopped under load",
        &format!("{stops} stops, {slowest:.1?} at most; {told}"),
    );
}
