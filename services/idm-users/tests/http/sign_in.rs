//! `POST /auth`, and whose token is accepted.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use identity_core::clock::Clock;
use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use identity_testkit::TestDatabase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::IDM;
use crate::people::{
    ADMIN, PASSWORD, administered, claims, get, make_admin, make_user, request, send, sign_in, token, told,
};

const SECRET: &[u8] = b"a secret of a test, of thirty-two bytes or more";

#[tokio::test]
async fn who_signs_in_gets_a_token_that_says_who_they_are() {
    let (idm, token) = administered(&[
        "jwt.iss=our-site",
        "jwt.aud=our-app",
        "jwt.expiration_seconds=600",
    ])
    .await;
    let key = SharedKey::new(SharedAlgorithm::HS256, SECRET).unwrap();
    let verified: Value = key.claims(&token).unwrap();
    let now = idm.clock.now().as_second();
    assert_eq!(
        (&verified["iss"], &verified["aud"]),
        (&json!("our-site"), &json!("our-app"))
    );
    assert!(verified["identity"].is_i64());
    assert!(verified["jti"].as_str().unwrap().len() > 20);
    assert!((now - verified["iat"].as_i64().unwrap()).abs() < 30);
    assert_eq!(verified["iat"], verified["nbf"]);
    assert_eq!(
        verified["exp"].as_i64().unwrap() - verified["iat"].as_i64().unwrap(),
        600
    );
    let other = crate::people::token(&idm, ADMIN, PASSWORD).await;
    assert_ne!(claims(&other)["jti"], verified["jti"]);
}

#[tokio::test]
async fn the_username_is_compared_without_case() {
    let (idm, _) = administered(&[]).await;
    assert_eq!(sign_in(&idm, " Admin@EXAMPLE.org", PASSWORD).await.status(), 200);
    assert_eq!(sign_in(&idm, ADMIN, "Winter-is-coming").await.status(), 401);
}

#[tokio::test]
async fn anything_else_is_401_and_what_is_no_json_400() {
    let (idm, _) = administered(&[]).await;
    for (username, password) in [
        (ADMIN, "wrong"),
        ("nobody@example.org", PASSWORD),
        ("", ""),
        ("\0", "\0"),
    ] {
        let body = json!({"username": username, "password": password});
        let (status, answer) = told(idm.post("/auth").json(&body)).await;
        assert_eq!(status, 401, "{answer}");
    }
    let refused = sign_in(&idm, ADMIN, "wrong").await;
    assert!(
        refused.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("JWT realm=\"")
    );
    for body in [
        json!({}),
        json!({"username": ADMIN}),
        json!({"username": 1, "password": PASSWORD}),
        json!([]),
    ] {
        assert_eq!(told(idm.post("/auth").json(&body)).await.0, 401);
    }
    assert_eq!(told(idm.post("/auth").body("{\"username\"")).await.0, 400);
}

#[tokio::test]
async fn a_token_is_shown_as_jwt_or_bearer_in_any_case() {
    let (idm, token) = administered(&[]).await;
    for scheme in ["JWT", "jwt", "Bearer", "bearer"] {
        let request = idm
            .get("/subject")
            .header("authorization", format!("{scheme} {token}"));
        assert_eq!(told(request).await.0, 200, "{scheme}");
    }
    for header in [
        format!("Basic {token}"),
        token.clone(),
        "JWT".to_owned(),
        format!("JWT {token}x"),
        "JWT a.b.c".to_owned(),
    ] {
        let answer = idm
            .get("/subject")
            .header("authorization", &header)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{header}");
        assert_eq!(answer.headers()["www-authenticate"], "JWT realm=\"idm-users\"");
    }
    assert_eq!(told(idm.get("/subject")).await.0, 401);
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let (idm, token) = administered(&["jwt.expiration_seconds=600"]).await;
    idm.clock.advance(Duration::from_secs(595));
    assert_eq!(get(&idm, &token, "/subject").await.0, 200);
    idm.clock.advance(Duration::from_secs(10));
    assert_eq!(get(&idm, &token, "/subject").await.0, 401);
}

#[tokio::test]
async fn a_new_password_ends_the_tokens_of_before() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let change = json!({"password": "another good one", "current_password": PASSWORD});
    assert_eq!(
        send(&idm, &mei, Method::PUT, "/user/mei@example.org", &change)
            .await
            .0,
        204
    );
    assert_eq!(get(&idm, &mei, "/subject").await.0, 401);
    assert_eq!(get(&idm, &admin, "/subject").await.0, 200, "nobody else's");
    let new = token(&idm, "mei@example.org", "another good one").await;
    assert_eq!(get(&idm, &new, "/subject").await.0, 200);
}

#[tokio::test]
async fn a_deleted_users_token_is_refused() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    let body = json!({"username": "mei@example.org"});
    assert_eq!(send(&idm, &admin, Method::DELETE, "/user", &body).await.0, 204);
    assert_eq!(get(&idm, &mei, "/subject").await.0, 401);
    assert_eq!(sign_in(&idm, "mei@example.org", PASSWORD).await.status(), 401);
    let again = make_user(&idm, &admin, "mei@example.org").await;
    assert_eq!(
        get(&idm, &mei, "/subject").await.0,
        401,
        "also when somebody else gets the name"
    );
    assert_eq!(get(&idm, &again, "/subject").await.0, 200);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let (idm, token) = administered(&[]).await;
    let key = SharedKey::new(SharedAlgorithm::HS256, SECRET).unwrap();
    let good = claims(&token);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&claims).unwrap()
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims).unwrap()
    };
    let mut refused = vec![
        with("iss", json!("another")),
        with("aud", json!("another")),
        with("nbf", json!(good["nbf"].as_i64().unwrap() + 3600)),
        with("exp", json!(1)),
        with("exp", json!(1.5e300)),
        with("identity", json!(987_654)),
        with("identity", json!(ADMIN)),
        with("jti", json!("7.x")),
    ];
    refused.extend(["iss", "aud", "iat", "nbf", "exp", "identity", "jti"].map(without));
    let other = SharedKey::new(SharedAlgorithm::HS256, &[1; 32]).unwrap();
    refused.push(other.sign(&good).unwrap());
    let stronger = [SECRET, SECRET].concat();
    refused.push(
        SharedKey::new(SharedAlgorithm::HS512, &stronger)
            .unwrap()
            .sign(&good)
            .unwrap(),
    );
    let rest = token.split_once('.').unwrap().1;
    for header in [
        r#"{"alg":"none","typ":"JWT"}"#,
        r#"{"alg":"RS256","typ":"JWT"}"#,
        "{}",
    ] {
        refused.push(format!("{}.{rest}", BASE64URL_NOPAD.encode(header.as_bytes())));
    }
    let unsigned = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
    refused.push(format!("{unsigned}.{}.", rest.split_once('.').unwrap().0));
    refused.push("a".repeat(100_000));
    for token in refused {
        let asked = request(&idm, &token, Method::GET, "/subject").send().await;
        // A header of that size is refused by the server itself.
        if let Ok(answer) = asked {
            assert!(matches!(answer.status().as_u16(), 400 | 401 | 431), "{token}");
        }
    }
}

#[tokio::test]
async fn other_algorithms_can_be_configured() {
    let long = "jwt.secret=a secret that is long enough for HS512, which wants sixty-four bytes of it";
    for algorithm in ["HS384", "HS512"] {
        // The template's database was written under the shorter secret of the others.
        let database = Arc::new(TestDatabase::empty().await);
        let settings = [&format!("jwt.algorithm={algorithm}"), long];
        let idm = IDM.start_on(database, &Clock::system(), &settings).await;
        make_admin(&idm).await;
        let token = token(&idm, ADMIN, PASSWORD).await;
        let header = token.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&BASE64URL_NOPAD.decode(header.as_bytes()).unwrap()).unwrap();
        assert_eq!(header["alg"], algorithm);
        assert_eq!(get(&idm, &token, "/subject").await.0, 200);
    }
}
