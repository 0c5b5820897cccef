//! Attacks with tokens (RFC 8725): each test is named after what it tries, and must not get in.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use identity_core::crypto::jwt::{Algorithm, Claims, SigningKey};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::callers::{administered, claims, header_of, sign_in, status_with};
use crate::people::expect;
use identity_testkit::TestService;

fn assembled(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!(
        "{}.{}.{}",
        part(header),
        part(claims),
        BASE64URL_NOPAD.encode(signature)
    )
}

/// A key that the instance signs with, known to the test.
async fn known_key(ident: &TestService, admin: &str) -> SigningKey {
    let pem = SigningKey::generate(Algorithm::ES256).unwrap();
    let body = json!({"private_key": pem.as_str()});
    let changed = ident
        .patch("/api/configuration")
        .bearer_auth(admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    SigningKey::from_pem(&pem).unwrap()
}

/// The claims of `token`, to be changed and signed again.
fn to_sign(token: &str) -> Claims<Value> {
    let said = claims(token);
    let moment = |name: &str| Timestamp::from_second(said[name].as_i64().unwrap()).unwrap();
    Claims {
        issuer: said["iss"].as_str().unwrap().to_owned(),
        subject: said["sub"].as_str().unwrap().to_owned(),
        audience: vec![said["aud"].as_str().unwrap().to_owned()],
        issued_at: moment("iat"),
        expires_at: moment("exp"),
        id: said["jti"].as_str().unwrap().to_owned(),
        own: json!({"type": said["type"], "permissions": said["permissions"]}),
    }
}

#[tokio::test]
async fn no_signature_at_all() {
    let (ident, admin) = administered(&[]).await;
    let said = claims(&admin);
    for algorithm in ["none", "None", "NONE", ""] {
        let mut header = header_of(&admin);
        header["alg"] = algorithm.into();
        assert_eq!(status_with(&ident, &assembled(&header, &said, b"")).await, 401);
    }
    let unsigned = admin.rsplit_once('.').unwrap().0;
    assert_eq!(status_with(&ident, &format!("{unsigned}.")).await, 401);
    assert_eq!(status_with(&ident, unsigned).await, 401);
}

#[tokio::test]
async fn the_public_key_as_a_shared_secret() {
    let (ident, admin) = administered(&[]).await;
    let shown = ident
        .get("/api/configuration")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let public = expect(shown, StatusCode::OK).await["public_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut header = header_of(&admin);
    header["alg"] = "HS256".into();
    let unsigned = assembled(&header, &claims(&admin), b"");
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(public.as_bytes()).unwrap();
    mac.update(unsigned.trim_end_matches('.').as_bytes());
    let token = format!(
        "{unsigned}{}",
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    );
    assert_eq!(status_with(&ident, &token).await, 401);
}

#[tokio::test]
async fn a_key_of_ones_own_in_the_header() {
    let (ident, admin) = administered(&[]).await;
    let own = SigningKey::from_pem(&SigningKey::generate(Algorithm::ES256).unwrap()).unwrap();
    let forged = own.sign(&to_sign(&admin), "at+jwt").unwrap();
    assert_eq!(status_with(&ident, &forged).await, 401, "with a kid of its own");
    let signature = forged.rsplit_once('.').unwrap().1;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    for kid in [
        header_of(&admin)["kid"].clone(),
        json!("../../../dev/null"),
        json!("' OR 1=1 --"),
        json!("\u{0}"),
        json!(7),
    ] {
        let header = json!({
            "alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": own.public().jwk(),
            "jku": format!("{}/.well-known/jwks.json", ident.url), "x5u": ident.url,
        });
        assert_eq!(
            status_with(&ident, &assembled(&header, &claims(&admin), &signature)).await,
            401
        );
    }
}

#[tokio::test]
async fn changed_claims_under_the_old_signature() {
    let (ident, admin) = administered(&[]).await;
    let signature = BASE64URL_NOPAD
        .decode(admin.rsplit_once('.').unwrap().1.as_bytes())
        .unwrap();
    let mut said = claims(&admin);
    said["exp"] = json!(4_000_000_000_i64);
    assert_eq!(
        status_with(&ident, &assembled(&header_of(&admin), &said, &signature)).await,
        401
    );
}

#[tokio::test]
async fn right_signatures_under_wrong_claims() {
    let (ident, admin) = administered(&[]).await;
    let key = known_key(&ident, &admin).await;
    let admin = sign_in(&ident, "admin").await;
    let good = to_sign(&admin);
    assert_eq!(
        status_with(&ident, &key.sign(&good, "at+jwt").unwrap()).await,
        200,
        "the forge itself works"
    );
    let hour = SignedDuration::from_hours(1);
    let wrong: Vec<(&str, Claims<Value>)> = vec![
        (
            "iss",
            Claims {
                issuer: "https://evil.example".into(),
                ..good.clone()
            },
        ),
        (
            "aud",
            Claims {
                audience: vec!["another".into()],
                ..good.clone()
            },
        ),
        (
            "expired",
            Claims {
                issued_at: good.issued_at - hour,
                expires_at: good.issued_at,
                ..good.clone()
            },
        ),
        (
            "not yet valid",
            Claims {
                issued_at: good.issued_at + hour,
                expires_at: good.expires_at + hour,
                ..good.clone()
            },
        ),
        (
            "jti",
            Claims {
                id: "x".into(),
                ..good.clone()
            },
        ),
        (
            "sub",
            Claims {
                subject: "admin".into(),
                ..good.clone()
            },
        ),
        (
            "type",
            Claims {
                own: json!({"type": "root", "permissions": ["users:read"]}),
                ..good.clone()
            },
        ),
        (
            "permissions",
            Claims {
                own: json!({"type": "user"}),
                ..good.clone()
            },
        ),
    ];
    for (what, claims) in wrong {
        assert_eq!(
            status_with(&ident, &key.sign(&claims, "at+jwt").unwrap()).await,
            401,
            "{what}"
        );
    }
    for typ in ["JWT", "id+jwt", "logout+jwt"] {
        assert_eq!(
            status_with(&ident, &key.sign(&good, typ).unwrap()).await,
            401,
            "{typ}"
        );
    }
}

#[tokio::test]
async fn a_token_for_another_audience() {
    let (ident, _) = administered(&[]).await;
    let body = json!({"username": "admin", "password": crate::callers::PASSWORD, "audience": "elsewhere"});
    let answer = expect(
        ident.post("/auth/login").json(&body).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(status_with(&ident, answer["token"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn what_is_no_token() {
    let (ident, admin) = administered(&[]).await;
    for token in [
        "x",
        "..",
        "a.b.c",
        &format!("{admin}x"),
        &format!("{admin}.x"),
        &"a".repeat(20_000),
    ] {
        assert_eq!(status_with(&ident, token).await, 401);
    }
    for header in [
        "Bearer",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        &format!("Token {admin}"),
    ] {
        let answer = ident
            .get("/")
            .header("authorization", header)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{header}");
    }
    let twice = ident
        .get("/")
        .header("authorization", "Bearer x")
        .header("authorization", format!("Bearer {admin}"));
    assert_eq!(twice.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_of_a_withdrawn_key() {
    let (ident, admin) = administered(&[]).await;
    assert_eq!(status_with(&ident, &admin).await, 200);
    let client = ident.database.connect("ident").await;
    client
        .batch_execute("UPDATE signing_keys SET withdrawn_at = created_at; NOTIFY ident_tokens")
        .await
        .unwrap();
    identity_testkit::eventually("the key is withdrawn", async || {
        let fresh = ident
            .get("/.well-known/jwks.json")
            .send()
            .await
            .ok()?
            .json::<Value>()
            .await
            .ok()?;
        fresh["keys"].as_array()?.is_empty().then_some(())
    })
    .await;
    // Another worker's cache must not keep it alive either.
    ident.clock.advance(Duration::from_secs(1));
    assert_eq!(status_with(&ident, &admin).await, 401);
}
