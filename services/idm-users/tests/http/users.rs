//! `/user`.

use reqwest::Method;
use serde_json::json;

use crate::people::{ADMIN, PASSWORD, administered, get, make_user, request, send, sign_in, token};

#[tokio::test]
async fn an_administrator_makes_users() {
    let (idm, admin) = administered(&[]).await;
    let body = json!({"username": "Mei@example.org", "password": PASSWORD});
    let answer = send(&idm, &admin, Method::POST, "/user", &body).await;
    assert_eq!(
        answer,
        (
            200,
            json!({"data": {"username": "Mei@example.org", "admin": false}})
        )
    );
    let body = json!({"username": "boss@example.org", "password": PASSWORD, "admin": true});
    let answer = send(&idm, &admin, Method::POST, "/user", &body).await;
    assert_eq!(
        answer,
        (
            200,
            json!({"data": {"username": "boss@example.org", "admin": true}})
        )
    );
    let boss = token(&idm, "boss@example.org", PASSWORD).await;
    assert_eq!(get(&idm, &boss, "/user/mei@example.org").await.0, 200);
}

#[tokio::test]
async fn what_makes_no_user_is_400_and_named() {
    let (idm, admin) = administered(&["password.min_length=10"]).await;
    let long = "ab".repeat(65);
    for (body, member) in [
        (json!({"password": PASSWORD}), "username"),
        (json!({"username": "", "password": PASSWORD}), "username"),
        (json!({"username": "mei", "password": PASSWORD}), "username"),
        (json!({"username": 7, "password": PASSWORD}), "username"),
        (json!({"username": "mei@example.org"}), "password"),
        (
            json!({"username": "mei@example.org", "password": "ninechars"}),
            "password",
        ),
        (
            json!({"username": "mei@example.org", "password": long}),
            "password",
        ),
        (
            json!({"username": "mei@example.org", "password": "Password123"}),
            "password",
        ),
        (
            json!({"username": "mei@example.org", "password": 12_345_678}),
            "password",
        ),
        (
            json!({"username": "mei@example.org", "password": PASSWORD, "admin": "yes"}),
            "admin",
        ),
    ] {
        let (status, answer) = send(&idm, &admin, Method::POST, "/user", &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(member),
            "{answer}"
        );
    }
    let all = send(&idm, &admin, Method::POST, "/user", &json!({})).await.1;
    let message = all["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("username") && message.contains("password"),
        "{message}"
    );
}

#[tokio::test]
async fn a_username_is_taken_in_any_case() {
    let (idm, admin) = administered(&[]).await;
    make_user(&idm, &admin, "mei@example.org").await;
    for username in ["mei@example.org", "MEI@Example.org", " mei@example.org "] {
        let body = json!({"username": username, "password": PASSWORD});
        assert_eq!(
            send(&idm, &admin, Method::POST, "/user", &body).await.0,
            409,
            "{username}"
        );
    }
}

#[tokio::test]
async fn others_make_and_delete_nobody() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let body = json!({"username": "new@example.org", "password": PASSWORD});
    assert_eq!(send(&idm, &mei, Method::POST, "/user", &body).await.0, 403);
    assert_eq!(
        send(&idm, &mei, Method::DELETE, "/user", &json!({"username": ADMIN}))
            .await
            .0,
        403
    );
    let strangers = idm.post("/user").json(&body).send().await.unwrap();
    assert_eq!(strangers.status(), 401);
}

#[tokio::test]
async fn users_are_deleted_but_not_the_last_administrator() {
    let (idm, admin) = administered(&[]).await;
    make_user(&idm, &admin, "mei@example.org").await;
    let delete = async |username: &str| {
        send(
            &idm,
            &admin,
            Method::DELETE,
            "/user",
            &json!({"username": username}),
        )
        .await
        .0
    };
    assert_eq!(delete("MEI@example.org").await, 204);
    assert_eq!(delete("mei@example.org").await, 404);
    assert_eq!(delete(ADMIN).await, 409);
    assert_eq!(
        send(&idm, &admin, Method::DELETE, "/user", &json!({})).await.0,
        400
    );
    let body = json!({"username": "boss@example.org", "password": PASSWORD, "admin": true});
    assert_eq!(send(&idm, &admin, Method::POST, "/user", &body).await.0, 200);
    assert_eq!(delete(ADMIN).await, 204, "there is another one");
    assert_eq!(get(&idm, &admin, "/subject").await.0, 401);
}

#[tokio::test]
async fn users_see_themselves_and_administrators_everybody() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let expected = (
        200,
        json!({"data": {"username": "mei@example.org", "admin": false}}),
    );
    assert_eq!(get(&idm, &mei, "/user/mei@example.org").await, expected);
    assert_eq!(get(&idm, &mei, "/user/MEI%40example.org").await, expected);
    assert_eq!(get(&idm, &admin, "/user/mei@example.org").await, expected);
    assert_eq!(get(&idm, &admin, "/user/nobody@example.org").await.0, 404);
    assert_eq!(get(&idm, &mei, &format!("/user/{ADMIN}")).await.0, 403);
    assert_eq!(
        get(&idm, &mei, "/user/nobody@example.org").await.0,
        403,
        "nor who exists"
    );
}

#[tokio::test]
async fn ones_own_password_is_changed_with_the_current_one() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let path = "/user/mei@example.org";
    let new = "another good one";
    for (body, status) in [
        (json!({}), 400),
        (json!({"password": new}), 400),
        (json!({"password": new, "current_password": "wrong one"}), 403),
        (json!({"password": "short", "current_password": PASSWORD}), 400),
        (
            json!({"password": new, "current_password": PASSWORD, "admin": true}),
            403,
        ),
        (json!({"admin": true}), 403),
        (json!({"password": new, "current_password": PASSWORD}), 204),
    ] {
        assert_eq!(
            send(&idm, &mei, Method::PUT, path, &body).await.0,
            status,
            "{body}"
        );
    }
    assert_eq!(sign_in(&idm, "mei@example.org", PASSWORD).await.status(), 401);
    assert_eq!(sign_in(&idm, "mei@example.org", new).await.status(), 200);
}

#[tokio::test]
async fn an_administrator_changes_everybodys_password_and_rank() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let put = async |username: &str, body| {
        send(&idm, &admin, Method::PUT, &format!("/user/{username}"), &body)
            .await
            .0
    };
    assert_eq!(put("mei@example.org", json!({"admin": true})).await, 204);
    assert_eq!(get(&idm, &mei, &format!("/user/{ADMIN}")).await.0, 200, "at once");
    assert_eq!(put("mei@example.org", json!({"admin": false})).await, 204);
    assert_eq!(get(&idm, &mei, &format!("/user/{ADMIN}")).await.0, 403);
    assert_eq!(
        put("mei@example.org", json!({"password": "another good one"})).await,
        204
    );
    assert_eq!(get(&idm, &mei, "/subject").await.0, 401);
    assert_eq!(
        put(ADMIN, json!({"admin": false})).await,
        409,
        "the last one stays"
    );
    assert_eq!(put("nobody@example.org", json!({"admin": true})).await, 404);
}

#[tokio::test]
async fn the_administrators_own_head_answers_too() {
    let (idm, admin) = administered(&[]).await;
    let answer = request(&idm, &admin, Method::HEAD, &format!("/user/{ADMIN}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
