//! What lies in the database.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::world::{World, expect};

#[tokio::test]
async fn no_secret_lies_in_the_database_in_the_clear() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let begun = ada.get("/api/v1.0/idp1/authorize").await;
    let state = crate::visitor::parameter(&crate::visitor::location(&begun).unwrap(), "state").unwrap();
    let access = ada.token("idp1").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    world.advance(3600);
    ada.token("idp1").await;
    let refresh = world
        .idp
        .requests()
        .iter()
        .find_map(|form| Some(form["refresh_token"].as_str()?.to_owned()))
        .unwrap();
    let key = ada
        .send(
            ada.own(Method::POST, "/api/v1.0/keys")
                .json(&json!({"name": "x"})),
        )
        .await;
    let key = expect(key, StatusCode::CREATED).await["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut secrets = vec![
        state,
        access,
        refresh,
        key,
        "eyJ".to_owned(),
        "a secret/of+ours".to_owned(),
    ];
    secrets.extend(ada.cookies.lock().unwrap().values().cloned());
    let dump = world.tokenstore.database.dump();
    assert!(dump.contains("ada@example.org"), "the dump is what it should be");
    for secret in secrets {
        assert!(!dump.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn a_ciphertext_that_was_moved_to_another_row_is_not_read() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let ben = world.signed_in("ben").await;
    ben.link("idp1").await;
    let client = world.tokenstore.database.connect("tokenstore").await;
    let steal = "UPDATE links SET access_token = (SELECT access_token FROM links WHERE subject = 'ada')
                 WHERE subject = 'ben'";
    client.execute(steal, &[]).await.unwrap();
    let answer = ben.get("/api/v1.0/idp1/token").await;
    let problem = expect(answer, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert!(problem["request_id"].is_string());
    ada.token("idp1").await;
    let move_row = "UPDATE links SET subject = 'eve' WHERE subject = 'ada'";
    client.execute(move_row, &[]).await.unwrap();
    let eve = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .bearer_auth(world.bearer("eve"))
        .send()
        .await
        .unwrap();
    assert_eq!(eve.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
