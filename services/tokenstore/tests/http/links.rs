//! Accounts linked, listed, and how the ways to link them are kept apart.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::visitor::{location, parameter};
use crate::world::{World, expect, kind};

#[tokio::test]
async fn the_list_has_every_provider_in_configured_order_with_absolute_actions() {
    let world = World::start(&[
        "providers.zeta.preset=github",
        "providers.zeta.client_id=z",
        "providers.alpha.discovery_url=IDP",
        "providers.alpha.client_id=a",
        "providers.alpha.metadata.icon=/icon.png",
    ])
    .await;
    let ada = world.signed_in("ada").await;
    let list = ada.json("/api/v1.0/authorizations").await;
    let ids: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["provider"].clone())
        .collect();
    assert_eq!(ids, ["idp1", "zeta", "alpha"]);
    let url = &world.tokenstore.url;
    let entry = &list[0];
    assert_eq!(entry["active"], false);
    assert_eq!(entry["status"], "inactive");
    assert_eq!(
        entry["actions"],
        json!({
            "authorize": format!("{url}/api/v1.0/idp1/authorize"),
            "token": format!("{url}/api/v1.0/idp1/token"),
            "revoke": format!("{url}/api/v1.0/idp1/revoke"),
        })
    );
    assert_eq!(
        entry["metadata"],
        json!({"name": "Example One", "description": null, "url": null, "icon": null, "logo": null})
    );
    for absent in ["linked_at", "expires_at", "account"] {
        assert_eq!(entry[absent], Value::Null);
    }
    assert_eq!(list[1]["metadata"]["name"], "GitHub");
    assert_eq!(list[2]["metadata"]["icon"], "/icon.png");
}

#[tokio::test]
async fn the_provider_is_asked_with_pkce_its_scope_and_its_parameters() {
    let world = World::start(&[
        "providers.other.discovery_url=IDP",
        "providers.other.client_id=tokenstore",
        "providers.other.scope=a b",
        "providers.other.authorize_params.access_type=offline",
    ])
    .await;
    let ada = world.signed_in("ada").await;
    let to = location(&ada.get("/api/v1.0/idp1/authorize").await).unwrap();
    assert_eq!(
        parameter(&to, "scope").as_deref(),
        Some("openid email offline_access")
    );
    assert_eq!(parameter(&to, "prompt").as_deref(), Some("consent"));
    assert_eq!(parameter(&to, "code_challenge_method").as_deref(), Some("S256"));
    assert!(parameter(&to, "nonce").is_some() && parameter(&to, "state").is_some());
    let redirect = format!("{}/api/v1.0/idp1/redirect_uri", world.tokenstore.url);
    assert_eq!(parameter(&to, "redirect_uri"), Some(redirect));
    let to = location(&ada.get("/api/v1.0/other/authorize").await).unwrap();
    assert_eq!(parameter(&to, "scope").as_deref(), Some("a b"));
    assert_eq!(parameter(&to, "access_type").as_deref(), Some("offline"));
    assert_eq!(parameter(&to, "prompt"), None, "replaced");
}

#[tokio::test]
async fn a_linked_account_is_active_and_named() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let entry = ada.json("/api/v1.0/authorizations").await[0].clone();
    assert_eq!(entry["active"], true);
    assert_eq!(entry["status"], "active");
    assert_eq!(entry["account"], "ada@example.org");
    assert_eq!(entry["scopes"], json!(["openid", "email", "offline_access"]));
    assert!(entry["linked_at"].is_string());
    let ben = world.signed_in("ben").await;
    assert_eq!(
        ben.json("/api/v1.0/authorizations").await[0]["active"],
        false,
        "each has their own"
    );
    let noted = world.audit().await;
    assert!(
        noted.contains(&(
            "ada".into(),
            "linked".into(),
            Some("idp1".into()),
            "session".into()
        )),
        "{noted:?}"
    );
}

#[tokio::test]
async fn a_program_gets_the_address_and_opens_the_window_itself() {
    let world = World::start(&["return_urls=https://app.example.org/"]).await;
    let token = world.bearer("ada");
    let ask = async |body: Option<Value>| {
        let request = world
            .tokenstore
            .post("/api/v1.0/idp1/authorize")
            .bearer_auth(&token);
        match body {
            Some(body) => request.json(&body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    };
    let answer = ask(Some(json!({"return_url": "https://app.example.org/done"}))).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let to = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(to.starts_with(&format!("{}/authorize?", world.idp.url)));
    // The window has the browser's cookie, and nobody is signed in there.
    let window = world.visitor();
    let cookie = answer.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let (name, value) = cookie.split_once('=').unwrap();
    window
        .cookies
        .lock()
        .unwrap()
        .insert(name.to_owned(), value.to_owned());
    let back = location(&window.get(&to).await).unwrap();
    let done = location(&window.get(back.as_str()).await).unwrap();
    assert_eq!(done.as_str(), "https://app.example.org/done");

    // A program without a browser follows with its token.
    let to = ask(None).await.headers()["location"].to_str().unwrap().to_owned();
    let back = location(&world.visitor().get(&to).await).unwrap();
    let stranger = world.visitor().get(back.as_str()).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let path = format!("{}?{}", back.path(), back.query().unwrap());
    let done = world
        .tokenstore
        .get(&path)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), StatusCode::FOUND);
    for wrong in [
        json!({"return_url": 1}),
        json!({"return_url": "https://evil.example/"}),
    ] {
        assert_eq!(ask(Some(wrong)).await.status(), StatusCode::BAD_REQUEST);
    }
    let ada = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    expect(ada, StatusCode::OK).await;
}

#[tokio::test]
async fn what_goes_wrong_at_the_provider_is_told_to_the_return_url() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let error = async || {
        let back = ada.to_callback("idp1").await;
        let to = location(&ada.get(back.as_str()).await).unwrap();
        assert!(to.as_str().starts_with(&world.tokenstore.url));
        (
            parameter(&to, "error").unwrap(),
            parameter(&to, "error_description"),
        )
    };
    world
        .idp
        .change(|ways| ways.denies = Some("access_denied".into()));
    assert_eq!(
        error().await,
        ("access_denied".to_owned(), Some("It was not allowed.".to_owned()))
    );
    world.idp.change(|ways| {
        ways.denies = None;
        ways.token = identity_testkit::Answer::Fixed(500, "{}".into());
    });
    assert_eq!(error().await.0, "temporarily_unavailable");
    world.idp.change(|ways| {
        ways.token = identity_testkit::Answer::Fixed(400, r#"{"error": "invalid_grant"}"#.into());
    });
    assert_eq!(error().await.0, "invalid_grant");
    assert_eq!(
        kind(ada.get("/api/v1.0/idp1/token").await, StatusCode::BAD_REQUEST).await,
        "not_linked"
    );
}

#[tokio::test]
async fn an_account_of_somebody_else_is_refused_where_the_provider_shares_the_user_base() {
    let world = World::start(&["providers.idp1.require_same_subject=true"]).await;
    let ada = world.linked().await;
    ada.token("idp1").await;
    let ben = world.signed_in("ben").await;
    let back = ben.to_callback("idp1").await;
    let refused = ben.get(back.as_str()).await;
    assert_eq!(kind(refused, StatusCode::FORBIDDEN).await, "other-subject");
    assert_eq!(
        kind(ben.get("/api/v1.0/idp1/token").await, StatusCode::BAD_REQUEST).await,
        "not_linked"
    );
    identity_testkit::eventually("the tokens are revoked", async || {
        (!world.idp.revoked().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn linking_again_replaces_the_tokens_and_keeps_a_refresh_token_that_does_not_come_again() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let first = ada.token("idp1").await["access_token"].clone();
    // As Google does it: only the first authorization brings a refresh token.
    world
        .idp
        .change(|ways| ways.token = identity_testkit::Answer::With(json!({"refresh_token": null})));
    ada.link("idp1").await;
    let second = ada.token("idp1").await["access_token"].clone();
    assert_ne!(first, second);
    world
        .idp
        .change(|ways| ways.token = identity_testkit::Answer::Usual);
    world.advance(3600);
    assert_ne!(
        ada.token("idp1").await["access_token"],
        second,
        "refreshed with the old refresh token"
    );
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_as_such() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for (method, path, allow) in [
        (Method::PUT, "/api/v1.0/idp1/authorize", "GET, HEAD, POST"),
        (Method::POST, "/api/v1.0/idp1/token", "GET, HEAD"),
        (Method::GET, "/api/v1.0/idp1/revoke", "POST"),
        (Method::GET, "/api/oidc/logout", "POST"),
        (Method::DELETE, "/api/v1.0/keys", "GET, HEAD, POST"),
    ] {
        let answer = ada.send(ada.own(method, path)).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.headers()["allow"], allow);
    }
    assert_eq!(ada.get("/api/v2.0/x").await.status(), StatusCode::NOT_FOUND);
    let docs = ada.get("/api/").await;
    assert_eq!(location(&docs).unwrap().path(), "/docs/");
    let openapi = ada.json("/openapi.json").await;
    for path in ["/api/whoami", "/api/v1.0/{provider}/token", "/api/v1.0/keys"] {
        assert!(openapi["paths"].get(path).is_some(), "{path}");
    }
}
