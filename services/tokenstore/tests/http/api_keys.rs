//! Personal API keys.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::visitor::Visitor;
use crate::world::{World, expect, kind};

async fn make(visitor: &Visitor, key: &Value) -> Response {
    visitor
        .send(visitor.own(Method::POST, "/api/v1.0/keys").json(key))
        .await
}

async fn made(visitor: &Visitor, key: &Value) -> (String, String) {
    let made = expect(make(visitor, key).await, StatusCode::CREATED).await;
    (
        made["id"].as_str().unwrap().to_owned(),
        made["key"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn a_key_is_shown_once_and_serves_as_its_owner() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let made = expect(make(&ada, &json!({"name": "scripts"})).await, StatusCode::CREATED).await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("tsk_") && key.len() == 47);
    assert_eq!(made["name"], "scripts");
    assert_eq!(made["expires_at"], Value::Null);
    assert!(made["created_at"].is_string());
    let listed = ada.json("/api/v1.0/keys").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], made["id"]);
    assert_eq!(listed[0]["last_used_at"], Value::Null);
    assert!(listed[0].get("key").is_none(), "never again");

    let bearer = world.tokenstore.get("/api/v1.0/idp1/token").bearer_auth(key);
    let token = expect(bearer.send().await.unwrap(), StatusCode::OK).await;
    let basic = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .basic_auth("anybody", Some(key));
    let by_basic = expect(basic.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(token["access_token"], by_basic["access_token"]);
    let who = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(key)
        .send()
        .await
        .unwrap();
    let who = expect(who, StatusCode::OK).await;
    assert_eq!((&who["id"], &who["name"]), (&json!("ada"), &json!("Ada Ameland")));
    assert_eq!(who["claims"], json!({"iss": world.login.url, "sub": "ada"}));
    assert_eq!((&who["roles"], &who["scopes"]), (&json!([]), &json!([])));
    assert!(ada.json("/api/v1.0/keys").await[0]["last_used_at"].is_string());
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_good_for_nothing() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let (id, key) = made(&ada, &json!({"name": "x"})).await;
    let (_, short) = made(&ada, &json!({"name": "y", "expires_in": "1h"})).await;
    let status = async |key: &str| {
        let answer = world
            .tokenstore
            .get("/api/whoami")
            .bearer_auth(key)
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    assert_eq!((status(&key).await, status(&short).await), (200, 200));
    world.advance(3601);
    assert_eq!((status(&key).await, status(&short).await), (200, 401));
    let path = format!("/api/v1.0/keys/{id}");
    let deleted = ada.send(ada.own(Method::DELETE, &path)).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(status(&key).await, 401);
    let again = ada.send(ada.own(Method::DELETE, &path)).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    assert_eq!(status("tsk_invented").await, 401);
    let basic = world
        .tokenstore
        .get("/api/whoami")
        .basic_auth("ada", Some("password"))
        .send()
        .await
        .unwrap();
    assert_eq!(basic.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nobody_sees_or_revokes_the_keys_of_others() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let (id, key) = made(&ada, &json!({"name": "x"})).await;
    let ben = world.signed_in("ben").await;
    assert_eq!(ben.json("/api/v1.0/keys").await, json!([]));
    let deleted = ben
        .send(ben.own(Method::DELETE, &format!("/api/v1.0/keys/{id}")))
        .await;
    assert_eq!(deleted.status(), StatusCode::NOT_FOUND);
    let who = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(expect(who, StatusCode::OK).await["id"], "ada");
}

#[tokio::test]
async fn a_key_that_is_made_with_a_key_does_not_outlive_it() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let (_, key) = made(&ada, &json!({"name": "x", "expires_in": 3600})).await;
    for asked in [json!({"name": "y"}), json!({"name": "y", "expires_in": "30d"})] {
        let request = world
            .tokenstore
            .post("/api/v1.0/keys")
            .bearer_auth(&key)
            .json(&asked);
        let child = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
        let child = child["key"].as_str().unwrap().to_owned();
        let status = world
            .tokenstore
            .get("/api/whoami")
            .bearer_auth(&child)
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, StatusCode::OK);
        let parent = ada.json("/api/v1.0/keys").await;
        let ends: Vec<_> = parent
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["expires_at"].clone())
            .collect();
        assert!(ends.iter().all(|end| end == &ends[0]), "{ends:?}");
    }
}

#[tokio::test]
async fn a_key_without_a_name_is_refused_and_so_is_another_media_type() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let problem = expect(
        make(&ada, &json!({"expires_in": "soon"})).await,
        StatusCode::BAD_REQUEST,
    )
    .await;
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].clone())
        .collect();
    assert_eq!(pointers, [json!("/name"), json!("/expires_in")]);
    let text = ada
        .send(ada.own(Method::POST, "/api/v1.0/keys").body("{\"name\":\"x\"}"))
        .await;
    assert_eq!(text.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn there_is_an_end_to_the_number_of_keys() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for _ in 0..100 {
        made(&ada, &json!({"name": "x"})).await;
    }
    assert_eq!(
        kind(make(&ada, &json!({"name": "x"})).await, StatusCode::CONFLICT).await,
        "too-many-keys"
    );
}
