//! What RFC 9700 warns a client of, each test named after what it tries.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::visitor::{Visitor, location, parameter};
use crate::world::{World, kind};

/// The address of the service at which a login ends.
async fn to_login_callback(world: &World, visitor: &Visitor) -> reqwest::Url {
    let callback = format!("{}/api/oidc/callback", world.tokenstore.url);
    visitor.walk_until("/api/oidc/login", &callback).await
}

/// A callback with another parameter in place of one.
fn with(url: &reqwest::Url, name: &str, value: Option<&str>) -> String {
    let mut changed = url.clone();
    let kept: Vec<_> = url
        .query_pairs()
        .into_owned()
        .filter(|(known, _)| known != name)
        .collect();
    changed
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .extend_pairs(value.map(|value| (name, value)));
    changed.into()
}

#[tokio::test]
async fn a_callback_without_its_state_or_with_an_invented_one() {
    let world = World::start(&[]).await;
    let ada = world.visitor();
    let back = to_login_callback(&world, &ada).await;
    for state in [None, Some(""), Some("invented"), Some("%00")] {
        let answer = ada.get(&with(&back, "state", state)).await;
        assert_eq!(kind(answer, StatusCode::BAD_REQUEST).await, "unknown-state");
    }
    let ada = world.signed_in("ada").await;
    let back = ada.to_callback("idp1").await;
    for state in [None, Some("invented")] {
        let answer = ada.get(&with(&back, "state", state)).await;
        assert_eq!(kind(answer, StatusCode::BAD_REQUEST).await, "unknown-state");
    }
    assert_eq!(
        ada.get(back.as_str()).await.status(),
        StatusCode::FOUND,
        "the right one is not used up"
    );
}

#[tokio::test]
async fn replaying_a_callback() {
    let world = World::start(&[]).await;
    let ada = world.visitor();
    let back = to_login_callback(&world, &ada).await;
    let cookies = ada.cookies.lock().unwrap().clone();
    assert_eq!(ada.get(back.as_str()).await.status(), StatusCode::FOUND);
    *ada.cookies.lock().unwrap() = cookies;
    assert_eq!(
        kind(ada.get(back.as_str()).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );

    let ada = world.signed_in("ada").await;
    let back = ada.to_callback("idp1").await;
    assert_eq!(ada.get(back.as_str()).await.status(), StatusCode::FOUND);
    assert_eq!(
        kind(ada.get(back.as_str()).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );
}

#[tokio::test]
async fn two_callbacks_at_once_end_one_link() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let back = ada.to_callback("idp1").await;
    let calls = (0..10).map(|_| ada.request(Method::GET, back.as_str()).send());
    let answers = futures_util::future::join_all(calls).await;
    let good = answers
        .into_iter()
        .filter(|answer| answer.as_ref().unwrap().status() == StatusCode::FOUND)
        .count();
    assert_eq!(good, 1);
    assert_eq!(world.idp.requests().len(), 1);
}

#[tokio::test]
async fn coming_back_after_ten_minutes() {
    let world = World::start(&[]).await;
    let ada = world.visitor();
    let back = to_login_callback(&world, &ada).await;
    world.advance(601);
    assert_eq!(
        kind(ada.get(back.as_str()).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );
    let ada = world.signed_in("ada").await;
    let back = ada.to_callback("idp1").await;
    world.advance(601);
    assert_eq!(
        kind(ada.get(back.as_str()).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );
}

#[tokio::test]
async fn having_somebody_else_s_browser_end_my_login_or_link() {
    let world = World::start(&[]).await;
    let attacker = world.visitor();
    let back = to_login_callback(&world, &attacker).await;
    let victim = world.visitor();
    victim.get("/api/oidc/login").await;
    assert_eq!(
        kind(victim.get(back.as_str()).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );

    let ada = world.signed_in("ada").await;
    let ben = world.signed_in("ben").await;
    let back = ada.to_callback("idp1").await;
    assert_eq!(
        kind(ben.get(back.as_str()).await, StatusCode::FORBIDDEN).await,
        "not-yours"
    );
    // The same person's other browser did not begin it either.
    let other = world.signed_in("ada").await;
    assert_eq!(
        kind(other.get(back.as_str()).await, StatusCode::FORBIDDEN).await,
        "not-yours"
    );
    // Who is nobody, with a cookie of their own, hears the same as of a state that is not there.
    let nobody = world.visitor();
    nobody.get("/api/oidc/login").await;
    assert_eq!(nobody.get(back.as_str()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        nobody.get(&with(&back, "state", Some("x"))).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        ada.get(back.as_str()).await.status(),
        StatusCode::FOUND,
        "not used up by others"
    );
}

#[tokio::test]
async fn sending_the_victim_to_the_provider_with_my_own_link() {
    let world = World::start(&[]).await;
    let attacker = world.bearer("mallory");
    let begun = world
        .tokenstore
        .post("/api/v1.0/idp1/authorize")
        .bearer_auth(&attacker)
        .send()
        .await
        .unwrap();
    let to = begun.headers()["location"].to_str().unwrap().to_owned();
    let victim = world.signed_in("ada").await;
    let back = location(&victim.get(&to).await).unwrap();
    assert_eq!(
        kind(victim.get(back.as_str()).await, StatusCode::FORBIDDEN).await,
        "not-yours"
    );
    let token = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .bearer_auth(&attacker)
        .send()
        .await
        .unwrap();
    assert_eq!(kind(token, StatusCode::BAD_REQUEST).await, "not_linked");
}

#[tokio::test]
async fn mixing_up_providers_by_the_issuer() {
    let world = World::start(&[]).await;
    let ada = world.visitor();
    world
        .login
        .change(|ways| ways.issuer_in_answers = Some("https://evil.example".into()));
    let answer = ada.walk("/api/oidc/login").await;
    assert_eq!(kind(answer, StatusCode::BAD_REQUEST).await, "login-failed");
    let url = world.login.url.clone();
    world.login.change(|ways| ways.issuer_in_answers = Some(url));
    let ada = world.signed_in("ada").await;

    world
        .idp
        .change(|ways| ways.issuer_in_answers = Some("https://evil.example".into()));
    let back = ada.to_callback("idp1").await;
    let to = location(&ada.get(back.as_str()).await).unwrap();
    assert_eq!(parameter(&to, "error").as_deref(), Some("invalid_id_token"));
    assert!(
        world.idp.requests().is_empty(),
        "the code was not shown to anybody"
    );
}

#[tokio::test]
async fn leaving_out_the_issuer_of_a_provider_that_always_names_it() {
    let world = World::start(&[]).await;
    let url = world.idp.url.clone();
    world.idp.change(|ways| ways.issuer_in_answers = Some(url));
    // An instance that learns of it now.
    let other = world.another().await;
    let ada = world.signed_in("ada").await.at(&other.url);
    let back = ada.to_callback("idp1").await;
    let to = location(&ada.get(&with(&back, "iss", None)).await).unwrap();
    assert_eq!(parameter(&to, "error").as_deref(), Some("invalid_id_token"));
}

#[tokio::test]
async fn ending_a_link_at_another_provider_than_it_began_at() {
    let world = World::start(&[
        "providers.idp2.discovery_url=IDP",
        "providers.idp2.client_id=tokenstore",
    ])
    .await;
    let ada = world.signed_in("ada").await;
    let back = ada.to_callback("idp1").await;
    let other = back.as_str().replace("/idp1/", "/idp2/");
    assert_eq!(
        kind(ada.get(&other).await, StatusCode::BAD_REQUEST).await,
        "unknown-state"
    );
}

#[tokio::test]
async fn injecting_a_code_of_another_authorization() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let stolen = parameter(&ada.to_callback("idp1").await, "code").unwrap();
    let back = ada.to_callback("idp1").await;
    let to = location(&ada.get(&with(&back, "code", Some(&stolen))).await).unwrap();
    assert_eq!(
        parameter(&to, "error").as_deref(),
        Some("invalid_grant"),
        "PKCE binds it"
    );
    assert_eq!(
        kind(ada.get("/api/v1.0/idp1/token").await, StatusCode::BAD_REQUEST).await,
        "not_linked"
    );
}

#[tokio::test]
async fn id_tokens_that_cannot_be_believed() {
    let world = World::start(&[]).await;
    let now = world.tokenstore.clock.now().as_second();
    for claims in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"iss": "https://evil.example"}),
        json!({"aud": "somebody"}),
        json!({"aud": ["tokenstore", "evil"]}),
        json!({"exp": now - 100}),
        json!({"sub": ""}),
    ] {
        world.login.change(|ways| ways.claims = claims.clone());
        let answer = world.visitor().walk("/api/oidc/login").await;
        assert_eq!(
            kind(answer, StatusCode::BAD_REQUEST).await,
            "login-failed",
            "{claims}"
        );
    }
    world.login.change(|ways| {
        ways.claims = json!({});
        ways.signs_wrongly = true;
    });
    let answer = world.visitor().walk("/api/oidc/login").await;
    assert_eq!(kind(answer, StatusCode::BAD_REQUEST).await, "login-failed");
    world.login.change(|ways| ways.signs_wrongly = false);
    let ada = world.signed_in("ada").await;
    world.idp.change(|ways| ways.claims = json!({"nonce": "another"}));
    let back = ada.to_callback("idp1").await;
    let to = location(&ada.get(back.as_str()).await).unwrap();
    assert_eq!(parameter(&to, "error").as_deref(), Some("invalid_id_token"));
}

#[tokio::test]
async fn fixing_the_session_before_the_login() {
    let world = World::start(&[]).await;
    let victim = world.visitor();
    let planted = "A".repeat(43);
    victim
        .cookies
        .lock()
        .unwrap()
        .insert("tokenstore".into(), planted.clone());
    victim.walk("/api/oidc/login?return_url=/api/whoami").await;
    let cookie = victim.cookies.lock().unwrap()["tokenstore"].clone();
    assert_ne!(cookie, planted);
    let attacker = world.visitor();
    attacker
        .cookies
        .lock()
        .unwrap()
        .insert("tokenstore".into(), planted);
    assert_eq!(
        attacker.get("/api/whoami").await.status(),
        StatusCode::UNAUTHORIZED
    );
    // Signing in again makes a new one, and the old one is over.
    let old = victim.at(victim.home.as_str());
    victim.walk("/api/oidc/login?return_url=/api/whoami").await;
    assert_ne!(victim.cookies.lock().unwrap()["tokenstore"], cookie);
    assert_eq!(old.get("/api/whoami").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tossing_a_second_cookie_of_the_same_name() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let own = ada.cookies.lock().unwrap()["tokenstore"].clone();
    for header in [
        format!("tokenstore={own}; tokenstore=other"),
        format!("tokenstore=other; tokenstore={own}"),
    ] {
        let answer = world
            .tokenstore
            .get("/api/whoami")
            .header("cookie", header)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}
