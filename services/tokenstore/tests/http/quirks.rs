//! Providers as they are.

use identity_testkit::{Answer, Refreshing};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, kind};

#[tokio::test]
async fn without_a_lifetime_a_token_is_refreshed_now_and_then() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| ways.expires_in = None);
    let ada = world.linked().await;
    let first = ada.token("idp1").await;
    assert_eq!(
        (&first["expires_in"], &first["expires_at"]),
        (&Value::Null, &Value::Null)
    );
    world.advance(200);
    assert_eq!(ada.token("idp1").await["access_token"], first["access_token"]);
    world.advance(100);
    assert_ne!(ada.token("idp1").await["access_token"], first["access_token"]);
}

#[tokio::test]
async fn without_a_refresh_token_the_access_token_is_the_link() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| {
        ways.refreshing = Refreshing::Never;
        ways.expires_in = None;
    });
    let ada = world.linked().await;
    let first = ada.token("idp1").await["access_token"].clone();
    world.advance(6 * 24 * 3600);
    let ada = world.signed_in("ada").await;
    assert_eq!(ada.token("idp1").await["access_token"], first);
    assert_eq!(
        ada.json("/api/v1.0/idp1/token?min_ttl=999999").await["access_token"],
        first
    );

    world.idp.change(|ways| ways.expires_in = Some(3600));
    ada.link("idp1").await;
    world.advance(3590);
    ada.token("idp1").await;
    world.advance(20);
    let over = ada.get("/api/v1.0/idp1/token").await;
    assert_eq!(kind(over, StatusCode::CONFLICT).await, "reauthorization_required");
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[0]["status"],
        "reauthorization_required"
    );
    assert_eq!(world.idp.refreshes(), 0);
}

#[tokio::test]
async fn answers_are_understood_in_all_their_forms() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for (over, expires_in, scope) in [
        (
            json!({"expires_in": "1800"}),
            Some(1800),
            "openid email offline_access",
        ),
        (json!({"expires_in": 0}), None, "openid email offline_access"),
        (json!({"expires_in": null, "scope": "a,b"}), None, "a b"),
        (json!({"scope": ["a", "b"]}), Some(3600), "a b"),
        (
            json!({"token_type": null}),
            Some(3600),
            "openid email offline_access",
        ),
        (
            json!({"refresh_expires_in": 0}),
            Some(3600),
            "openid email offline_access",
        ),
        (
            json!({"something": {"else": []}}),
            Some(3600),
            "openid email offline_access",
        ),
    ] {
        world.idp.change(|ways| ways.token = Answer::With(over.clone()));
        ada.link("idp1").await;
        let token = ada.token("idp1").await;
        let left = token["expires_in"].as_i64();
        assert!(
            left == expires_in || left.zip(expires_in).is_some_and(|(left, all)| all - left < 10),
            "{over}: {token}"
        );
        assert_eq!(token["scope"], scope, "{over}");
        assert!(
            token["token_type"]
                .as_str()
                .unwrap()
                .eq_ignore_ascii_case("bearer")
        );
    }
}

#[tokio::test]
async fn the_end_of_a_refresh_token_is_shown_where_it_is_told() {
    let world = World::start(&[]).await;
    world
        .idp
        .change(|ways| ways.token = Answer::With(json!({"refresh_expires_in": 7200})));
    let ada = world.linked().await;
    assert!(ada.json("/api/v1.0/authorizations").await[0]["expires_at"].is_string());
}

#[tokio::test]
async fn an_error_with_status_200_is_an_error() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    world.advance(3600);
    world
        .idp
        .change(|ways| ways.token = Answer::Fixed(200, r#"{"error": "invalid_grant"}"#.into()));
    let refused = ada.get("/api/v1.0/idp1/token").await;
    assert_eq!(
        kind(refused, StatusCode::CONFLICT).await,
        "reauthorization_required"
    );
}

#[tokio::test]
async fn a_provider_without_discovery_and_id_tokens_is_linked_by_hand() {
    let world = World::start(&[
        "providers.hub.authorization_endpoint=IDP/authorize",
        "providers.hub.token_endpoint=IDP/token",
        "providers.hub.userinfo_endpoint=IDP/userinfo",
        "providers.hub.client_id=tokenstore",
        "providers.hub.client_secret=a secret/of+ours",
        "providers.hub.token_endpoint_auth_method=client_secret_post",
        "providers.hub.scope=read:user",
        "providers.hub.authorize_params.prompt=",
    ])
    .await;
    world.idp.change(|ways| {
        ways.openid = false;
        ways.refreshing = Refreshing::Never;
        ways.expires_in = None;
        ways.discovery = 404;
    });
    let ada = world.signed_in("ada").await;
    ada.link("hub").await;
    let list = ada.json("/api/v1.0/authorizations").await;
    assert_eq!(list[1]["account"], "ada", "by its userinfo");
    assert_eq!(ada.token("hub").await["scope"], "read:user");
    let exchange = world.idp.requests()[0].clone();
    assert_eq!(exchange["client_secret"], "a secret/of+ours");
    assert_eq!(exchange["authorization"], "");
}

#[tokio::test]
async fn the_service_shows_who_it_is_as_the_provider_wants_it() {
    let key = identity_core::crypto::jwt::SigningKey::generate(identity_core::crypto::jwt::Algorithm::ES256)
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.as_bytes()).unwrap();
    let from_file = format!("providers.signed.client_secret_file={}", file.path().display());
    let world = World::start(&[
        "providers.signed.discovery_url=IDP",
        "providers.signed.client_id=tokenstore",
        &from_file,
        "providers.signed.token_endpoint_auth_method=private_key_jwt",
    ])
    .await;
    let ada = world.signed_in("ada").await;
    ada.link("idp1").await;
    ada.link("signed").await;
    world.advance(3600);
    ada.token("signed").await;
    let requests = world.idp.requests();
    assert!(
        requests[0]["authorization"]
            .as_str()
            .unwrap()
            .starts_with("Basic ")
    );
    for request in &requests[1..] {
        assert_eq!(request["authorization"], "");
        assert_eq!(
            request["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert!(request.get("client_secret").is_none());
        if request["grant_type"] != "refresh_token" {
            continue; // an hour ago
        }
        let public = identity_core::crypto::jwt::SigningKey::from_pem(&key).unwrap();
        let endpoint = format!("{}/token", world.idp.url);
        let expected = identity_core::crypto::jwt::Expected {
            issuer: "tokenstore",
            audiences: Some(&[&endpoint]),
            typ: None,
            now: world.tokenstore.clock.now(),
            leeway: jiff::SignedDuration::ZERO,
        };
        let assertion = request["client_assertion"].as_str().unwrap();
        public.public().verify::<Value>(assertion, &expected).unwrap();
    }
}

#[tokio::test]
async fn a_provider_that_is_down_at_start_does_not_stop_the_service_and_is_asked_again() {
    let world = World::start(&[]).await;
    world.idp.change(|ways| ways.discovery = 500);
    let other = world.another().await;
    let ada = world.signed_in("ada").await.at(&other.url);
    let refused = ada.get("/api/v1.0/idp1/authorize").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["available"], false);
    world.idp.change(|ways| ways.discovery = 200);
    world.advance(10);
    assert_eq!(
        ada.get("/api/v1.0/idp1/authorize").await.status(),
        StatusCode::FOUND
    );
    assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["available"], true);
}
