//! Expired accounts are removed: when asked, by itself, in batches, and nothing else with them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_core::db::tokio_postgres::Client;
use identity_testkit::{TestService, eventually};
use reqwest::StatusCode;

use crate::EIDA;
use crate::signer::{PATH, connect, count, login, started};

const TABLES: [&str; 4] = ["users", "credentials", "eida_temp_users", "issued_logins"];

async fn cleanup(eida: &TestService) -> String {
    let answer = eida.get("/cleanup").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    answer.text().await.unwrap()
}

/// As many accounts as rows are asked for, with all that belongs to them, which end at `end`.
async fn accounts(client: &Client, prefix: &str, number: i32, end: &str) {
    let sql = format!(
        "WITH account AS (
             INSERT INTO users (login, first_name, last_name, email, expires_at)
             SELECT '{prefix}' || n, 'Temp', 'EIDA', '{prefix}' || n || '@eida', {end} FROM generate_series(1, {number}) n
             RETURNING user_index, login
         ), credential AS (
             INSERT INTO credentials SELECT user_index, NULL, md5(login) FROM account
         )
         INSERT INTO eida_temp_users (network_id, network, start_year, end_year, name, expires_at)
         SELECT network_id, network, start_year, end_year, login, {end} FROM account, networks"
    );
    client.batch_execute(&sql).await.unwrap();
}

async fn counts(client: &Client) -> [i64; 4] {
    let mut counts = [0; 4];
    for (number, table) in counts.iter_mut().zip(TABLES) {
        *number = count(client, table).await;
    }
    counts
}

#[tokio::test]
async fn what_has_expired_is_removed_and_nothing_else() {
    let (eida, signer) = started(&["cleanup.interval=36000d"]).await;
    let client = connect(&eida).await;
    let (early, _) = login(&eida, signer.token(&eida, PATH, 600, "")).await;
    let (late, _) = login(&eida, signer.token(&eida, PATH, 7200, "")).await;
    accounts(&client, "permanent", 1, "NULL").await;
    assert_eq!(cleanup(&eida).await, "Deleted 0 temporary accounts.");
    assert_eq!(counts(&client).await, [3, 3, 3, 2]);
    eida.clock.advance(Duration::from_secs(599));
    assert_eq!(cleanup(&eida).await, "Deleted 0 temporary accounts.");
    eida.clock.advance(Duration::from_secs(1));
    assert_eq!(cleanup(&eida).await, "Deleted 1 temporary accounts.");
    assert_eq!(counts(&client).await, [2, 2, 2, 1]);
    let rows = client
        .query(
            "SELECT login FROM users UNION SELECT name FROM eida_temp_users",
            &[],
        )
        .await
        .unwrap();
    let mut logins: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    logins.sort();
    assert!(!logins.contains(&early));
    assert_eq!(logins, [late, "permanent1".to_owned()]);
    eida.clock.advance(Duration::from_hours(90 * 366 * 24));
    assert_eq!(cleanup(&eida).await, "Deleted 1 temporary accounts.");
    assert_eq!(counts(&client).await, [1, 1, 1, 0]);
}

#[tokio::test]
async fn it_is_done_by_itself_at_intervals() {
    let (eida, signer) = started(&["cleanup.interval=10m"]).await;
    let client = connect(&eida).await;
    login(&eida, signer.token(&eida, PATH, 300, "")).await;
    eida.clock.advance(Duration::from_secs(400));
    assert_eq!(count(&client, "users").await, 1, "the interval is not over");
    eida.clock.advance(Duration::from_mins(5));
    eventually("the account is removed", async || {
        (counts(&client).await == [0; 4]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_are_removed_in_batches_while_requests_go_on() {
    let (eida, signer) = started(&["cleanup.interval=1000h"]).await;
    let client = connect(&eida).await;
    accounts(&client, "expired", 5000, "'2020-01-01'").await;
    accounts(&client, "permanent", 10, "NULL").await;
    accounts(&client, "living", 10, "now() + '1 day'").await;
    let cleaning = tokio::spawn(eida.get("/cleanup").send());
    let mut given = 0;
    let mut seen = std::collections::BTreeSet::new();
    while !cleaning.is_finished() {
        login(&eida, signer.token(&eida, PATH, 600, &format!("during {given}"))).await;
        given += 1;
        let left: i64 = client
            .query_one("SELECT count(*) FROM users WHERE expires_at = '2020-01-01'", &[])
            .await
            .unwrap()
            .get(0);
        seen.insert(left);
    }
    let answer = cleaning.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "Deleted 5000 temporary accounts.");
    assert!(given > 0, "requests were answered meanwhile");
    assert!(seen.iter().all(|left| left % 500 == 0), "{seen:?}");
    assert!(
        seen.iter().any(|left| (1..5000).contains(left)),
        "batch by batch: {seen:?}"
    );
    assert_eq!(counts(&client).await, [20 + given, 20 + given, 20 + given, given]);
}

#[tokio::test]
async fn two_at_once_remove_everything_once() {
    let (eida, signer) = started(&["cleanup.interval=1000h"]).await;
    let client = connect(&eida).await;
    accounts(&client, "expired", 3000, "'2020-01-01'").await;
    let keyring = signer.setting();
    let other = EIDA
        .start_on(eida.database.clone(), &eida.clock, &[&keyring])
        .await;
    let both = futures_util::future::join_all([&eida, &other, &eida, &other].map(cleanup)).await;
    let number = |text: &String| text.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
    assert_eq!(both.iter().map(number).sum::<u32>(), 3000, "{both:?}");
    assert_eq!(counts(&client).await, [0; 4]);
}

#[tokio::test]
async fn of_several_instances_one_does_it_by_itself() {
    let (eida, _) = started(&["cleanup.interval=10m"]).await;
    let client = connect(&eida).await;
    accounts(&client, "expired", 10, "'2020-01-01'").await;
    // Another instance is at it.
    let busy = connect(&eida).await;
    let key = identity_core::db::lock::key("eida_auth", "eida-auth cleanup");
    busy.execute("SELECT pg_advisory_lock($1)", &[&key])
        .await
        .unwrap();
    eida.clock.advance(Duration::from_mins(11));
    let asked = tokio::spawn(eida.get("/cleanup").send());
    eventually("a request waits for its turn", async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        (waiting == 1).then_some(())
    })
    .await;
    assert_eq!(count(&client, "users").await, 10);
    busy.execute("SELECT pg_advisory_unlock($1)", &[&key])
        .await
        .unwrap();
    asked.await.unwrap().unwrap();
    assert_eq!(count(&client, "users").await, 0);
}

#[tokio::test]
async fn only_who_may_can_ask_for_it() {
    let token = "cleanup.token=a long token for the cleanup";
    let (eida, _) = started(&["cleanup.allow_from=10.0.0.0/8", token]).await;
    let ask = |headers: &[(&'static str, &'static str)]| {
        let mut request = eida.get("/cleanup");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(ask(&[]).await, StatusCode::FORBIDDEN);
    // The test's own address is a trusted proxy.
    assert_eq!(ask(&[("x-forwarded-for", "10.1.2.3")]).await, StatusCode::OK);
    assert_eq!(
        ask(&[("x-forwarded-for", "10.1.2.3, 192.0.2.1")]).await,
        StatusCode::FORBIDDEN
    );
    let bearer = ("authorization", "Bearer a long token for the cleanup");
    assert_eq!(ask(&[bearer]).await, StatusCode::OK);
    assert_eq!(
        ask(&[bearer, ("x-forwarded-for", "192.0.2.1")]).await,
        StatusCode::OK
    );
    assert_eq!(
        ask(&[("authorization", "Bearer a long token")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(ask(&[("authorization", "Bearer ")]).await, StatusCode::FORBIDDEN);
    let (open, _) = started(&[]).await;
    assert_eq!(
        open.get("/cleanup").send().await.unwrap().status(),
        StatusCode::OK
    );
    let from_elsewhere = open.get("/cleanup").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(
        from_elsewhere.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    for method in [reqwest::Method::HEAD, reqwest::Method::POST] {
        let answer = open.request(method, "/cleanup").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()["allow"], "GET");
    }
}
