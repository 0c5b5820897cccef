//! Tokens of other issuers, which `auth.trusted_issuers` names.

use std::time::Duration;

use identity_core::crypto::jwt::{Algorithm, Claims};
use identity_testkit::{Behaviour, ForeignIssuer, TestService};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::IDENT;
use crate::callers::status_with;

async fn trusting(issuer: &ForeignIssuer, more: &str) -> TestService {
    let trusted = format!(
        "auth.trusted_issuers=[{{issuer = '{}', audience = 'ident'{more}}}]",
        issuer.url
    );
    IDENT.start(&["auth.records=token", &trusted]).await
}

fn reader() -> Value {
    json!({"permissions": ["users:read"]})
}

fn token(issuer: &ForeignIssuer, ident: &TestService) -> String {
    issuer.token("ident", "somebody", &reader(), ident.clock.now())
}

#[tokio::test]
async fn a_trusted_issuers_token_permits_what_it_says_and_no_more() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let issuer = ForeignIssuer::start(algorithm);
        let ident = trusting(&issuer, "").await;
        let token = token(&issuer, &ident);
        assert_eq!(status_with(&ident, &token).await, 200, "{algorithm:?}");
        let made = ident.post("/").bearer_auth(&token).json(&json!({})).send();
        assert_eq!(made.await.unwrap().status(), 403, "it permits reading only");
        let unpermitted = issuer.token("ident", "somebody", &json!({}), ident.clock.now());
        assert_eq!(status_with(&ident, &unpermitted).await, 403);
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_named_or_another_audience_gets_nobody_in() {
    let (trusted, stranger) = (
        ForeignIssuer::start(Algorithm::ES256),
        ForeignIssuer::start(Algorithm::ES256),
    );
    let ident = trusting(&trusted, "").await;
    let now = ident.clock.now();
    assert_eq!(status_with(&ident, &token(&stranger, &ident)).await, 401);
    assert_eq!(stranger.fetches(), 0, "who is not trusted is not asked for keys");
    let elsewhere = trusted.token("another service", "somebody", &reader(), now);
    assert_eq!(status_with(&ident, &elsewhere).await, 401);
    // In the trusted one's name, under the stranger's key.
    let claims = Claims {
        issuer: trusted.url.clone(),
        subject: "somebody".to_owned(),
        audience: vec!["ident".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(5),
        id: "forged".to_owned(),
        own: reader(),
    };
    assert_eq!(status_with(&ident, &stranger.sign(&claims)).await, 401);
}

#[tokio::test]
async fn a_foreign_token_ends_with_its_time_and_a_minute_for_its_clock() {
    let issuer = ForeignIssuer::start(Algorithm::ES256);
    let ident = trusting(&issuer, "").await;
    let token = token(&issuer, &ident);
    ident.clock.advance(Duration::from_secs(5 * 60 + 30));
    assert_eq!(status_with(&ident, &token).await, 200);
    ident.clock.advance(Duration::from_mins(1));
    assert_eq!(status_with(&ident, &token).await, 401);
}

#[tokio::test]
async fn keys_are_fetched_again_for_an_unknown_one_once_a_minute() {
    let issuer = ForeignIssuer::start(Algorithm::ES256);
    let ident = trusting(&issuer, "").await;
    let old = token(&issuer, &ident);
    for _ in 0..5 {
        assert_eq!(status_with(&ident, &old).await, 200);
    }
    assert_eq!(issuer.fetches(), 1);
    issuer.rotate(Algorithm::RS256);
    for _ in 0..5 {
        assert_eq!(
            status_with(&ident, &token(&issuer, &ident)).await,
            401,
            "just looked"
        );
    }
    assert_eq!(issuer.fetches(), 1);
    ident.clock.advance(Duration::from_secs(61));
    assert_eq!(status_with(&ident, &token(&issuer, &ident)).await, 200);
    assert_eq!(status_with(&ident, &old).await, 401, "its key is withdrawn");
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn the_keys_can_be_where_the_configuration_says() {
    let issuer = ForeignIssuer::start(Algorithm::EdDSA);
    let ident = trusting(&issuer, &format!(", jwks_uri = '{}/keys'", issuer.url)).await;
    assert_eq!(status_with(&ident, &token(&issuer, &ident)).await, 200);
    let asked: Vec<_> = issuer
        .receiver
        .received()
        .iter()
        .map(|one| one.path.clone())
        .collect();
    assert_eq!(asked, ["/keys"], "discovery is not asked");
}

#[tokio::test]
async fn an_issuer_that_fails_or_talks_nonsense_gets_nobody_in_and_stops_nobody() {
    let issuer = ForeignIssuer::start(Algorithm::ES256);
    let ident = trusting(&issuer, "").await;
    let other = format!("{}/other", issuer.url);
    for answer in [
        Behaviour::Answer(500),
        Behaviour::Json(200, json!("no document")),
        Behaviour::Json(
            200,
            json!({"issuer": other, "jwks_uri": format!("{}/keys", issuer.url)}),
        ),
        Behaviour::Json(
            200,
            json!({"issuer": issuer.url, "jwks_uri": "not a URL", "keys": [{"kty": "oct"}]}),
        ),
        Behaviour::Redirect(302, "http://127.0.0.1:1/".to_owned()),
    ] {
        issuer.receiver.behave(move |_| answer.clone());
        assert_eq!(status_with(&ident, &token(&issuer, &ident)).await, 401);
        ident.clock.advance(Duration::from_secs(61));
    }
    issuer.answer();
    let good = token(&issuer, &ident);
    assert_eq!(status_with(&ident, &good).await, 200);
    // An unknown key makes the instance ask an issuer that hangs; those whose key is known go on.
    ident.clock.advance(Duration::from_secs(61));
    issuer
        .receiver
        .behave(|_| Behaviour::Hang(Duration::from_secs(20)));
    issuer.rotate(Algorithm::ES256);
    let unknown = token(&issuer, &ident);
    tokio::select! {
        biased;
        status = status_with(&ident, &unknown) => panic!("answered {status} while the issuer hangs"),
        () = async {
            while issuer.receiver.received().last().is_none_or(|one| one.status != 0) {
                tokio::task::yield_now().await;
            }
            assert_eq!(status_with(&ident, &good).await, 200);
        } => {}
    }
}
