//! Tokens handed out: from the store while they last, refreshed once for all callers, never lost.

use std::time::Duration;

use futures_util::future::join_all;
use identity_testkit::{Answer, Refreshing};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::{World, expect, kind};

#[tokio::test]
async fn a_token_is_handed_out_from_the_store_until_the_margin() {
    let world = World::start(&["refresh_margin=100s"]).await;
    let ada = world.linked().await;
    let answer = ada.get("/api/v1.0/idp1/token").await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let first = expect(answer, StatusCode::OK).await;
    assert_eq!(first["token_type"], "Bearer");
    assert_eq!(first["scope"], "openid email offline_access");
    assert!(
        (3590..=3600).contains(&first["expires_in"].as_i64().unwrap()),
        "{first}"
    );
    assert!(first["expires_at"].is_string());
    world.advance(3480);
    assert_eq!(ada.token("idp1").await["access_token"], first["access_token"]);
    assert_eq!(world.idp.refreshes(), 0);
    world.advance(30);
    let second = ada.token("idp1").await;
    assert_ne!(second["access_token"], first["access_token"]);
    assert!(second["expires_in"].as_i64().unwrap() > 3500);
    assert_eq!(world.idp.refreshes(), 1);
    let noted = async || {
        let used = (
            "ada".to_owned(),
            "used".to_owned(),
            Some("idp1".to_owned()),
            "session".to_owned(),
        );
        world.audit().await.contains(&used).then_some(())
    };
    identity_testkit::eventually("the use is noted", noted).await;
}

#[tokio::test]
async fn more_time_can_be_asked_for() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let first = ada.token("idp1").await["access_token"].clone();
    let path = |seconds: &str| format!("/api/v1.0/idp1/token?min_ttl={seconds}");
    assert_eq!(ada.json(&path("3000")).await["access_token"], first);
    world.advance(1000);
    assert_ne!(ada.json(&path("3000")).await["access_token"], first);
    assert_eq!(world.idp.refreshes(), 1);
    for wrong in ["x", "-1", "1.5", "99999999999999999999"] {
        assert_eq!(
            ada.get(&path(wrong)).await.status(),
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn two_hundred_callers_over_two_instances_make_one_request() {
    let world = World::start(&["database.postgres.pool_size=4"]).await;
    let other = world.another().await;
    let ada = world.linked().await;
    let there = ada.at(&other.url);
    let first = ada.token("idp1").await["access_token"].clone();
    world.advance(3600);
    world.idp.change(|ways| ways.delay = Duration::from_millis(300));
    let calls = (0..200).map(|number| {
        let visitor = if number % 2 == 0 { &ada } else { &there };
        visitor.request(Method::GET, "/api/v1.0/idp1/token").send()
    });
    let mut tokens = Vec::new();
    for answer in join_all(calls).await {
        tokens.push(expect(answer.unwrap(), StatusCode::OK).await["access_token"].clone());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "all got the same");
    assert_ne!(tokens[0], first);
    assert_eq!(world.idp.refreshes(), 1);
}

#[tokio::test]
async fn a_token_that_never_lasts_longer_than_the_margin_is_refreshed_once_for_all_who_wait() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| ways.expires_in = Some(30));
    let other = world.another().await;
    let ada = world.linked().await;
    let there = ada.at(&other.url);
    world.idp.change(|ways| ways.delay = Duration::from_millis(300));
    let calls = (0..40).map(|number| {
        let visitor = if number % 2 == 0 { &ada } else { &there };
        visitor.request(Method::GET, "/api/v1.0/idp1/token").send()
    });
    let mut tokens = Vec::new();
    for answer in join_all(calls).await {
        tokens.push(expect(answer.unwrap(), StatusCode::OK).await["access_token"].clone());
    }
    tokens.dedup();
    assert_eq!((tokens.len(), world.idp.refreshes()), (1, 1));
}

#[tokio::test]
async fn a_rotated_refresh_token_is_used_the_next_time() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let mut seen = Vec::<Value>::new();
    for _ in 0..4 {
        world.advance(3600);
        let token = ada.token("idp1").await["access_token"].clone();
        assert!(!seen.contains(&token));
        seen.push(token);
    }
    assert_eq!(world.idp.refreshes(), 4);
    let mut used: Vec<_> = world
        .idp
        .requests()
        .iter()
        .map(|form| form["refresh_token"].to_string())
        .collect();
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 5, "each once, and the first request had none");
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_the_link() {
    let world = World::start(&["outgoing.timeout=500ms"]).await;
    let ada = world.linked().await;
    world.advance(3600);
    for answer in [
        Answer::Fixed(500, String::new()),
        Answer::Fixed(503, "{\"error\": \"temporarily_unavailable\"}".into()),
        Answer::Fixed(502, "<html>".into()),
        Answer::Fixed(429, "{\"error\": \"invalid_grant\"}".into()),
        Answer::Fixed(400, "{\"error\": \"server_error\"}".into()),
        Answer::Fixed(401, "{\"error\": \"invalid_client\"}".into()),
        Answer::Fixed(200, "<html>welcome</html>".into()),
        Answer::Fixed(200, "{}".into()),
        Answer::Fixed(200, "{\"access_token\": 7}".into()),
        Answer::Fixed(200, "{\"access_token\": \"\"}".into()),
        Answer::Fixed(200, format!("{{\"access_token\": \"{}\"}}", "x".repeat(300_000))),
        Answer::Fixed(302, String::new()),
    ] {
        world.idp.change(|ways| ways.token = answer.clone());
        let refused = ada.get("/api/v1.0/idp1/token").await;
        assert!(refused.headers().contains_key("retry-after"), "{answer:?}");
        assert_eq!(
            kind(refused, StatusCode::SERVICE_UNAVAILABLE).await,
            "provider-unavailable",
            "{answer:?}"
        );
        assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["status"], "active");
    }
    world.idp.change(|ways| ways.token = Answer::Usual);
    ada.token("idp1").await;
}

#[tokio::test]
async fn a_slow_provider_harms_nobody_else() {
    let world = World::start(&[
        "outgoing.timeout=2s",
        "database.postgres.pool_size=2",
        "providers.idp2.discovery_url=IDP",
        "providers.idp2.client_id=tokenstore",
        "providers.idp2.client_secret=a secret/of+ours",
    ])
    .await;
    let ada = world.linked().await;
    let ben = world.signed_in("ben").await;
    ben.link("idp2").await;
    world.advance(3600);
    ben.token("idp2").await;
    world.idp.change(|ways| ways.delay = Duration::from_secs(30));
    let slow = (0..50).map(|_| ada.request(Method::GET, "/api/v1.0/idp1/token").send());
    let slow = join_all(slow);
    let others = async {
        let began = std::time::Instant::now();
        for _ in 0..20 {
            ben.token("idp2").await;
            ben.json("/api/v1.0/authorizations").await;
        }
        assert!(
            began.elapsed() < Duration::from_millis(1800),
            "{:?}",
            began.elapsed()
        );
    };
    let (answers, ()) = tokio::join!(slow, others);
    for answer in answers {
        assert_eq!(answer.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.idp.refreshes(), 2, "Ben's, and one of Ada's");
}

#[tokio::test]
async fn a_provider_that_wants_to_be_left_alone_is_asked_again_when_the_caller_comes_again() {
    let receiver = identity_testkit::Receiver::start();
    let endpoint = format!("providers.idp1.token_endpoint={}/token", receiver.url);
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let mut settings: Vec<&str> = world.settings.iter().map(String::as_str).collect();
    settings.push(&endpoint);
    let database = world.tokenstore.database.clone();
    let other = crate::world::TOKENSTORE
        .start_on(database, &world.tokenstore.clock, &settings)
        .await;
    world.advance(3600);
    receiver.behave(|_| identity_testkit::Behaviour::Answer(429));
    let refused = ada.at(&other.url).get("/api/v1.0/idp1/token").await;
    assert_eq!(refused.headers()["retry-after"], "10", "it does not say");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn who_hangs_up_during_a_refresh_loses_nothing() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    world.advance(3600);
    world.idp.change(|ways| ways.delay = Duration::from_millis(500));
    let call = ada.request(Method::GET, "/api/v1.0/idp1/token").send();
    assert!(
        tokio::time::timeout(Duration::from_millis(150), call)
            .await
            .is_err(),
        "hung up"
    );
    identity_testkit::eventually("it was asked", async || {
        (world.idp.refreshes() == 1).then_some(())
    })
    .await;
    let token = ada.token("idp1").await;
    assert!(token["expires_in"].as_i64().unwrap() > 3000);
    assert_eq!(world.idp.refreshes(), 1, "the one that was under way");
}

#[tokio::test]
async fn a_link_that_the_provider_took_back_asks_for_a_new_authorization() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    world.idp.forget_grants();
    assert!(
        ada.token("idp1").await["access_token"].is_string(),
        "the token itself lasts"
    );
    world.advance(3600);
    for _ in 0..3 {
        let refused = ada.get("/api/v1.0/idp1/token").await;
        assert_eq!(
            kind(refused, StatusCode::CONFLICT).await,
            "reauthorization_required"
        );
    }
    assert_eq!(world.idp.refreshes(), 1, "asked once");
    let entry = ada.json("/api/v1.0/authorizations").await[0].clone();
    assert_eq!(
        (&entry["active"], &entry["status"]),
        (&false.into(), &"reauthorization_required".into())
    );
    ada.link("idp1").await;
    ada.token("idp1").await;
    assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["status"], "active");
}

#[tokio::test]
async fn a_provider_that_keeps_its_refresh_token_is_asked_with_it_again() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| ways.refreshing = Refreshing::Keeping);
    let ada = world.linked().await;
    for refreshes in 1..4 {
        world.advance(3600);
        ada.token("idp1").await;
        assert_eq!(world.idp.refreshes(), refreshes);
    }
}
