//! Signing in, refreshing and signing out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::callers::{
    PASSWORD, administered, claims, header_of, login, make_user, sign_in, status_with, wrong_at,
};
use crate::people::{expect, header, published_keys};
use identity_testkit::{TestService, eventually};

async fn refresh(ident: &TestService, token: &str) -> Response {
    ident
        .post("/auth/refresh")
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
}

async fn successor(ident: &TestService, token: &str) -> String {
    let answer = expect(refresh(ident, token).await, StatusCode::OK).await;
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_says_who_it_is_of_and_what_it_permits() {
    let (ident, admin) = administered(&[]).await;
    let id = make_user(&ident, &admin, "mei", &["users:read"]).await;
    let body = json!({"username": " MEI ", "password": PASSWORD, "audience": "https://app.example"});
    let answer = ident.post("/auth/login").json(&body).send().await.unwrap();
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let answer: Value = expect(answer, StatusCode::OK).await;
    assert_eq!(answer["audience"], "https://app.example");
    let token = answer["token"].as_str().unwrap();
    let said = claims(token);
    assert_eq!(said["sub"], id.to_string());
    assert_eq!(said["aud"], "https://app.example");
    assert_eq!(said["type"], "user");
    assert_eq!(said["permissions"], json!(["users:read"]));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 900);
    assert_eq!(said["nbf"], said["iat"]);
    assert!(said["jti"].is_string() && said["iss"].is_string());
    let head = header_of(token);
    assert_eq!((&head["typ"], &head["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let keys = published_keys(&ident).await;
    assert_eq!(keys["keys"][0]["kid"], head["kid"]);
}

#[tokio::test]
async fn whoever_may_not_sign_in_gets_one_and_the_same_answer() {
    let (ident, admin) = administered(&[]).await;
    let id = make_user(&ident, &admin, "mei", &[]).await;
    let disabled = make_user(&ident, &admin, "off", &[]).await;
    let body = json!({"disabled": true});
    let path = format!("/api/users/{disabled}");
    expect(
        ident
            .patch(&path)
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap(),
        StatusCode::OK,
    )
    .await;
    let body = json!({"name": "None", "email": "none@example.org"});
    expect(
        ident
            .post("/")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap(),
        StatusCode::CREATED,
    )
    .await;
    let mut answers = Vec::new();
    for (username, password) in [
        ("mei", "wrong"),
        ("nobody", PASSWORD),
        ("off", PASSWORD),
        ("none@example.org", ""),
        ("", ""),
    ] {
        let answer = login(&ident, username, password).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{username}");
        assert!(header(&answer, "www-authenticate").starts_with("Bearer"));
        answers.push(answer.text().await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(!answers.concat().contains(&id.to_string()));
}

#[tokio::test]
async fn what_is_no_login_is_told_with_pointers() {
    let (ident, _) = administered(&[]).await;
    let post = async |body: Value| ident.post("/auth/login").json(&body).send().await.unwrap();
    assert_eq!(
        wrong_at(post(json!({"username": 1})).await, StatusCode::BAD_REQUEST).await,
        ["/username", "/password"]
    );
    let body = json!({"username": "a", "password": "b", "audience": ""});
    assert_eq!(
        wrong_at(post(body).await, StatusCode::BAD_REQUEST).await,
        ["/audience"]
    );
    let form = ident.post("/auth/login").body("username=a").send().await.unwrap();
    assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        ident.get("/auth/login").send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let (ident, admin) = administered(&[]).await;
    assert_eq!(status_with(&ident, &admin).await, 200);
    ident.clock.advance(Duration::from_secs(899));
    assert_eq!(status_with(&ident, &admin).await, 200);
    ident.clock.advance(Duration::from_secs(2));
    assert_eq!(status_with(&ident, &admin).await, 401);
    assert_eq!(refresh(&ident, &admin).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn refreshing_again_gives_the_same_successor() {
    let (ident, first) = administered(&[]).await;
    let second = successor(&ident, &first).await;
    assert_ne!(first, second);
    assert_eq!(claims(&first)["sub"], claims(&second)["sub"]);
    assert_eq!(claims(&first)["aud"], claims(&second)["aud"]);
    assert_eq!(
        successor(&ident, &first).await,
        second,
        "a lost answer is asked for again"
    );
    // Beyond the window, but nobody has gone on with the successor.
    ident.clock.advance(Duration::from_mins(1));
    assert_eq!(successor(&ident, &first).await, second);
    let third = successor(&ident, &second).await;
    assert_eq!(successor(&ident, &second).await, third);
    assert_eq!(status_with(&ident, &third).await, 200);
}

#[tokio::test]
async fn clients_that_race_get_one_successor() {
    let (ident, first) = administered(&[]).await;
    let answers = futures_util::future::join_all((0..20).map(|_| successor(&ident, &first))).await;
    assert!(answers.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test]
async fn a_late_reuse_ends_the_family() {
    let (ident, first) = administered(&[]).await;
    let second = successor(&ident, &first).await;
    let third = successor(&ident, &second).await;
    // Within the window it is a client that raced.
    assert_eq!(successor(&ident, &first).await, second);
    ident.clock.advance(Duration::from_secs(31));
    assert_eq!(refresh(&ident, &first).await.status(), StatusCode::UNAUTHORIZED);
    for token in [&first, &second, &third] {
        assert_eq!(refresh(&ident, token).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(status_with(&ident, token).await, 401);
    }
    // Whoever it was stolen from signs in anew.
    let anew = sign_in(&ident, "admin").await;
    assert_eq!(status_with(&ident, &anew).await, 200);
}

#[tokio::test]
async fn a_family_is_refreshed_so_often_and_no_more() {
    let (ident, admin) = administered(&[]).await;
    let body = json!({"jwt_max_refreshes": 2});
    let changed = ident
        .patch("/api/configuration")
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    let second = successor(&ident, &admin).await;
    let third = successor(&ident, &second).await;
    assert_eq!(refresh(&ident, &third).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        status_with(&ident, &third).await,
        200,
        "the last one still holds until its time is over"
    );
}

#[tokio::test]
async fn a_refreshed_token_permits_what_its_subject_may_by_now() {
    let (ident, admin) = administered(&[]).await;
    make_user(&ident, &admin, "mei", &["users:read"]).await;
    let token = sign_in(&ident, "mei").await;
    let client = ident.database.connect("ident").await;
    client
        .execute(
            "UPDATE credentials SET permissions = '{}' WHERE username = 'mei'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(claims(&successor(&ident, &token).await)["permissions"], json!([]));
}

#[tokio::test]
async fn signing_out_ends_the_family_on_every_instance() {
    let (ident, first) = administered(&[]).await;
    let other = crate::IDENT
        .start_on(ident.database.clone(), &ident.clock, &["auth.records=token"])
        .await;
    let second = successor(&ident, &first).await;
    assert_eq!(status_with(&other, &second).await, 200);
    let out = ident
        .post("/auth/logout")
        .bearer_auth(&second)
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    for token in [&first, &second] {
        assert_eq!(status_with(&ident, token).await, 401, "here at once");
        assert_eq!(refresh(&ident, token).await.status(), StatusCode::UNAUTHORIZED);
    }
    eventually("the other instance knows", async || {
        (status_with(&other, &second).await == 401).then_some(())
    })
    .await;
    assert_eq!(
        ident.post("/auth/logout").send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_new_password_a_ban_and_a_deletion_end_a_persons_tokens() {
    let (ident, admin) = administered(&[]).await;
    let id = make_user(&ident, &admin, "mei", &["users:read"]).await;
    let path = format!("/api/users/{id}");
    let change = async |body: Value| {
        ident
            .patch(&path)
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let token = sign_in(&ident, "mei").await;
    expect(
        change(json!({"password": "another long password"})).await,
        StatusCode::OK,
    )
    .await;
    assert_eq!(status_with(&ident, &token).await, 401);
    assert_eq!(
        login(&ident, "mei", PASSWORD).await.status(),
        StatusCode::UNAUTHORIZED
    );
    expect(change(json!({"password": PASSWORD})).await, StatusCode::OK).await;
    let token = sign_in(&ident, "mei").await;
    expect(change(json!({"disabled": true})).await, StatusCode::OK).await;
    assert_eq!(status_with(&ident, &token).await, 401);
    assert_eq!(refresh(&ident, &token).await.status(), StatusCode::UNAUTHORIZED);
    expect(change(json!({"disabled": false})).await, StatusCode::OK).await;
    let token = sign_in(&ident, "mei").await;
    let gone = ident
        .delete(&format!("/{id}"))
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(status_with(&ident, &token).await, 401);
    assert_eq!(
        login(&ident, "mei", PASSWORD).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_persons_token_for_another_service_tells_their_address_as_it_is_by_then() {
    let (ident, admin) = administered(&[]).await;
    let mei = make_user(&ident, &admin, "mei", &[]).await;
    let body = json!({"username": "mei", "password": PASSWORD, "audience": "a study site"});
    let answer = ident.post("/auth/login").json(&body).send().await.unwrap();
    let token = expect(answer, StatusCode::OK).await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(claims(&token)["email"], "mei@example.org");
    let patch = json!({"email": "mei@example.net"});
    let path = format!("/api/users/{mei}");
    let changed = ident
        .patch(&path)
        .bearer_auth(&admin)
        .json(&patch)
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    let next = successor(&ident, &token).await;
    assert_eq!(claims(&next)["email"], "mei@example.net");
    assert_eq!(
        claims(&sign_in(&ident, "mei").await).get("email"),
        None,
        "for ident itself"
    );
}
