//! An end to a link, here and at the provider.

use identity_testkit::{Refreshing, eventually};
use reqwest::StatusCode;
use serde_json::json;

use crate::world::{World, expect, kind};

#[tokio::test]
async fn revoking_ends_the_link_here_and_at_the_provider() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let answer = ada.post("/api/v1.0/idp1/revoke").await;
    assert_eq!(expect(answer, StatusCode::OK).await, json!("Token revoked"));
    assert_eq!(
        kind(ada.get("/api/v1.0/idp1/token").await, StatusCode::BAD_REQUEST).await,
        "not_linked"
    );
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[0]["status"],
        "inactive"
    );
    let revoked = eventually("the provider is told", async || {
        world.idp.revoked().into_iter().next()
    })
    .await;
    assert_eq!(revoked.len(), 43, "the refresh token");
    let again = ada.post("/api/v1.0/idp1/revoke").await;
    assert_eq!(
        expect(again, StatusCode::OK).await,
        json!("Token revoked"),
        "also when there was nothing"
    );
    let noted = world.audit().await;
    assert_eq!(
        noted.iter().filter(|(_, action, ..)| action == "revoked").count(),
        1
    );
}

#[tokio::test]
async fn a_program_revokes_with_its_token() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let answer = world
        .tokenstore
        .post("/api/v1.0/idp1/revoke")
        .bearer_auth(world.bearer("ada"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["active"], false);
}

#[tokio::test]
async fn a_provider_that_does_not_take_it_does_not_keep_the_link_and_is_told_again() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| {
        ways.refreshing = Refreshing::Never;
        ways.revocation = 503;
    });
    let ada = world.linked().await;
    let token = ada.token("idp1").await["access_token"].clone();
    assert_eq!(ada.post("/api/v1.0/idp1/revoke").await.status(), StatusCode::OK);
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[0]["status"],
        "inactive"
    );
    let client = world.tokenstore.database.connect("tokenstore").await;
    eventually("it was tried", async || {
        let row = client
            .query_one("SELECT attempts, last_error FROM outbox", &[])
            .await
            .unwrap();
        (row.get::<_, i32>(0) == 1).then(|| assert!(row.get::<_, String>(1).contains("503")))
    })
    .await;
    assert!(
        !world.tokenstore.database.dump().contains(token.as_str().unwrap()),
        "it waits encrypted"
    );
    world.idp.change(|ways| ways.revocation = 200);
    world.advance(60);
    let again = async || {
        world.advance(60);
        world.idp.revoked().into_iter().next()
    };
    let revoked = eventually("it was told again", again).await;
    assert_eq!(
        revoked,
        token.as_str().unwrap(),
        "without a refresh token, the access token"
    );
    eventually("nothing waits", async || {
        world.advance(60);
        let left: i64 = client
            .query_one("SELECT count(*) FROM outbox", &[])
            .await
            .unwrap()
            .get(0);
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_told_for_long_is_given_up() {
    let world = World::start(&["outbox.give_up_after=1h"]).await;
    world.idp.change(|ways| ways.revocation = 500);
    let ada = world.linked().await;
    ada.post("/api/v1.0/idp1/revoke").await;
    let client = world.tokenstore.database.connect("tokenstore").await;
    eventually("it was tried", async || {
        let attempts: i32 = client
            .query_one("SELECT attempts FROM outbox", &[])
            .await
            .unwrap()
            .get(0);
        (attempts > 0).then_some(())
    })
    .await;
    world.advance(3601);
    eventually("nothing waits", async || {
        world.advance(60);
        let left: i64 = client
            .query_one("SELECT count(*) FROM outbox", &[])
            .await
            .unwrap()
            .get(0);
        (left == 0).then_some(())
    })
    .await;
    assert!(world.idp.revoked().is_empty());
}

#[tokio::test]
async fn a_link_that_is_revoked_during_its_refresh_stays_revoked_and_its_new_tokens_too() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    world.advance(3600);
    world
        .idp
        .change(|ways| ways.delay = std::time::Duration::from_millis(400));
    let refresh = ada.request(reqwest::Method::GET, "/api/v1.0/idp1/token").send();
    let revoke = async {
        eventually("it is asked", async || (world.idp.refreshes() == 1).then_some(())).await;
        ada.post("/api/v1.0/idp1/revoke").await
    };
    let (refreshed, revoked) = tokio::join!(refresh, revoke);
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(
        kind(refreshed.unwrap(), StatusCode::BAD_REQUEST).await,
        "not_linked"
    );
    eventually("old and new are revoked", async || {
        (world.idp.revoked().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_link_that_is_made_anew_during_its_refresh_keeps_its_newer_tokens() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    world.advance(3600);
    world
        .idp
        .change(|ways| ways.delay = std::time::Duration::from_millis(800));
    let refresh = ada.request(reqwest::Method::GET, "/api/v1.0/idp1/token").send();
    let link = async {
        eventually("it is asked", async || (world.idp.refreshes() == 1).then_some(())).await;
        world.idp.change(|ways| ways.delay = std::time::Duration::ZERO);
        ada.link("idp1").await;
        ada.token("idp1").await["access_token"].clone()
    };
    let (refreshed, linked) = tokio::join!(refresh, link);
    let refreshed = expect(refreshed.unwrap(), StatusCode::OK).await["access_token"].clone();
    assert_eq!(refreshed, linked, "the newer one for all");
    assert_eq!(ada.token("idp1").await["access_token"], linked);
    eventually("what nobody holds is revoked", async || {
        (world.idp.revoked().len() == 1).then_some(())
    })
    .await;
    world.advance(3600);
    ada.token("idp1").await;
}
