//! Bearer tokens of the login provider, and those that a forger would try.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{World, expect};

async fn status(world: &World, token: &str) -> u16 {
    let answer = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn a_token_of_the_login_provider_tells_who_is_calling() {
    let world = World::start(&["oidc.audience=store"]).await;
    let claims = json!({
        "sub": "carla", "aud": ["other", "store"], "name": "Carla", "email": "carla@example.org",
        "email_verified": false, "scope": "a b", "roles": ["r"],
    });
    let token = world.login.sign(&claims);
    let answer = world
        .tokenstore
        .get("/api/whoami")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    let who = expect(answer, StatusCode::OK).await;
    assert_eq!(who["id"], "carla");
    assert_eq!(who["email_verified"], false);
    assert_eq!(who["scopes"], json!(["a", "b"]));
    assert_eq!(who["roles"], json!(["r"]));
    assert_eq!(who["claims"]["sub"], "carla");
}

#[tokio::test]
async fn wrong_claims_are_refused_with_a_minute_for_clocks() {
    let world = World::start(&[]).await;
    let now = world.tokenstore.clock.now().as_second();
    for (claims, expected) in [
        (json!({}), 200),
        (json!({"aud": "somebody"}), 401),
        (json!({"aud": null}), 401),
        (json!({"iss": "https://evil.example"}), 401),
        (json!({"sub": ""}), 401),
        (json!({"exp": now - 50}), 200),
        (json!({"exp": now - 70}), 401),
        (json!({"iat": now + 50}), 200),
        (json!({"iat": now + 3000}), 401),
    ] {
        assert_eq!(
            status(&world, &world.login.sign(&claims)).await,
            expected,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_token_ends_also_for_who_remembers_it() {
    let world = World::start(&[]).await;
    let token = world.bearer("ada");
    assert_eq!(status(&world, &token).await, 200);
    world.advance(3661);
    assert_eq!(status(&world, &token).await, 401);
}

#[tokio::test]
async fn a_signature_that_is_none_or_made_with_a_public_key_is_refused() {
    let world = World::start(&[]).await;
    let good = world.bearer("ada");
    assert_eq!(status(&world, &good).await, 200);
    let parts: Vec<&str> = good.split('.').collect();
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let decode = |part: &str| {
        serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    let kid = decode(parts[0])["kid"].clone();
    let mut claims = decode(parts[1]);
    let jwks: Value = reqwest::get(format!("{}/jwks", world.login.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    claims["sub"] = "admin".into();
    let changed = format!("{}.{}.{}", parts[0], encode(&claims), parts[2]);
    let none = format!(
        "{}.{}.",
        encode(&json!({"alg": "none", "typ": "JWT", "kid": kid})),
        encode(&claims)
    );
    let none_signed = format!("{none}{}", parts[2]);
    let mut forged = vec![changed, none, none_signed];
    for secret in [
        jwks["keys"][0]["x"].as_str().unwrap().as_bytes(),
        jwks.to_string().as_bytes(),
        b"a secret/of+ours",
    ] {
        let signed = format!(
            "{}.{}",
            encode(&json!({"alg": "HS256", "typ": "JWT", "kid": kid})),
            encode(&claims)
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        forged.push(format!(
            "{signed}.{}",
            BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
        ));
    }
    // A key of the forger's own, in the token or at an address that it names.
    for header in [
        json!({"alg": "ES256", "typ": "JWT", "jwk": jwks["keys"][0]}),
        json!({"alg": "ES256", "typ": "JWT", "jku": "http://127.0.0.1:9/jwks", "kid": "x"}),
        json!({"alg": "ES256", "typ": "JWT", "kid": "../../dev/null"}),
    ] {
        forged.push(format!("{}.{}.{}", encode(&header), encode(&claims), parts[2]));
    }
    world.login.change(|ways| ways.signs_wrongly = true);
    forged.push(world.bearer("admin"));
    for token in &forged {
        assert_eq!(status(&world, token).await, 401, "{token}");
    }
    for token in ["", "x", "a.b.c", "....", &"x".repeat(20_000)] {
        assert_eq!(status(&world, token).await, 401);
    }
}

#[tokio::test]
async fn new_keys_are_fetched_at_most_once_a_minute() {
    let world = World::start(&[]).await;
    assert_eq!(status(&world, &world.bearer("ada")).await, 200);
    let fetched = world.login.key_fetches();
    world.login.rotate_keys();
    for _ in 0..5 {
        assert_eq!(
            status(&world, &world.bearer("ada")).await,
            401,
            "asked a moment ago"
        );
    }
    assert_eq!(world.login.key_fetches(), fetched);
    world.advance(61);
    assert_eq!(status(&world, &world.bearer("ada")).await, 200);
    assert_eq!(world.login.key_fetches(), fetched + 1);
}
