//! Pages of other origins that call the API.

use reqwest::{Method, StatusCode};

use crate::world::World;

#[tokio::test]
async fn a_listed_origin_may_read_answers_and_errors_and_no_other_may() {
    let world = World::start(&["cors.allowed_origins=https://app.example.org,https://b.example"]).await;
    for (origin, allowed) in [
        ("https://app.example.org", true),
        ("https://b.example", true),
        ("https://evil.example", false),
        ("https://app.example.org.evil.example", false),
        ("http://app.example.org", false),
        ("null", false),
    ] {
        for path in ["/api/whoami", "/api/v1.0/nobody/token"] {
            for token in [Some(world.bearer("ada")), None] {
                let mut request = world.tokenstore.get(path).header("origin", origin);
                if let Some(token) = &token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.unwrap();
                let header = answer.headers().get("access-control-allow-origin");
                assert_eq!(header.is_some(), allowed, "{origin} {path} {}", answer.status());
                assert!(header.is_none_or(|header| header == origin));
                assert!(answer.headers()["vary"].to_str().unwrap().contains("Origin"));
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_an_identity() {
    let world = World::start(&["cors.allowed_origins=https://app.example.org"]).await;
    let ask = async |origin: &'static str| {
        let request = world.tokenstore.request(Method::OPTIONS, "/api/v1.0/idp1/revoke");
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        request.send().await.unwrap()
    };
    let answer = ask("https://app.example.org").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(
        answer.headers()["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    assert!(
        answer.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("Authorization")
    );
    let answer = ask("https://evil.example").await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}
