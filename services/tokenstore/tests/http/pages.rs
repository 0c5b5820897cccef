//! The page as HTML: what it shows, its forms, and errors for people.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::visitor::Visitor;
use crate::world::World;

/// A page as a browser asks for it.
async fn page(visitor: &Visitor, path: &str) -> (StatusCode, String) {
    let answer = visitor
        .send(
            visitor
                .request(Method::GET, path)
                .header("accept", "text/html,*/*"),
        )
        .await;
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html"),
        "{path}"
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
    (answer.status(), answer.text().await.unwrap())
}

async fn form_token(visitor: &Visitor, path: &str) -> String {
    let (_, html) = page(visitor, path).await;
    html.split("name=\"form_token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

async fn send(visitor: &Visitor, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
    visitor
        .send(
            visitor
                .own(Method::POST, path)
                .header("accept", "text/html")
                .form(form),
        )
        .await
}

#[tokio::test]
async fn a_stranger_is_shown_where_to_sign_in() {
    let world = World::start(&[]).await;
    let (status, html) = page(&world.visitor(), "/").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(html.contains("href=\"api/oidc/login\""), "{html}");
    let (status, html) = page(&world.visitor(), "/links/idp1/disconnect").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(html.contains("href=\"../../api/oidc/login\""), "{html}");
}

#[tokio::test]
async fn the_page_shows_links_and_their_states_and_loads_nothing_from_elsewhere() {
    let world = World::start(&[
        "providers.idp1.metadata.description=<b>Bold & risky</b>",
        "providers.idp1.metadata.logo=https://evil.example/logo.png",
        "providers.hub.preset=github",
        "providers.hub.client_id=x",
        "providers.hub.metadata.logo=data:image/svg+xml;base64,AAAA",
    ])
    .await;
    let ada = world.signed_in("ada").await;
    let (status, html) = page(&ada, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("Not connected") && html.contains("href=\"api/v1.0/idp1/authorize\""));
    assert!(
        html.contains("&#60;b&#62;Bold &#38; risky") || html.contains("&lt;b&gt;Bold &amp; risky"),
        "{html}"
    );
    assert!(!html.contains("evil.example") && html.contains("src=\"data:image/svg+xml;base64,AAAA\""));
    assert!(!html.contains("<script") && !html.contains("style="));
    ada.link("idp1").await;
    let (_, html) = page(&ada, "/").await;
    assert!(html.contains("✓ Connected") && html.contains("ada@example.org"));
    world.idp.forget_grants();
    world.advance(3600);
    ada.get("/api/v1.0/idp1/token").await;
    let (_, html) = page(&ada, "/").await;
    assert!(html.contains("Reconnect needed"), "{html}");
    let (_, html) = page(&ada, "/?error=access_denied&error_description=x").await;
    assert!(html.contains("You did not allow the connection"));
    let (_, html) = page(
        &ada,
        "/?error=%3Cscript%3E&error_description=%3Cscript%3Ealert(1)",
    )
    .await;
    assert!(!html.contains("<script"), "{html}");
}

#[tokio::test]
async fn disconnecting_asks_first() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let (status, html) = page(&ada, "/links/idp1/disconnect").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("Disconnect Example One?"));
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[0]["active"],
        true,
        "asking does nothing"
    );
    let token = form_token(&ada, "/links/idp1/disconnect").await;
    let answer = send(&ada, "/links/idp1/disconnect", &[("form_token", &token)]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(ada.json("/api/v1.0/authorizations").await[0]["active"], false);
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_revoked_by_forms() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let token = form_token(&ada, "/").await;
    let made = send(
        &ada,
        "/keys",
        &[
            ("form_token", &token),
            ("name", "My <script>"),
            ("expires_in", "30d"),
        ],
    )
    .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let html = made.text().await.unwrap();
    let key = html
        .split("id=\"new-key\">")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned();
    let who = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(who.status(), StatusCode::OK);
    let (_, html) = page(&ada, "/").await;
    assert!(!html.contains(&key) && !html.contains("<script"));
    let id = ada.json("/api/v1.0/keys").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/keys/{id}/revoke");
    let (_, html) = page(&ada, &path).await;
    assert!(html.contains("Revoke the key"));
    assert_eq!(
        send(&ada, &path, &[("form_token", &token)]).await.status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(ada.json("/api/v1.0/keys").await, json!([]));
    let wrong = send(
        &ada,
        "/keys",
        &[("form_token", &token), ("name", " "), ("expires_in", "")],
    )
    .await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("1 to 100 characters"));
    let (status, _) = page(&ada, "/keys/00000000-0000-4000-8000-000000000000/revoke").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn errors_are_pages_where_a_person_looks() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for (path, status, text) in [
        (
            "/api/v1.0/nobody/authorize",
            StatusCode::NOT_FOUND,
            "There is no such provider.",
        ),
        (
            "/api/v1.0/idp1/redirect_uri?state=x",
            StatusCode::BAD_REQUEST,
            "No such link is under way",
        ),
        (
            "/api/oidc/callback?state=x",
            StatusCode::BAD_REQUEST,
            "Sign in again.",
        ),
        (
            "/nowhere",
            StatusCode::NOT_FOUND,
            "There is nothing at this path.",
        ),
    ] {
        let (found, html) = page(&ada, path).await;
        assert_eq!(found, status, "{path}");
        assert!(html.contains(text), "{path}: {html}");
    }
    world.idp.change(|ways| ways.discovery = 500);
    let other = world.another().await;
    let (status, html) = page(&ada.at(&other.url), "/api/v1.0/idp1/authorize").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(html.contains("try again soon"));
}

#[tokio::test]
async fn signing_out_by_the_form_is_allowed_to_lead_to_the_login_provider() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let answer = ada
        .send(ada.request(Method::GET, "/").header("accept", "text/html"))
        .await;
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains(&format!("form-action 'self' {}", world.login.url)),
        "{policy}"
    );
    let token = form_token(&ada, "/").await;
    assert_eq!(
        send(&ada, "/api/oidc/logout", &[("form_token", &token)])
            .await
            .status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(page(&ada, "/").await.0, StatusCode::UNAUTHORIZED);
}
