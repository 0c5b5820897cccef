//! Pages and addresses of somebody else: forged posts, forms without their token, frames, return URLs that lead
//! astray, providers that lead into the inner network. Each test is named after what it tries.

use std::net::TcpListener;

use identity_testkit::{Receiver, eventually};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::visitor::{location, parameter};
use crate::world::{World, kind};

#[tokio::test]
async fn posting_from_a_page_of_somebody_else() {
    let world = World::start(&["cors.allowed_origins=https://app.example.org"]).await;
    let ada = world.linked().await;
    let own = world.tokenstore.url.clone();
    for (method, path) in [
        (Method::POST, "/api/v1.0/idp1/authorize"),
        (Method::POST, "/api/v1.0/idp1/revoke"),
        (Method::POST, "/api/v1.0/keys"),
        (Method::DELETE, "/api/v1.0/keys/x"),
        (Method::POST, "/api/oidc/logout"),
        (Method::POST, "/links/idp1/disconnect"),
        (Method::POST, "/keys"),
        (Method::POST, "/keys/x/revoke"),
    ] {
        for headers in [
            vec![
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            vec![("origin", "https://evil.example")],
            vec![("origin", "null")],
            vec![
                ("origin", "https://app.example.org"),
                ("sec-fetch-site", "cross-site"),
            ],
            vec![("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![],
        ] {
            let mut request = ada.request(method.clone(), path);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(
                kind(answer, StatusCode::FORBIDDEN).await,
                "foreign-origin",
                "{path} {headers:?}"
            );
        }
    }
    ada.token("idp1").await;
}

#[tokio::test]
async fn forms_without_their_token() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    for path in ["/links/idp1/disconnect", "/keys", "/api/oidc/logout"] {
        for form in [vec![], vec![("form_token", "")], vec![("form_token", "guessed")]] {
            let answer = ada.send(ada.own(Method::POST, path).form(&form)).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {form:?}");
        }
    }
    // Nor is another session's any use.
    let other = world.signed_in("ada").await;
    let page = other
        .send(other.request(Method::GET, "/").header("accept", "text/html"))
        .await
        .text()
        .await
        .unwrap();
    let token = page
        .split("name=\"form_token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let answer = ada
        .send(
            ada.own(Method::POST, "/links/idp1/disconnect")
                .form(&[("form_token", &token)]),
        )
        .await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    ada.token("idp1").await;
}

#[tokio::test]
async fn leading_the_browser_astray_by_the_return_url() {
    let world = World::start(&["return_urls=https://app.example.org/in"]).await;
    let ada = world.signed_in("ada").await;
    for evil in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "https://app.example.org@evil.example/in",
        "https://app.example.org:444/in",
        "https://app.example.org/inside",
        "https://app.example.org/in/%2e%2e/out",
        "javascript:alert(1)",
        "/\t/evil.example",
    ] {
        for path in ["/api/oidc/login", "/api/v1.0/idp1/authorize"] {
            let request = ada.request(Method::GET, path).query(&[("return_url", evil)]);
            let answer = ada.send(request).await;
            assert_eq!(kind(answer, StatusCode::BAD_REQUEST).await, "invalid", "{evil}");
        }
        let request = ada
            .own(Method::POST, "/api/v1.0/idp1/authorize")
            .json(&json!({"return_url": evil}));
        assert_eq!(
            ada.send(request).await.status(),
            StatusCode::BAD_REQUEST,
            "{evil}"
        );
    }
}

#[tokio::test]
async fn framing_the_page() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    for path in ["/", "/links/idp1/disconnect", "/api/whoami"] {
        let answer = ada
            .send(ada.request(Method::GET, path).header("accept", "text/html"))
            .await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
            "{policy}"
        );
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
    }
}

#[tokio::test]
async fn reaching_the_inner_network_through_a_provider() {
    let world = World::start(&["outgoing.allow_private=false"]).await;
    // The login provider is at a private address here: nothing was asked of it.
    let answer = world.visitor().get("/api/oidc/login").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ada = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(world.bearer("ada"))
        .send()
        .await
        .unwrap();
    assert_eq!(ada.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((world.login.key_fetches(), world.idp.key_fetches()), (0, 0));
}

#[tokio::test]
async fn reaching_the_inner_network_through_what_a_provider_says_of_itself() {
    // Another address of this machine, which the configuration does not allow.
    let inner = Receiver::start_on(TcpListener::bind("127.0.0.2:0").unwrap());
    let endpoint = |name: &str| format!("providers.idp1.{name}={}/{name}", inner.url);
    let by_hand = [
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "revocation_endpoint",
    ]
    .map(endpoint);
    for names in [&by_hand[..1], &by_hand[1..3], &by_hand[3..]] {
        let mut settings: Vec<&str> = names.iter().map(String::as_str).collect();
        settings.push("outgoing.allow_private=127.0.0.1/32");
        let world = World::start(&settings).await;
        let ada = world.signed_in("ada").await;
        let back = ada.to_callback("idp1").await;
        let to = location(&ada.get(back.as_str()).await).unwrap();
        if names.len() == 1 && names[0].contains("revocation") {
            assert_eq!(parameter(&to, "error"), None, "linked");
            ada.post("/api/v1.0/idp1/revoke").await;
            let client = world.tokenstore.database.connect("tokenstore").await;
            eventually("it was tried", async || {
                let sql = "SELECT last_error FROM outbox WHERE attempts > 0";
                let tried = client.query_opt(sql, &[]).await.unwrap()?;
                tried
                    .get::<_, String>(0)
                    .contains("private address")
                    .then_some(())
            })
            .await;
        } else {
            assert_eq!(
                parameter(&to, "error").as_deref(),
                Some("temporarily_unavailable"),
                "{names:?}"
            );
        }
    }
    assert!(inner.received().is_empty(), "{:?}", inner.received());
}
