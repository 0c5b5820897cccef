//! SIGTERM under load: whatever a service has accepted it answers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use faults::{
    Instance, ask, begin_link, choose_account, client, end_link, linking_settings, short_or_full,
    some_moment_after, tell,
};
use futures_util::future::join_all;
use identity_testkit::{Provider, Signal, TestDatabase, eventually};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;
use tokio_postgres::Client as Database;

use crate::accounts::Accounts;
use crate::eida::Signer;
use crate::logins::Logins;
use crate::people::{self, People};
use crate::subjects::{self, Subject, Subjects};
use crate::work::{CLIENTS, Work};

/// How many requests are under way at the signal: fewer than a service has connections to Postgres.
const UNDER_WAY: usize = 12;

/// Until then all requests that were sent at once have been taken.
const SHARED: Duration = Duration::from_millis(500);

/// A connection that holds up whoever writes to `table`, until it commits.
async fn lock(database: &TestDatabase, schema: &str, table: &str) -> Database {
    let client = database.connect(schema).await;
    let sql = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE");
    client.batch_execute(&sql).await.unwrap();
    client
}

/// Tells `instance` to stop while `requests` wait for `lock`, which is released when it takes nothing more; all of
/// them must be answered with success. They wait in so many `statements`.
async fn answered(
    mut instance: Instance,
    lock: &Database,
    requests: Vec<RequestBuilder>,
    statements: RangeInclusive<usize>,
) {
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
            let waiting = usize::try_from(waiting).unwrap();
            statements.contains(&waiting).then_some(())
        })
        .await;
        if *statements.start() < UNDER_WAY {
            // Others wait in the service, unseen, for the statement that they will share.
            tokio::time::sleep(SHARED).await;
        }
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
    answered(ident, &lock, requests, UNDER_WAY..=UNDER_WAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idm_users_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let idm = Instance::start("idm-users", &subjects::settings(&database.url())).await;
    let subjects = Subjects::at(&idm.url).await;
    let lock = lock(&database, "idm_users", "subjects").await;
    let requests =
        (0..UNDER_WAY).map(|number| subjects.request(&format!("S{number}"), &Subject::numbered(0), true));
    answered(idm, &lock, requests.collect(), UNDER_WAY..=UNDER_WAY).await;
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
    signer.map(&database.connect("eida_auth").await).await;
    let lock = lock(&database, "eida_auth", "users").await;
    let post = |number: usize| {
        client()
            .post(format!("{}/", eida.url))
            .body(signer.token(&number.to_string()))
    };
    let requests = (0..UNDER_WAY).map(post).collect();
    answered(eida, &lock, requests, 1..=UNDER_WAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_told_to_stop_answers_what_it_has_accepted() {
    let database = TestDatabase::empty().await;
    let (login, idp) = (Provider::start(), Provider::start());
    idp.change(|ways| ways.asks = true);
    let settings = linking_settings(&database.url(), &login, &idp);
    let mut tokenstore = Instance::start("tokenstore", &settings).await;
    let (http, bearer) = (client(), login.sign(&json!({})));
    let begun = ask(begin_link(&http, &tokenstore.url, &bearer)).await;
    let back = choose_account(&http, &begun, "ada").await.unwrap();
    assert!(
        end_link(&http, &tokenstore.url, &bearer, &back)
            .await
            .is_success()
    );
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
        tokio::time::sleep(SHARED).await;
        stops_listening(&tokenstore).await;
    };
    let (answers, ()) = tokio::join!(asking, stopping);
    for answer in answers {
        assert_eq!(answer.status, Some(StatusCode::OK), "{answer:?}");
    }
    assert_eq!(tokenstore.ended().await.code(), Some(0), "{}", tokenstore.log());
}

/// Told to stop under load, again and again.
async fn stopped<W: Work>() {
    let stops = short_or_full(3, 30);
    let database = TestDatabase::empty().await;
    let (mut instance, work) = W::start(&database.url(), &[]).await;
    let load = work.busy(CLIENTS);
    let mut slowest = Duration::ZERO;
    for _ in 0..stops {
        some_moment_after(20, || work.done()).await;
        let began = Instant::now();
        instance.signal(Signal::TERM);
        assert_eq!(instance.ended().await.code(), Some(0), "{}", instance.log());
        slowest = slowest.max(began.elapsed());
        instance.start_again().await;
    }
    load.stop().await;
    let good = work.is_good(&instance).await;
    instance.kill();
    let (changes, told) = work.agree(&database.url()).await;
    let tally = work.tally();
    assert_eq!(changes, tally.done, "what was not answered was not done: {told}");
    assert_eq!(
        (tally.put_off, tally.broken),
        (0, 0),
        "who was heard is answered: {tally}"
    );
    tell(
        &format!("{} stopped under load", W::SERVICE),
        &format!("{stops} stops, {slowest:.1?} at most; {told}{good}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_ident_did_is_left_unanswered_when_it_is_stopped_under_load() {
    stopped::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_tokenstore_did_is_left_unanswered_when_it_is_stopped_under_load() {
    stopped::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_idm_users_did_is_left_unanswered_when_it_is_stopped_under_load() {
    stopped::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_eida_auth_did_is_left_unanswered_when_it_is_stopped_under_load() {
    stopped::<Logins>().await;
}
