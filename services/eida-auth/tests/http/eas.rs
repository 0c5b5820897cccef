//! JWT access tokens of the new EAS.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_core::crypto::jwt::{Algorithm, Claims};
use identity_testkit::{ForeignIssuer, TestService};
use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::signer::{PATH, Signer, answer, connect, count, login, row, started};

async fn with_eas(more: &[&str]) -> (TestService, Signer, ForeignIssuer) {
    let eas = ForeignIssuer::start(Algorithm::RS256);
    let issuer = format!("eas.issuer={}", eas.url);
    let settings: Vec<&str> = std::iter::once(issuer.as_str())
        .chain(more.iter().copied())
        .collect();
    let (eida, signer) = started(&settings).await;
    (eida, signer, eas)
}

async fn by_bearer(eida: &TestService, token: &str) -> (StatusCode, String) {
    let answer = eida.post("/").bearer_auth(token).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_jwt_of_the_eas_gives_a_login_as_the_bearer_and_as_the_body() {
    let (eida, signer, eas) = with_eas(&[]).await;
    let client = connect(&eida).await;
    for memberships in [json!(format!("{PATH};/other")), json!([PATH, "/other"])] {
        let token = eas.token(
            "fdsn",
            "jane",
            &json!({"memberof": memberships}),
            eida.clock.now(),
        );
        let (status, text) = by_bearer(&eida, &token).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        login(&eida, format!(" {token}\n")).await;
    }
    assert_eq!(count(&client, "eida_temp_users").await, 4);
    // It ends with the token, in five minutes.
    let ends: jiff::Timestamp = client
        .query_one("SELECT max(expires_at) FROM users", &[])
        .await
        .unwrap()
        .get(0);
    assert!(ends.duration_since(eida.clock.now()).as_secs() <= 300);
    // Tokens of OpenPGP go on being accepted.
    login(&eida, signer.token(&eida, PATH, 600, "")).await;
}

#[tokio::test]
async fn a_jwt_has_as_many_logins_as_any_token() {
    let (eida, _, eas) = with_eas(&["credentials.max_per_token=2"]).await;
    let token = eas.token("fdsn", "jane", &json!({"memberof": PATH}), eida.clock.now());
    login(&eida, token.clone()).await;
    assert_eq!(by_bearer(&eida, &token).await.0, StatusCode::OK);
    assert_eq!(by_bearer(&eida, &token).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer(&eida, token).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn what_is_no_good_token_of_the_eas_is_refused() {
    let (eida, _, eas) = with_eas(&["token_url=https://tokens.example.org/"]).await;
    let now = eida.clock.now();
    let own = json!({"memberof": PATH});
    let good = eas.token("fdsn", "jane", &own, now);
    let other = ForeignIssuer::start(Algorithm::RS256);
    let of_the_same_name = other.sign(&Claims {
        issuer: eas.url.clone(),
        subject: "jane".to_owned(),
        audience: vec!["fdsn".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(5),
        id: String::new(),
        own: own.clone(),
    });
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let encode = |text: String| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let decoded = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    let mut claims: Value = serde_json::from_slice(&decoded).unwrap();
    claims["memberof"] = json!("/all");
    let changed = format!("{head}.{}.{signature}", encode(claims.to_string()));
    let none = format!(
        "{}.{payload}.",
        encode(json!({"alg": "none", "typ": "JWT"}).to_string())
    );
    for (what, token) in [
        ("another audience", eas.token("portal", "jane", &own, now)),
        ("another issuer", other.token("fdsn", "jane", &own, now)),
        ("another key", of_the_same_name),
        ("changed", changed),
        ("no signature", none),
        (
            "not yet valid",
            eas.token("fdsn", "jane", &own, now + SignedDuration::from_hours(1)),
        ),
        ("nonsense", "eyJ.eyJ.x".to_owned()),
    ] {
        for (status, text) in [by_bearer(&eida, &token).await, answer(&eida, token.clone()).await] {
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{what}: {text}");
            assert!(
                text.contains("not a valid token of the authentication system"),
                "{what}: {text}"
            );
        }
    }
    let token = eas.token("fdsn", "jane", &json!({"memberof": 5}), now);
    assert!(by_bearer(&eida, &token).await.1.contains("memberships"));
    let (status, text) = by_bearer(&eida, &eas.token("fdsn", "jane", &json!({}), now)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("Its memberships: none."), "{text}");
    // One that was good and is over.
    for over in [Duration::from_secs(310), Duration::from_hours(1)] {
        eida.clock.advance(over);
        let (status, text) = by_bearer(&eida, &good).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(
            text.starts_with("The token expired at 20") && text.contains("https://tokens.example.org/"),
            "{text}"
        );
    }
    let client = connect(&eida).await;
    assert_eq!(count(&client, "users").await, 0);
}

#[tokio::test]
async fn only_rs256_is_accepted() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let eas = ForeignIssuer::start(algorithm);
        let (eida, _) = started(&[&format!("eas.issuer={}", eas.url)]).await;
        let token = eas.token("fdsn", "jane", &json!({"memberof": PATH}), eida.clock.now());
        assert_eq!(
            by_bearer(&eida, &token).await.0,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
    }
}

#[tokio::test]
async fn audience_claim_and_keys_are_configured() {
    let eas = ForeignIssuer::start(Algorithm::RS256);
    let settings = [
        "eas.issuer=https://eas.example.org".to_owned(),
        format!("eas.jwks_uri={}/keys", eas.url),
        "eas.audience=archive".to_owned(),
        "eas.memberships_claim=groups".to_owned(),
    ];
    let (eida, _) = started(&settings.each_ref().map(String::as_str)).await;
    let now = eida.clock.now();
    let token = eas.sign(&Claims {
        issuer: "https://eas.example.org".to_owned(),
        subject: "jane".to_owned(),
        audience: vec!["archive".to_owned(), "portal".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(5),
        id: String::new(),
        own: json!({"groups": PATH, "memberof": "/nothing"}),
    });
    assert_eq!(by_bearer(&eida, &token).await.0, StatusCode::OK);
    assert_eq!(
        row(&connect(&eida).await, "SELECT network FROM eida_temp_users").await["network"],
        "Z3"
    );
}

#[tokio::test]
async fn without_an_eas_a_bearer_is_not_looked_at() {
    let eas = ForeignIssuer::start(Algorithm::RS256);
    let (eida, signer) = started(&[]).await;
    let token = eas.token("fdsn", "jane", &json!({"memberof": PATH}), eida.clock.now());
    let (status, text) = by_bearer(&eida, &token).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(text.starts_with("There is no token"), "{text}");
    assert_eq!(
        answer(&eida, token.clone()).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let request = eida
        .post("/")
        .bearer_auth(token)
        .body(signer.token(&eida, PATH, 600, ""));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(eas.fetches(), 0);
}

#[tokio::test]
async fn an_eas_that_does_not_answer_refuses_its_own_tokens_only() {
    let (eida, signer, eas) = with_eas(&["outgoing.timeout=1s"]).await;
    eas.receiver.behave(|_| identity_testkit::Behaviour::Answer(500));
    let token = eas.token("fdsn", "jane", &json!({"memberof": PATH}), eida.clock.now());
    assert_eq!(
        by_bearer(&eida, &token).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    login(&eida, signer.token(&eida, PATH, 600, "")).await;
}
