//! What the service does by itself: keeping links alive, telling of broken ones, sweeping.

use identity_testkit::{Receiver, eventually};
use reqwest::StatusCode;

use crate::world::{World, kind};

#[tokio::test]
async fn links_that_are_not_used_are_refreshed_in_time() {
    let world = World::start(&[
        "providers.idp1.keep_alive=10d",
        "session.idle=100d",
        "session.lifetime=100d",
    ])
    .await;
    let ada = world.linked().await;
    world.advance(9 * 24 * 3600);
    assert_eq!(world.idp.refreshes(), 0);
    world.advance(2 * 24 * 3600);
    eventually("it was refreshed", async || {
        // It looks from time to time.
        world.advance(601);
        (world.idp.refreshes() == 1).then_some(())
    })
    .await;
    ada.token("idp1").await;
    assert_eq!(world.idp.refreshes(), 1);
}

#[tokio::test]
async fn the_operator_is_told_of_a_link_that_broke() {
    let receiver = Receiver::start();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (url, signed) = (
        format!("notifications.url={}/hook", receiver.url),
        format!("notifications.secret={secret}"),
    );
    let world = World::start(&[&url, &signed]).await;
    let ada = world.linked().await;
    world.idp.forget_grants();
    world.advance(3600);
    let refused = ada.get("/api/v1.0/idp1/token").await;
    assert_eq!(
        kind(refused, StatusCode::CONFLICT).await,
        "reauthorization_required"
    );
    let told = eventually("it is told", async || receiver.taken().into_iter().next()).await;
    let message = told.json();
    assert_eq!(message["type"], "link.reauthorization_required");
    assert_eq!(message["data"]["provider"], "idp1");
    assert_eq!(message["data"]["subject"], "ada");
    assert_eq!(message["data"]["issuer"], world.login.url);
    let webhook = standardwebhooks::Webhook::new(secret).unwrap();
    let timestamp: i64 = told.header("webhook-timestamp").parse().unwrap();
    let expected = webhook
        .sign(told.header("webhook-id"), timestamp, told.body.as_bytes())
        .unwrap();
    assert_eq!(told.header("webhook-signature"), expected);
    assert!(
        world
            .audit()
            .await
            .iter()
            .any(|(_, action, _, by)| action == "broken" && by == "service")
    );
}

#[tokio::test]
async fn what_is_over_is_swept() {
    let world = World::start(&["session.idle=1h", "audit.keep=1h"]).await;
    let ada = world.linked().await;
    ada.get("/api/v1.0/idp1/authorize").await;
    world.visitor().get("/api/oidc/login").await;
    let key = ada
        .own(reqwest::Method::POST, "/api/v1.0/keys")
        .json(&serde_json::json!({"name": "x", "expires_in": 60}));
    ada.send(key).await;
    world.advance(31 * 24 * 3600);
    let client = world.tokenstore.database.connect("tokenstore").await;
    for table in ["sessions", "login_states", "link_states", "api_keys", "audit"] {
        eventually(table, async || {
            world.advance(301);
            let sql = format!("SELECT count(*) FROM {table}");
            let left: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
            (left == 0).then_some(())
        })
        .await;
    }
    let links: i64 = client
        .query_one("SELECT count(*) FROM links", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(links, 1, "what is linked stays");
}
