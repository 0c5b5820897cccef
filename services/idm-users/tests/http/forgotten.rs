//! `/iforgot` and `/reset`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_testkit::TestService;
use reqwest::StatusCode;

use crate::mails::{Caught, Started, caught};
use crate::people::{ADMIN, PASSWORD, get, make_admin, sign_in, token};

const NEW: &str = "another good one";

pub async fn ask(idm: &TestService, username: &str) -> (StatusCode, String) {
    let answer = idm
        .post("/iforgot")
        .form(&[("username", username)])
        .send()
        .await
        .unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// The key in the last of `count` mails.
pub async fn key_of(caught: &Caught, count: usize) -> String {
    let mails = caught.wait(count).await;
    let link = mails[count - 1].link().unwrap();
    let (site, key) = link.split_once("/reset?k=").unwrap();
    assert_eq!(site, "https://idm.example.org/below", "from server.public_url");
    key.to_owned()
}

async fn show(idm: &TestService, key: &str) -> (StatusCode, String) {
    let answer = idm.get(&format!("/reset?k={key}")).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn set(idm: &TestService, key: &str, pass1: &str, pass2: &str) -> (StatusCode, String) {
    let fields = [("key", key), ("pass1", pass1), ("pass2", pass2)];
    let answer = idm.post("/reset").form(&fields).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// A service at another address than the one it is asked at, with an administrator.
async fn start() -> (Started, Caught) {
    let caught = caught(&[
        "server.public_url=https://idm.example.org/below/",
        "admin_email=Study Office <office@example.org>",
    ])
    .await;
    make_admin(&caught.idm).await;
    (caught.idm.again(), caught)
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_with_the_mailed_link() {
    let (idm, caught) = start().await;
    let old = token(&idm, ADMIN, PASSWORD).await;
    let (status, page) = ask(&idm, "Admin@Example.org").await;
    assert!(status == 200 && page.contains("on its way"));
    let key = key_of(&caught, 1).await;
    assert!(key.len() >= 43, "256 random bits");
    assert!(!idm.database.dump().contains(&key), "stored as a digest");
    for _ in 0..3 {
        let (status, page) = show(&idm, &key).await;
        assert!(
            status == 200 && page.contains("name=\"pass1\""),
            "a GET never spends it"
        );
    }
    let (status, page) = set(&idm, &key, NEW, NEW).await;
    assert!(status == 200 && page.contains("was changed"), "{page}");
    assert_eq!(
        get(&idm, &old, "/subject").await.0,
        401,
        "the old token is not valid any more"
    );
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 401);
    assert_eq!(sign_in(&idm, ADMIN, NEW).await.status(), 200);
    let confirmation = &caught.wait(2).await[1];
    assert_eq!(confirmation.subject(), "Your password was changed");
    assert_eq!(confirmation.to, [ADMIN]);
    assert!(confirmation.link().is_none_or(|link| !link.contains("?k=")));
    for (status, page) in [show(&idm, &key).await, set(&idm, &key, PASSWORD, PASSWORD).await] {
        assert_eq!(status, 410);
        assert!(page.contains("was used already"), "{page}");
    }
    assert_eq!(sign_in(&idm, ADMIN, NEW).await.status(), 200);
}

#[tokio::test]
async fn what_is_wrong_with_the_new_password_is_said_and_the_link_is_kept() {
    let (idm, caught) = start().await;
    ask(&idm, ADMIN).await;
    let key = key_of(&caught, 1).await;
    for (pass1, pass2, said) in [
        ("short", "short", "too short"),
        ("", "", "too short"),
        (NEW, PASSWORD, "do not match"),
        ("password1", "password1", "tried first"),
    ] {
        let (status, page) = set(&idm, &key, pass1, pass2).await;
        assert_eq!(status, 400);
        assert!(page.contains(said) && page.contains("name=\"pass1\""), "{page}");
    }
    assert_eq!(set(&idm, &key, NEW, NEW).await.0, 200);
}

#[tokio::test]
async fn a_link_expires_after_two_hours() {
    let (idm, caught) = start().await;
    ask(&idm, ADMIN).await;
    let key = key_of(&caught, 1).await;
    idm.clock.advance(Duration::from_mins(119));
    assert_eq!(show(&idm, &key).await.0, 200);
    idm.clock.advance(Duration::from_mins(2));
    for (status, page) in [show(&idm, &key).await, set(&idm, &key, NEW, NEW).await] {
        assert_eq!(status, 410);
        assert!(page.contains("has expired"), "{page}");
    }
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
}

#[tokio::test]
async fn a_newer_link_ends_the_older() {
    let (idm, caught) = start().await;
    ask(&idm, ADMIN).await;
    let older = key_of(&caught, 1).await;
    ask(&idm, ADMIN).await;
    let newer = key_of(&caught, 2).await;
    let (status, page) = show(&idm, &older).await;
    assert_eq!(status, 410);
    assert!(page.contains("a newer one took its place"), "{page}");
    assert_eq!(set(&idm, &older, NEW, NEW).await.0, 410);
    assert_eq!(set(&idm, &newer, NEW, NEW).await.0, 200);
}

#[tokio::test]
async fn a_link_ends_when_the_password_is_changed_otherwise() {
    let (idm, caught) = start().await;
    let admin = token(&idm, ADMIN, PASSWORD).await;
    ask(&idm, ADMIN).await;
    let key = key_of(&caught, 1).await;
    let body = serde_json::json!({"password": NEW, "current_password": PASSWORD});
    let path = format!("/user/{ADMIN}");
    assert_eq!(
        crate::people::send(&idm, &admin, reqwest::Method::PUT, &path, &body)
            .await
            .0,
        204
    );
    assert_eq!(set(&idm, &key, PASSWORD, PASSWORD).await.0, 410);
    assert_eq!(sign_in(&idm, ADMIN, NEW).await.status(), 200);
}

#[tokio::test]
async fn links_that_are_not_ours_are_refused() {
    let (idm, _caught) = start().await;
    for key in ["", "x", "%00", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let (status, page) = show(&idm, key).await;
        assert_eq!(status, 400);
        assert!(page.contains("is not valid"), "{page}");
    }
    assert_eq!(set(&idm, "x", NEW, NEW).await.0, 400);
    assert_eq!(idm.get("/reset").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn of_many_who_use_a_link_at_once_one_does() {
    let (idm, caught) = start().await;
    ask(&idm, ADMIN).await;
    let key = key_of(&caught, 1).await;
    let passwords: Vec<String> = (0..6)
        .map(|number| format!("another good one {number}"))
        .collect();
    let tries = passwords
        .iter()
        .map(|password| set(&idm, &key, password, password));
    let outcomes = futures_util::future::join_all(tries).await;
    let winners: Vec<_> = outcomes
        .iter()
        .zip(&passwords)
        .filter(|((status, _), _)| *status == 200)
        .collect();
    assert_eq!(winners.len(), 1);
    assert!(
        outcomes
            .iter()
            .all(|(status, _)| matches!(status.as_u16(), 200 | 410))
    );
    assert_eq!(sign_in(&idm, ADMIN, winners[0].1).await.status(), 200);
}

#[tokio::test]
async fn there_are_three_mails_an_hour_for_a_user() {
    let (idm, caught) = start().await;
    for _ in 0..5 {
        assert_eq!(ask(&idm, ADMIN).await.0, 200, "always the same answer");
        // Requests that come together are one.
        caught.settled().await;
    }
    assert_eq!(caught.wait(3).await.len(), 3);
    idm.clock.advance(Duration::from_secs(3601));
    ask(&idm, ADMIN).await;
    assert_eq!(caught.wait(4).await.len(), 4);
}

#[tokio::test]
async fn the_host_of_the_request_does_not_get_into_the_link() {
    let (idm, caught) = start().await;
    let answer = idm
        .post("/iforgot")
        .header("host", "evil.example.org")
        .header("x-forwarded-host", "evil.example.org")
        .form(&[("email", ADMIN)])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    key_of(&caught, 1).await;
    let mail = &caught.wait(1).await[0];
    assert!(!mail.source.contains("evil"));
}

#[tokio::test]
async fn without_an_address_the_page_asks_again() {
    let (idm, _caught) = start().await;
    let (status, page) = ask(&idm, " ").await;
    assert_eq!(status, 400);
    assert!(page.contains("Enter your email address"));
    assert!(
        idm.get("/iforgot")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("name=\"username\"")
    );
}
