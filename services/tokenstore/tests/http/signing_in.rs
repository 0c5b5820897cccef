//! Signing in with a browser, the session, signing out.

use reqwest::header::SET_COOKIE;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::visitor::{Visitor, location, parameter};
use crate::world::{World, expect};

#[tokio::test]
async fn who_signs_in_is_known_by_the_login_provider_s_claims() {
    let world = World::start(&[]).await;
    world.login.change(|ways| {
        ways.claims = json!({"roles": ["admin", "user"], "realm_access": {"roles": ["realm"]}});
    });
    let ada = world.signed_in("ada").await;
    let who = ada.json("/api/whoami").await;
    assert_eq!(who["id"], "ada");
    assert_eq!(who["name"], "Ada Ameland");
    assert_eq!(who["email"], "ada@example.org");
    assert_eq!(who["email_verified"], true);
    assert_eq!(who["roles"], json!(["admin", "user", "realm"]));
    assert_eq!(who["scopes"], json!(["openid", "email", "profile"]));
    assert_eq!(who["claims"]["iss"], world.login.url);
}

#[tokio::test]
async fn the_login_asks_with_pkce_state_and_nonce() {
    let world = World::start(&[]).await;
    let to = location(&world.visitor().get("/api/oidc/login").await).unwrap();
    assert!(to.as_str().starts_with(&format!("{}/authorize", world.login.url)));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "tokenstore"),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(parameter(&to, name).as_deref(), Some(value));
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(parameter(&to, name).unwrap().len(), 43, "{name}");
    }
    let back = format!("{}/api/oidc/callback", world.tokenstore.url);
    assert_eq!(parameter(&to, "redirect_uri"), Some(back));
}

#[tokio::test]
async fn without_an_identity_there_is_401_before_anything_else() {
    let world = World::start(&[]).await;
    for (method, path) in [
        (Method::GET, "/api/whoami"),
        (Method::GET, "/api/v1.0/authorizations"),
        (Method::GET, "/api/v1.0/idp1/authorize"),
        (Method::POST, "/api/v1.0/idp1/authorize"),
        (Method::GET, "/api/v1.0/idp1/token"),
        (Method::POST, "/api/v1.0/idp1/revoke"),
        (Method::GET, "/api/v1.0/idp1/redirect_uri?state=x"),
        (Method::GET, "/api/v1.0/nobody/authorize"),
        (Method::GET, "/api/v1.0/nobody/token?min_ttl=x"),
        (Method::POST, "/api/v1.0/nobody/revoke"),
        (Method::GET, "/api/v1.0/nobody/redirect_uri"),
        (Method::GET, "/api/v1.0/keys"),
        (Method::POST, "/api/v1.0/keys"),
        (Method::DELETE, "/api/v1.0/keys/x"),
        (Method::GET, "/"),
        (Method::GET, "/links/nobody/disconnect"),
        (Method::GET, "/api/v1.0/idp1/redirect_uri?state=a&state=b"),
        (Method::GET, "/api/v1.0/idp1/authorize?return_url=a&return_url=b"),
    ] {
        let answer = world
            .tokenstore
            .request(method.clone(), path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        let offered: Vec<_> = answer
            .headers()
            .get_all("www-authenticate")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert!(
            offered.iter().any(|offer| offer.starts_with("Bearer")),
            "{offered:?}"
        );
        assert!(
            offered.iter().any(|offer| offer.starts_with("Basic")),
            "{offered:?}"
        );
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn an_unknown_provider_is_404_for_who_is_known() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for (method, path) in [
        (Method::GET, "/api/v1.0/nobody/authorize"),
        (Method::POST, "/api/v1.0/nobody/authorize"),
        (Method::GET, "/api/v1.0/nobody/token"),
        (Method::POST, "/api/v1.0/nobody/revoke"),
    ] {
        let answer = ada.send(ada.own(method, path)).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_session_s_cookie_is_for_this_host_and_no_script() {
    let world = World::start(&["session.lifetime=2h"]).await;
    let ada = world.visitor();
    let callback = format!("{}/api/oidc/callback", world.tokenstore.url);
    let back = ada.walk_until("/api/oidc/login", &callback).await;
    let set = ada.get(back.as_str()).await;
    let cookies: Vec<_> = set
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|set| set.to_str().unwrap().to_owned())
        .collect();
    let session = cookies.iter().find(|set| set.starts_with("tokenstore=")).unwrap();
    assert!(
        session.ends_with("; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax"),
        "{session}"
    );

    let world = World::start(&["server.public_url=https://store.example"]).await;
    let ada = world.visitor();
    let back = ada.walk_until("/api/oidc/login", "https://store.example/").await;
    // Behind the proxy, it comes to us by HTTP.
    let set = ada
        .get(&format!("{}?{}", back.path(), back.query().unwrap()))
        .await;
    let cookies: Vec<_> = set
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|set| set.to_str().unwrap().to_owned())
        .collect();
    assert!(
        cookies
            .iter()
            .any(|set| set.starts_with("__Host-tokenstore=") && set.ends_with("; Secure")),
        "{cookies:?}"
    );
    assert_eq!(ada.json("/api/whoami").await["id"], "ada");
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_after_its_lifetime() {
    let world = World::start(&["session.idle=1h", "session.lifetime=3h"]).await;
    let status = async |visitor: &Visitor| visitor.get("/api/whoami").await.status().as_u16();
    let ada = world.signed_in("ada").await;
    world.advance(3599);
    assert_eq!(status(&ada).await, 200);
    world.advance(3599);
    assert_eq!(status(&ada).await, 200, "use renews it");
    world.advance(3500);
    assert_eq!(status(&ada).await, 200);
    world.advance(200);
    assert_eq!(status(&ada).await, 401, "its lifetime is over");
    let ben = world.signed_in("ben").await;
    world.advance(3601);
    assert_eq!(status(&ben).await, 401, "it was not used");
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_provider() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let old = ada.at(ada.home.as_str());
    let answer = ada.post("/api/oidc/logout").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let to = location(&answer).unwrap();
    assert!(
        to.as_str()
            .starts_with(&format!("{}/end_session", world.login.url))
    );
    assert_eq!(parameter(&to, "client_id").as_deref(), Some("tokenstore"));
    assert_eq!(
        parameter(&to, "post_logout_redirect_uri"),
        Some(format!("{}/", world.tokenstore.url))
    );
    assert_eq!(parameter(&to, "id_token_hint").unwrap().split('.').count(), 3);
    assert!(ada.cookies.lock().unwrap().is_empty());
    assert_eq!(
        old.get("/api/whoami").await.status(),
        StatusCode::UNAUTHORIZED,
        "a kept cookie is no use"
    );
    let again = ada.post("/api/oidc/logout").await;
    assert_eq!(
        location(&again).unwrap().as_str(),
        format!("{}/", world.tokenstore.url)
    );
}

#[tokio::test]
async fn a_login_leads_back_to_where_it_was_asked_for() {
    let world = World::start(&["return_urls=https://app.example.org/in"]).await;
    for (asked, to) in [
        ("", format!("{}/", world.tokenstore.url)),
        ("?return_url=/docs/", format!("{}/docs/", world.tokenstore.url)),
        (
            "?return_url=https://app.example.org/in/x?y=1",
            "https://app.example.org/in/x?y=1".to_owned(),
        ),
    ] {
        let ada = world.visitor();
        let callback = format!("{}/api/oidc/callback", world.tokenstore.url);
        let back = ada
            .walk_until(&format!("/api/oidc/login{asked}"), &callback)
            .await;
        assert_eq!(location(&ada.get(back.as_str()).await).unwrap().as_str(), to);
    }
}

#[tokio::test]
async fn a_login_provider_that_is_down_is_503_and_comes_back() {
    let world = World::start(&[]).await;
    world.login.change(|ways| ways.discovery = 500);
    let other = world.another().await;
    let visitor = Visitor::new(&other.url);
    let answer = visitor.get("/api/oidc/login").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let bearer = other
        .get("/api/whoami")
        .bearer_auth(world.bearer("ada"))
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.status(), StatusCode::SERVICE_UNAVAILABLE);
    world.login.change(|ways| ways.discovery = 200);
    world.advance(10);
    assert_eq!(visitor.get("/api/oidc/login").await.status(), StatusCode::FOUND);
    let bearer = other
        .get("/api/whoami")
        .bearer_auth(world.bearer("ada"))
        .send()
        .await
        .unwrap();
    assert_eq!(expect(bearer, StatusCode::OK).await["id"], "ada");
}
