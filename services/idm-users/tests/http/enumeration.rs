//! Finding out who is a user, by status, body or time; and guessing passwords.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use identity_testkit::TestService;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::mails::caught;
use crate::people::{ADMIN, PASSWORD, administered, make_admin, sign_in};

/// All that a stranger sees of an answer, but what differs in any two: date and request id.
async fn seen(answer: Response) -> (StatusCode, Vec<(String, String)>, String) {
    let status = answer.status();
    let mut headers: Vec<_> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (status, headers, answer.text().await.unwrap())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The medians of both, tried in turn so that a busy machine slows both alike.
async fn medians(count: usize, mut try_one: impl AsyncFnMut(bool)) -> (f64, f64) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..count {
        for (is_known, times) in [(true, &mut known), (false, &mut unknown)] {
            let began = Instant::now();
            try_one(is_known).await;
            times.push(began.elapsed().as_secs_f64());
        }
    }
    (median(known), median(unknown))
}

const UNLIMITED: [&str; 2] = [
    "limits.logins_per_account=100000/1m",
    "limits.logins_per_address=100000/1m",
];

#[tokio::test]
async fn signing_in_tells_nobody_who_is_a_user() {
    let (idm, _) = administered(&UNLIMITED).await;
    let known = seen(sign_in(&idm, ADMIN, "wrong password").await).await;
    let unknown = seen(sign_in(&idm, "nobody@example.org", "wrong password").await).await;
    assert_eq!(known, unknown);
    let (known, unknown) = medians(200, async |is_known| {
        let username = if is_known { ADMIN } else { "nobody@example.org" };
        assert_eq!(sign_in(&idm, username, "wrong password").await.status(), 401);
    })
    .await;
    assert!(
        (known / unknown - 1.0).abs() < 0.25,
        "known {known:.4} s, unknown {unknown:.4} s"
    );
}

#[tokio::test]
async fn asking_for_a_new_password_tells_nobody_who_is_a_user() {
    let caught = caught(&["limits.mails_per_account=100000/1h"]).await;
    make_admin(&caught.idm).await;
    let ask = async |username: &str| {
        caught
            .idm
            .post("/iforgot")
            .form(&[("username", username)])
            .send()
            .await
            .unwrap()
    };
    assert_eq!(
        seen(ask(ADMIN).await).await,
        seen(ask("nobody@example.org").await).await
    );
    let (known, unknown) = medians(200, async |is_known| {
        let username = if is_known { ADMIN } else { "nobody@example.org" };
        assert_eq!(ask(username).await.status(), 200);
    })
    .await;
    // A few milliseconds: between two such requests the machine's other work shows.
    assert!(
        (known / unknown - 1.0).abs() < 0.5,
        "known {known:.5} s, unknown {unknown:.5} s"
    );
    caught.wait(1).await;
    assert!(caught.mailbox.mails().iter().all(|mail| mail.to == [ADMIN]));
}

async fn sign_in_from(idm: &TestService, address: &str, username: &str, password: &str) -> StatusCode {
    let body = json!({"username": username, "password": password});
    let request = idm.post("/auth").header("x-forwarded-for", address).json(&body);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn guessing_against_one_account_is_slowed_and_its_owner_is_not() {
    let (idm, _) = administered(&["limits.logins_per_account=3/10m"]).await;
    assert_eq!(sign_in_from(&idm, "192.0.2.1", ADMIN, PASSWORD).await, 200);
    for username in [ADMIN, "nobody@example.org"] {
        for guess in 0..3 {
            let address = format!("198.51.100.{guess}");
            assert_eq!(sign_in_from(&idm, &address, username, "wrong").await, 401);
        }
        assert_eq!(
            sign_in_from(&idm, "198.51.100.9", username, "wrong").await,
            429,
            "{username}"
        );
    }
    assert_eq!(sign_in_from(&idm, "198.51.100.9", ADMIN, PASSWORD).await, 429);
    assert_eq!(
        sign_in_from(&idm, "192.0.2.1", ADMIN, PASSWORD).await,
        200,
        "the owner gets in"
    );
    idm.clock.advance(Duration::from_secs(2));
    assert_eq!(sign_in_from(&idm, "203.0.113.5", ADMIN, PASSWORD).await, 200);
}

#[tokio::test]
async fn spraying_over_many_accounts_from_one_address_is_slowed() {
    let (idm, _) = administered(&["limits.logins_per_address=5/10m"]).await;
    for account in 0..5 {
        let username = format!("user{account}@example.org");
        assert_eq!(
            sign_in_from(&idm, "198.51.100.1", &username, "Summer2026!").await,
            401
        );
    }
    assert_eq!(
        sign_in_from(&idm, "198.51.100.1", "user9@example.org", "Summer2026!").await,
        429
    );
    assert_eq!(
        sign_in_from(&idm, "198.51.100.2", "user9@example.org", "Summer2026!").await,
        401
    );
}

#[tokio::test]
async fn guessing_the_current_password_is_slowed_too() {
    let (idm, admin) = administered(&["limits.logins_per_address=3/10m"]).await;
    let mei = crate::people::make_user(&idm, &admin, "mei@example.org").await;
    let body = json!({"password": "another good one", "current_password": "guessed one"});
    let put = async || {
        let path = "/user/mei@example.org";
        crate::people::send(&idm, &mei, reqwest::Method::PUT, path, &body)
            .await
            .0
    };
    for _ in 0..3 {
        assert_eq!(put().await, 403);
    }
    assert_eq!(put().await, 429);
}

#[tokio::test]
async fn a_dump_of_the_database_holds_no_password_and_no_token() {
    let (idm, token) = administered(&[]).await;
    let dump = idm.database.dump();
    assert!(!dump.contains(PASSWORD) && !dump.contains(&token));
    assert!(dump.contains("$argon2id$v=19$m=19456,t=2,p=1$"));
}
