//! The real binary: killed at every step of a refresh, two of them at once, and ended in good order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use identity_core::db::tokio_postgres::Client;
use identity_testkit::{
    Answer, Cut, Process, Provider, Refreshing, Signal, TestDatabase, command, eventually, output,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::visitor::{Visitor, location};
use crate::world::{expect, kind};

/// The encryption key of all tests that need no other.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// `tokenstore` in exactly this environment.
pub fn tokenstore_in(environment: &[(&'static str, &str)], arguments: &[&str]) -> Command {
    let environment: BTreeMap<_, _> = environment
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    command(env!("CARGO_BIN_EXE_tokenstore"), &environment, arguments)
}

/// The two providers and a database, for as many processes as are wanted.
pub struct House {
    pub login: Provider,
    pub idp: Provider,
    pub database: TestDatabase,
    http: reqwest::Client,
}

impl House {
    pub async fn new() -> Self {
        Self {
            login: Provider::start(),
            idp: Provider::start(),
            database: TestDatabase::empty().await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The program with these arguments, configured by the original's names.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (login, idp) = (self.login.discovery_url(), self.idp.discovery_url());
        let environment = [
            ("TOKENSTORE_SQLALCHEMY_DATABASE_URI", self.database.url()),
            ("TOKENSTORE_OIDC_DISCOVERY_URL", login),
            ("TOKENSTORE_OIDC_CLIENT_ID", "tokenstore".to_owned()),
            ("TOKENSTORE_OIDC_CLIENT_SECRET", "a secret/of+ours".to_owned()),
            ("TOKENSTORE_TOKEN_PROVIDERS", "idp1".to_owned()),
            ("TOKENSTORE_IDP1_DISCOVERY_URL", idp),
            ("TOKENSTORE_IDP1_CLIENT_ID", "tokenstore".to_owned()),
            ("TOKENSTORE_IDP1_CLIENT_SECRET", "a secret/of+ours".to_owned()),
            ("TOKENSTORE_CRYPTOKEY", KEY.to_owned()),
            ("TOKENSTORE__SERVER__BIND", "127.0.0.1:0".to_owned()),
            ("TOKENSTORE__SERVER__WORKERS", "1".to_owned()),
            ("TOKENSTORE__OUTGOING__ALLOW_PRIVATE", "true".to_owned()),
        ];
        command(
            env!("CARGO_BIN_EXE_tokenstore"),
            &BTreeMap::from(environment),
            arguments,
        )
    }

    /// A process that serves, and where.
    pub async fn serve(&self, arguments: &[&str]) -> (Process, String) {
        let process = Process::start(self.command(arguments));
        let url = format!("http://{}", process.address().await);
        (process, url)
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments)).await
    }

    /// Links Ada's account at `idp1`, as a program does.
    pub async fn link(&self, url: &str) {
        let visitor = Visitor::new(url);
        let bearer = self.login.sign(&json!({}));
        let begun = self
            .http
            .post(format!("{url}/api/v1.0/idp1/authorize"))
            .bearer_auth(&bearer)
            .send();
        let to = begun.await.unwrap().headers()["location"]
            .to_str()
            .unwrap()
            .to_owned();
        let back = location(&visitor.get(&to).await).unwrap();
        let done = visitor
            .request(reqwest::Method::GET, back.as_str())
            .bearer_auth(&bearer)
            .send()
            .await
            .unwrap();
        assert_eq!(location(&done).unwrap().query(), None);
    }

    /// Asks for a token that lasts for an hour, which makes a refresh.
    pub async fn fresh(&self, url: &str) -> reqwest::Result<Response> {
        let address = format!("{url}/api/v1.0/idp1/token?min_ttl=7200");
        self.http
            .get(address)
            .bearer_auth(self.login.sign(&json!({})))
            .send()
            .await
    }

    /// A connection that holds up `mode` of access to links until it commits.
    async fn lock(&self, mode: &str) -> Client {
        let client = self.database.connect("tokenstore").await;
        client
            .batch_execute(&format!("BEGIN; LOCK TABLE links IN {mode} MODE"))
            .await
            .unwrap();
        client
    }
}

/// Returns when a statement waits for `lock`.
async fn held_up(lock: &Client) {
    eventually("a statement waits for the lock", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        // Within a transaction, what is seen first would be seen for ever.
        lock.batch_execute("SELECT pg_stat_clear_snapshot()")
            .await
            .unwrap();
        let waiting: i64 = lock.query_one(sql, &[]).await.unwrap().get(0);
        (waiting > 0).then_some(())
    })
    .await;
}

/// Asks a process for a token and kills it when `reached` says that the step is reached.
async fn killed_during(house: &House, reached: impl AsyncFnOnce()) {
    let (mut process, url) = house.serve(&[]).await;
    let call = house.fresh(&url);
    let kill = async {
        reached().await;
        process.kill();
    };
    let (answer, ()) = tokio::join!(call, kill);
    assert!(answer.is_err(), "it was killed before it answered");
}

#[tokio::test]
async fn a_process_that_is_killed_before_it_asks_the_provider_loses_nothing() {
    let house = House::new().await;
    let (_first, url) = house.serve(&[]).await;
    house.link(&url).await;
    let lock = house.lock("ACCESS EXCLUSIVE").await;
    killed_during(&house, async || held_up(&lock).await).await;
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(house.idp.refreshes(), 0);
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    assert_eq!(house.idp.refreshes(), 1);
}

/// A provider whose ways are `refreshing`, asked by a process that dies while it waits, or before it commits.
async fn killed_after_asking(refreshing: Refreshing, during_commit: bool) -> (House, String, Process) {
    let house = House::new().await;
    house.idp.change(|ways| ways.refreshing = refreshing);
    let (first, url) = house.serve(&[]).await;
    house.link(&url).await;
    if during_commit {
        // It can read the link, and not write what came.
        let lock = house.lock("EXCLUSIVE").await;
        killed_during(&house, async || held_up(&lock).await).await;
        lock.batch_execute("COMMIT").await.unwrap();
    } else {
        house.idp.change(|ways| ways.delay = Duration::from_mins(1));
        killed_during(&house, async || {
            eventually("the provider is asked", async || {
                (house.idp.refreshes() == 1).then_some(())
            })
            .await;
        })
        .await;
        house.idp.change(|ways| ways.delay = Duration::ZERO);
    }
    assert_eq!(house.idp.refreshes(), 1);
    (house, url, first)
}

#[tokio::test]
async fn a_process_that_is_killed_with_the_answer_loses_nothing_where_the_refresh_token_may_be_used_again() {
    for during_commit in [false, true] {
        let (house, url, _first) = killed_after_asking(Refreshing::Keeping, during_commit).await;
        let began = Instant::now();
        expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the lock went with its holder"
        );
        assert_eq!(house.idp.refreshes(), 2);
    }
}

#[tokio::test]
async fn a_process_that_is_killed_with_the_answer_makes_a_used_up_link_ask_for_a_new_authorization() {
    for during_commit in [false, true] {
        let (house, url, _first) = killed_after_asking(Refreshing::Rotating, during_commit).await;
        for _ in 0..3 {
            let refused = house.fresh(&url).await.unwrap();
            assert_eq!(
                kind(refused, StatusCode::CONFLICT).await,
                "reauthorization_required"
            );
        }
        house.link(&url).await;
        expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    }
}

#[tokio::test]
async fn a_process_that_is_killed_after_the_commit_has_left_the_new_token_to_others() {
    let house = House::new().await;
    let (_first, url) = house.serve(&[]).await;
    house.link(&url).await;
    let (mut second, there) = house.serve(&[]).await;
    let token = expect(house.fresh(&there).await.unwrap(), StatusCode::OK).await;
    second.kill();
    let address = format!("{url}/api/v1.0/idp1/token");
    let same = reqwest::Client::new()
        .get(address)
        .bearer_auth(house.login.sign(&json!({})))
        .send()
        .await
        .unwrap();
    assert_eq!(
        expect(same, StatusCode::OK).await["access_token"],
        token["access_token"]
    );
}

#[tokio::test]
async fn two_hundred_callers_of_two_processes_make_one_request() {
    let house = House::new().await;
    let ((_first, here), (_second, there)) = tokio::join!(house.serve(&[]), house.serve(&[]));
    house.link(&here).await;
    house.idp.change(|ways| {
        ways.expires_in = Some(100_000);
        ways.delay = Duration::from_millis(500);
    });
    let calls = (0..200).map(|number| house.fresh(if number % 2 == 0 { &here } else { &there }));
    let mut tokens: Vec<Value> = Vec::new();
    for answer in join_all(calls).await {
        tokens.push(expect(answer.unwrap(), StatusCode::OK).await["access_token"].clone());
    }
    tokens.dedup();
    assert_eq!((tokens.len(), house.idp.refreshes()), (1, 1));
}

#[tokio::test]
async fn a_process_that_is_told_to_stop_stores_what_the_provider_answers() {
    let house = House::new().await;
    let (mut process, url) = house.serve(&["--set", "server.shutdown_grace=200ms"]).await;
    house.link(&url).await;
    house.idp.change(|ways| ways.delay = Duration::from_secs(3));
    // Who asked has hung up long before the answer.
    {
        let mut call = std::pin::pin!(house.fresh(&url));
        let asked = eventually("the provider is asked", async || {
            (house.idp.refreshes() == 1).then_some(())
        });
        tokio::select! {
            answer = &mut call => panic!("not yet: {answer:?}"),
            () = asked => {}
        }
    }
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.log());
    let (_other, url) = house.serve(&[]).await;
    house
        .idp
        .change(|ways| ways.token = Answer::Fixed(500, String::new()));
    let address = format!("{url}/api/v1.0/idp1/token");
    let token = reqwest::Client::new()
        .get(address)
        .bearer_auth(house.login.sign(&json!({})))
        .send()
        .await
        .unwrap();
    expect(token, StatusCode::OK).await;
    let client = house.database.connect("tokenstore").await;
    let generation: i64 = client
        .query_one("SELECT generation FROM links", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(generation, 2);
}

#[tokio::test]
async fn nothing_secret_is_in_the_log() {
    let house = House::new().await;
    let (process, url) = house
        .serve(&["--set", "log.level=trace,hyper=info,reqwest=info"])
        .await;
    house.link(&url).await;
    let token = expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    let log = process.log();
    assert!(log.contains("/api/v1.0/{provider}/token"));
    let requests = house.idp.requests();
    let refresh = requests
        .iter()
        .find_map(|form| form["refresh_token"].as_str())
        .unwrap();
    let code = requests.iter().find_map(|form| form["code"].as_str()).unwrap();
    for secret in [
        token["access_token"].as_str().unwrap(),
        refresh,
        code,
        KEY,
        "a secret/of+ours",
        "eyJ",
        "ada@",
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_is_done_is_counted() {
    let house = House::new().await;
    let (process, url) = house.serve(&["--set", "metrics.bind=127.0.0.1:0"]).await;
    house.link(&url).await;
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    house
        .idp
        .change(|ways| ways.token = Answer::Fixed(500, String::new()));
    house.fresh(&url).await.unwrap();
    house.idp.change(|ways| ways.token = Answer::Usual);
    house.idp.forget_grants();
    house.fresh(&url).await.unwrap();
    let metrics = format!("http://{}/metrics", process.metrics_address().await);
    let text = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    for line in [
        "tokenstore_tokens_handed_out_total 1",
        "tokenstore_links_made_total 1",
        "tokenstore_refreshes_total 1",
        "tokenstore_refreshes_failed_total 1",
        "tokenstore_links_broken_total 1",
        "tokenstore_outbox_waiting 0",
        "route=\"/api/v1.0/{provider}/token\"",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_when_the_provider_answers_gets_the_new_token_later() {
    let house = House::new().await;
    let (proxy, through) = house.database.behind_proxy();
    let through = format!("database.postgres.url={through}");
    let (process, url) = house.serve(&["--set", &through]).await;
    house.link(&url).await;
    house.idp.change(|ways| ways.delay = Duration::from_secs(1));
    let call = house.fresh(&url);
    let outage = async {
        eventually("the provider is asked", async || {
            (house.idp.refreshes() == 1).then_some(())
        })
        .await;
        proxy.cut();
        let again = "storing a refreshed token again";
        eventually(again, async || process.log().contains(again).then_some(())).await;
        proxy.mend();
    };
    let (answer, ()) = tokio::join!(call, outage);
    expect(answer.unwrap(), StatusCode::OK).await;
    // The refresh token that came is the one that is used next.
    house.idp.change(|ways| ways.delay = Duration::ZERO);
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    assert_eq!(house.idp.refreshes(), 2);
}

#[tokio::test]
async fn a_token_that_was_stored_though_nobody_heard_of_it_is_the_links_own_and_is_not_revoked() {
    let house = House::new().await;
    let (proxy, through) = house.database.behind_proxy();
    let through = format!("database.postgres.url={through}");
    let (_process, url) = house.serve(&["--set", &through]).await;
    house.link(&url).await;
    // The type of the token is among the values that are stored, and nowhere else on this way.
    proxy.cut_at(Cut::After(b"Bearer".to_vec()));
    let call = house.fresh(&url);
    let outage = async {
        eventually("the line is cut", async || proxy.is_cut().then_some(())).await;
        proxy.mend();
    };
    let (answer, ()) = tokio::join!(call, outage);
    expect(answer.unwrap(), StatusCode::OK).await;
    let client = house.database.connect("tokenstore").await;
    let sql = "SELECT (SELECT generation FROM links), (SELECT count(*) FROM outbox)";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 0));
    assert!(house.idp.revoked().is_empty(), "nothing was to be revoked");
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    assert_eq!(house.idp.refreshes(), 2);
}
