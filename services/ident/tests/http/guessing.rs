//! Attacks on passwords: each test is named after what it tries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::callers::{PASSWORD, administered, ask, make_client, make_user};
use crate::durations;
use crate::people::header;
use identity_testkit::TestService;

async fn login_from(ident: &TestService, address: &str, username: &str, password: &str) -> StatusCode {
    let body = json!({"username": username, "password": password});
    let request = ident
        .post("/auth/login")
        .header("x-forwarded-for", address)
        .json(&body);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn guessing_against_one_account_is_slowed_and_its_owner_is_not() {
    let (ident, admin) = administered(&["limits.logins_per_account=3/10m"]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    assert_eq!(
        login_from(&ident, "192.0.2.1", "mei", PASSWORD).await,
        200,
        "her usual address"
    );
    // From many addresses, so that no address's own count slows it.
    for guess in 0..3 {
        assert_eq!(
            login_from(&ident, &format!("198.51.100.{guess}"), "mei", "wrong").await,
            401
        );
    }
    assert_eq!(login_from(&ident, "198.51.100.9", "mei", "wrong").await, 429);
    assert_eq!(
        login_from(&ident, "198.51.100.9", "somebody else", "wrong").await,
        401,
        "no other account is slowed"
    );
    assert_eq!(
        login_from(&ident, "198.51.100.9", "mei", PASSWORD).await,
        429,
        "also with the right one"
    );
    assert_eq!(
        login_from(&ident, "192.0.2.1", "mei", PASSWORD).await,
        200,
        "the owner gets in"
    );
    ident.clock.advance(Duration::from_secs(2));
    assert_eq!(
        login_from(&ident, "203.0.113.5", "mei", PASSWORD).await,
        200,
        "and, after the wait, from elsewhere"
    );
}

#[tokio::test]
async fn guessing_in_other_spellings_is_guessing_against_the_same_account() {
    let (ident, admin) = administered(&["limits.logins_per_account=3/10m"]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    for (guess, username) in ["mei", "MEI", " m\u{200B}ei"].iter().enumerate() {
        let address = format!("198.51.100.{guess}");
        assert_eq!(login_from(&ident, &address, username, "wrong").await, 401);
    }
    assert_eq!(login_from(&ident, "198.51.100.9", "ｍｅｉ", PASSWORD).await, 429);
}

#[tokio::test]
async fn whoever_does_not_exist_is_counted_too() {
    let (ident, _) = administered(&["limits.logins_per_account=3/10m"]).await;
    for guess in 0..3 {
        let address = format!("198.51.100.{guess}");
        assert_eq!(login_from(&ident, &address, "nobody", "wrong").await, 401);
    }
    assert_eq!(
        login_from(&ident, "198.51.100.9", "nobody", "wrong").await,
        429,
        "so that a refusal tells nothing"
    );
}

#[tokio::test]
async fn guessing_against_one_client_is_slowed_however_its_id_is_spelt() {
    let (ident, admin) = administered(&["limits.logins_per_account=4/10m"]).await;
    let made = make_client(&ident, &admin, &json!({"name": "m"})).await;
    let other = make_client(&ident, &admin, &json!({"name": "o"})).await;
    let (id, right) = (
        made["id"].as_str().unwrap(),
        made["client_secret"].as_str().unwrap(),
    );
    let from = async |address: &str, id: &str, secret: &str| {
        let request = ask(&ident, id, &json!({"client_secret": secret}));
        let answer = request.header("x-forwarded-for", address).send().await.unwrap();
        answer.status().as_u16()
    };
    let spelt = [
        id.to_owned(),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("urn:uuid:{id}"),
    ];
    for (guess, id) in spelt.iter().enumerate() {
        assert_eq!(from(&format!("198.51.100.{guess}"), id, "ids_guessed").await, 401);
    }
    assert_eq!(
        from("198.51.100.9", id, right).await,
        429,
        "also with the right one"
    );
    let (id_of_other, secret) = (
        other["id"].as_str().unwrap(),
        other["client_secret"].as_str().unwrap(),
    );
    assert_eq!(from("198.51.100.9", id_of_other, secret).await, 200);
    ident.clock.advance(Duration::from_secs(2));
    assert_eq!(from("198.51.100.9", id, right).await, 200, "after the wait");
}

#[tokio::test]
async fn spraying_over_many_clients_from_one_address_is_slowed() {
    let (ident, _) = administered(&["limits.logins_per_address=5/10m"]).await;
    let guess = async |address: &str, number: u32| {
        let id = format!("00000000-0000-4000-8000-00000000000{number}");
        let request = ask(&ident, &id, &json!({"client_secret": "ids_guessed"}));
        let answer = request.header("x-forwarded-for", address).send().await.unwrap();
        answer.status().as_u16()
    };
    for number in 0..5 {
        assert_eq!(guess("198.51.100.1", number).await, 401);
    }
    assert_eq!(guess("198.51.100.1", 9).await, 429);
    assert_eq!(guess("198.51.100.2", 9).await, 401, "others are not");
}

#[tokio::test]
async fn each_further_guess_waits_twice_as_long_but_never_for_ever() {
    let (ident, admin) = administered(&["limits.logins_per_account=2/1m"]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let guess = async || {
        let body = json!({"username": "mei", "password": "wrong"});
        ident.post("/auth/login").json(&body).send().await.unwrap()
    };
    assert_eq!(guess().await.status(), 401);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(guess().await.status(), 401);
        let refused = guess().await;
        assert_eq!(refused.status(), 429);
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        waits.push(wait);
        ident.clock.advance(Duration::from_secs(wait + 1));
    }
    assert!(waits.windows(2).all(|two| two[0] <= two[1]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 60), "{waits:?}");
    assert!(waits.last() > waits.first(), "{waits:?}");
}

#[tokio::test]
async fn spraying_over_many_accounts_from_one_address_is_slowed() {
    let (ident, _) = administered(&["limits.logins_per_address=5/10m"]).await;
    for account in 0..5 {
        assert_eq!(
            login_from(&ident, "198.51.100.1", &format!("user{account}"), "Summer2026!").await,
            401
        );
    }
    assert_eq!(
        login_from(&ident, "198.51.100.1", "user9", "Summer2026!").await,
        429
    );
    assert_eq!(
        login_from(&ident, "198.51.100.2", "user9", "Summer2026!").await,
        401,
        "others are not"
    );
}

#[tokio::test]
async fn all_instances_count_together() {
    let (ident, _) = administered(&["limits.logins_per_address=2/10m"]).await;
    let settings = ["auth.records=token", "limits.logins_per_address=2/10m"];
    let other = crate::IDENT
        .start_on(ident.database.clone(), &ident.clock, &settings)
        .await;
    assert_eq!(login_from(&ident, "198.51.100.1", "a", "x").await, 401);
    assert_eq!(login_from(&other, "198.51.100.1", "b", "x").await, 401);
    assert_eq!(login_from(&ident, "198.51.100.1", "c", "x").await, 429);
    assert_eq!(login_from(&other, "198.51.100.1", "c", "x").await, 429);
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let (ident, admin) = administered(&[
        "limits.logins_per_account=100000/1m",
        "limits.logins_per_address=100000/1m",
    ])
    .await;
    make_user(&ident, &admin, "mei", &[]).await;
    let banned = make_user(&ident, &admin, "banned", &[]).await;
    let ban = ident
        .patch(&format!("/api/users/{banned}"))
        .bearer_auth(&admin)
        .json(&json!({"disabled": true}));
    assert_eq!(ban.send().await.unwrap().status(), 200);
    durations::expect_alike(["mei", "nobody", "banned"], async |username| {
        let status = login_from(&ident, "192.0.2.1", username, "wrong password").await;
        assert_eq!(status, 401);
    })
    .await;
}

#[tokio::test]
async fn more_passwords_than_can_be_checked_are_put_off() {
    let settings = [
        "auth.password.concurrency=1",
        "auth.password.queue=1",
        "limits.logins_per_address=100000/1m",
    ];
    let (ident, _) = administered(&settings).await;
    let tries = (0..30).map(|number| {
        let ident = &ident;
        async move {
            let body = json!({"username": format!("u{number}"), "password": "x"});
            let answer = ident.post("/auth/login").json(&body).send().await.unwrap();
            (answer.status().as_u16(), header(&answer, "retry-after"))
        }
    });
    let answers = futures_util::future::join_all(tries).await;
    assert!(
        answers
            .iter()
            .any(|(status, retry)| *status == 503 && retry == "1"),
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|(status, _)| matches!(status, 401 | 503)),
        "{answers:?}"
    );
    assert_eq!(ident.get("/healthz").send().await.unwrap().status(), 200);
}
