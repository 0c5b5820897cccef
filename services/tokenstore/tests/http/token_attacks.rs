//! Forged tokens (RFC 8725) as bearer and at the end of a login, what providers may say that nobody expects, and what
//! lies in the database. Each test is named after what it tries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_core::crypto::jwt::{Algorithm, PublicKey};
use identity_testkit::{Answer, Behaviour, Forge, Receiver, TestService, forgeries, part_of};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::visitor::{location, parameter};
use crate::world::{TOKENSTORE, World, kind};

/// A service whose login provider's key is known.
async fn known(forge: &Forge) -> (TestService, Receiver) {
    let provider = Receiver::start();
    let (url, jwk) = (provider.url.clone(), forge.key.public().jwk().clone());
    provider.behave(move |request| {
        Behaviour::Json(
            200,
            match request.path.as_str() {
                "/jwks" => json!({"keys": [jwk]}),
                _ => json!({
                    "issuer": url, "jwks_uri": format!("{url}/jwks"), "authorization_endpoint": format!("{url}/authorize"),
                    "token_endpoint": format!("{url}/token"), "response_types_supported": ["code"],
                    "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256", "ES256"],
                }),
            },
        )
    });
    let discovery = format!(
        "oidc.discovery_url={}/.well-known/openid-configuration",
        provider.url
    );
    (
        TOKENSTORE.start(&[&discovery, "oidc.audience=store"]).await,
        provider,
    )
}

async fn whoami(tokenstore: &TestService, token: &str) -> u16 {
    let answer = tokenstore
        .get("/api/whoami")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn bearer_tokens_that_a_forger_would_send_are_refused() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let forge = Forge::new(algorithm);
        let (tokenstore, provider) = known(&forge).await;
        let now = tokenstore.clock.now().as_second();
        let header = json!({"alg": algorithm.as_str(), "kid": forge.key.public().kid(), "typ": "at+jwt"});
        let said = json!({"iss": provider.url, "sub": "ada", "aud": "store", "iat": now, "exp": now + 300});
        let sign = |header: &Value, said: &Value| forge.sign(&header.to_string(), &said.to_string());
        let good = sign(&header, &said);
        assert_eq!(whoami(&tokenstore, &good).await, 200);
        let evil = Receiver::start();
        let jwk = forge.key.public().jwk();
        let pem = PublicKey::from_jwk(jwk).unwrap().pem().to_owned();
        for (what, forged) in forgeries(&good, jwk, &pem, &evil.url) {
            assert_eq!(whoami(&tokenstore, &forged).await, 401, "{what}");
        }
        assert!(evil.received().is_empty(), "nobody asks where a token says");
        for (name, value) in [
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("typ", json!("id+jwt")),
            ("typ", json!("logout+jwt")),
            ("typ", json!("dpop+jwt")),
        ] {
            let mut other = header.clone();
            other[name] = value.clone();
            assert_eq!(
                whoami(&tokenstore, &sign(&other, &said)).await,
                401,
                "{name}: {value}"
            );
        }
        for (name, value) in [
            ("nonce", json!("of an ID token")),
            ("at_hash", json!("x")),
            ("exp", json!(1e300)),
            ("exp", json!(-1)),
            ("exp", json!("4000000000")),
            ("nbf", json!(now + 3600)),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("sub", json!(null)),
            ("aud", json!([])),
            ("aud", json!("Store")),
            ("iss", json!(format!("{}/", provider.url))),
        ] {
            let mut other = said.clone();
            other[name] = value.clone();
            assert_eq!(
                whoami(&tokenstore, &sign(&header, &other)).await,
                401,
                "{name}: {value}"
            );
        }
        let twice = said.to_string().replacen('{', "{\"sub\":\"eve\",", 1);
        assert_eq!(
            whoami(&tokenstore, &forge.sign(&header.to_string(), &twice)).await,
            401
        );
    }
}

#[tokio::test]
async fn names_with_nul_in_a_bearer_token() {
    let forge = Forge::new(Algorithm::ES256);
    let (tokenstore, provider) = known(&forge).await;
    let now = tokenstore.clock.now().as_second();
    let header = json!({"alg": "ES256", "kid": forge.key.public().kid()}).to_string();
    for (name, value) in [
        ("sub", json!("a\u{0}b")),
        ("name", json!("a\u{0}b")),
        ("email", json!("a\u{0}@example.org")),
        ("roles", json!(["\u{0}"])),
        ("other", json!({"\u{0}": "\u{0}"})),
        ("sub", json!("s".repeat(9000))),
    ] {
        let mut said =
            json!({"iss": provider.url, "sub": "ada", "aud": "store", "iat": now, "exp": now + 300});
        said[name] = value.clone();
        let token = forge.sign(&header, &said.to_string());
        for (method, path) in [
            (Method::GET, "/api/whoami"),
            (Method::GET, "/api/v1.0/authorizations"),
            (Method::GET, "/api/v1.0/keys"),
            (Method::POST, "/api/v1.0/keys"),
        ] {
            let mut request = tokenstore.request(method.clone(), path).bearer_auth(&token);
            if method == Method::POST {
                request = request.json(&json!({"name": "x"}));
            }
            let status = request.send().await.unwrap().status().as_u16();
            assert!(status < 500, "{name}: {value} {method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn id_tokens_that_a_forger_would_send_end_no_login() {
    let world = World::start(&[]).await;
    let jwks: Value = reqwest::get(format!("{}/jwks", world.login.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let jwk = &jwks["keys"][0];
    let pem = PublicKey::from_jwk(jwk).unwrap().pem().to_owned();
    let evil = Receiver::start();
    let count = forgeries(&world.login.sign(&json!({})), jwk, &pem, &evil.url).len();
    for number in 0..=count {
        let ada = world.visitor();
        let to = location(&ada.get("/api/oidc/login?return_url=/api/whoami").await).unwrap();
        let nonce = parameter(&to, "nonce").unwrap();
        let good = world.login.sign(&json!({"nonce": nonce, "name": "Ada"}));
        // The last one is good, so that the test is one.
        let mut all = forgeries(&good, jwk, &pem, &evil.url);
        all.push(("good".to_owned(), good));
        let (what, token) = all.swap_remove(number);
        world
            .login
            .change(|ways| ways.token = Answer::With(json!({"id_token": token})));
        let answer = ada.walk(to.as_str()).await;
        if what == "good" {
            assert_eq!(answer.status(), StatusCode::OK);
        } else {
            // 503 where it is so far from a token that the whole answer is nonsense.
            assert!(
                [400, 503].contains(&answer.status().as_u16()),
                "{what}: {}",
                answer.status()
            );
            assert_eq!(
                ada.get("/api/whoami").await.status(),
                StatusCode::UNAUTHORIZED,
                "{what}"
            );
        }
    }
    assert!(evil.received().is_empty(), "nobody asks where a token says");
}

#[tokio::test]
async fn a_login_provider_that_says_what_no_database_stores() {
    let world = World::start(&[]).await;
    for claims in [
        json!({"name": "a\u{0}b", "email": "a\u{0}@example.org"}),
        json!({"sub": "a\u{0}b"}),
        json!({"roles": ["\u{0}"], "\u{0}": 1}),
        json!({"name": "n".repeat(100_000)}),
        json!({"name": 7, "email": {"a": 1}, "email_verified": "maybe", "roles": {"x": []}}),
    ] {
        world.login.change(|ways| ways.claims = claims.clone());
        let answer = world
            .visitor()
            .walk("/api/oidc/login?return_url=/api/whoami")
            .await;
        let status = answer.status().as_u16();
        let shown: String = claims.to_string().chars().take(60).collect();
        // 503 where its answer as a whole is nonsense.
        assert!(status < 500 || status == 503, "{shown}: {status}");
    }
}

#[tokio::test]
async fn a_provider_that_answers_what_no_parser_likes() {
    let world = World::start(&[]).await;
    let ada = world.signed_in("ada").await;
    let usual = r#""token_type": "Bearer""#;
    for body in [
        String::new(),
        "null".to_owned(),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("{{\"access_token\": \"a\", {usual}, \"access_token\": \"b\"}}"),
        format!("{{\"access_token\": \"a\\u0000b\", {usual}}}"),
        format!("{{\"access_token\": \"a\\nSet-Cookie: x=y\", {usual}}}"),
        format!("{{\"access_token\": \"\", {usual}}}"),
        format!("{{\"access_token\": 7, {usual}}}"),
        format!("{{\"access_token\": \"a\", {usual}, \"expires_in\": 18446744073709551616}}"),
        format!("{{\"access_token\": \"a\", {usual}, \"expires_in\": 1e300}}"),
        format!("{{\"access_token\": \"a\", {usual}, \"expires_in\": -9223372036854775809}}"),
        format!(
            "{{\"access_token\": \"a\", {usual}, \"scope\": \"{}\"}}",
            "s ".repeat(100_000)
        ),
        format!("{{\"access_token\": \"a\", {usual}, \"scope\": \"\\u0000\"}}"),
        r#"{"access_token": "a", "token_type": "\u0000"}"#.to_owned(),
        format!("{{\"access_token\": \"a\", {usual}, \"refresh_token\": \"\\u0000\"}}"),
        format!("{{\"access_token\": \"{}\", {usual}}}", "a".repeat(5_000_000)),
        "\u{feff}{}".to_owned(),
    ] {
        world.idp.change(|ways| {
            ways.openid = false;
            ways.token = Answer::Fixed(200, body.clone());
        });
        let shown: String = body.chars().take(60).collect();
        let back = ada.to_callback("idp1").await;
        let answer = ada.get(back.as_str()).await;
        assert!(answer.status().as_u16() < 500, "{shown}: {}", answer.status());
        for path in ["/api/v1.0/authorizations", "/api/v1.0/idp1/token", "/"] {
            let answer = ada.get(path).await;
            let status = answer.status().as_u16();
            assert!(status < 500 || status == 503, "{shown}: {path} {status}");
            assert!(!answer.headers().contains_key("x") && !answer.text().await.unwrap().contains('\u{0}'));
        }
    }
}

#[tokio::test]
async fn requests_that_no_parser_likes_end_in_an_answer() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let mut bodies = vec![
        "[".repeat(30_000),
        "{\"a\":".repeat(10_000),
        r#"{"name": "a", "\u006eame": "b"}"#.to_owned(),
        format!("{{\"name\": \"{}\"}}", "x".repeat(70 * 1024)),
    ];
    for member in ["name", "expires_in", "return_url", "other"] {
        for value in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e308",
            "-0.0",
            "1e-400",
            r#""a\u0000b""#,
            r#""\u001b[2J""#,
            r#""99999999999999999999d""#,
            r#""\u202e""#,
            "null",
            "{}",
            "[[]]",
        ] {
            bodies.push(format!("{{\"{member}\": {value}}}"));
            bodies.push(format!("{{\"name\": \"x\", \"{member}x\": {value}}}"));
        }
    }
    for path in [
        "/api/v1.0/keys",
        "/api/v1.0/idp1/authorize",
        "/api/v1.0/idp1/revoke",
        "/api/oidc/logout",
    ] {
        for body in &bodies {
            let request = ada
                .own(Method::POST, path)
                .header("content-type", "application/json")
                .body(body.clone());
            let status = ada.send(request).await.status().as_u16();
            let shown: String = body.chars().take(60).collect();
            assert!(status < 500, "{path} {shown}: {status}");
        }
    }
    let ada = world.linked().await;
    for path in [
        "/api/v1.0/%00/token",
        "/api/v1.0/idp1/token?min_ttl=99999999999999999999",
        "/api/v1.0/idp1/token?min_ttl=-1",
        "/api/v1.0/idp1/token?min_ttl=1e300",
        "/api/v1.0/idp1/token?min_ttl=1&min_ttl=2",
        "/api/v1.0/idp1/redirect_uri?state=%00&code=%00",
        "/api/v1.0/idp1/redirect_uri?state=a&state=b&code=%ff",
        "/api/oidc/callback?state=%00&code=%00&iss=%00",
        "/api/oidc/login?return_url=%00",
        "/api/v1.0/idp1/authorize?return_url=%ff%fe",
        "/links/%00/disconnect",
        "/links/%ff/disconnect",
    ] {
        let answer = ada.get(path).await;
        assert!(answer.status().as_u16() < 500, "{path}: {}", answer.status());
    }
    for name in [
        "\u{0}",
        "\u{202E}abc",
        "<script>alert(1)</script>",
        "\" onload=\"x",
    ] {
        let form = ada
            .own(Method::POST, "/keys")
            .form(&[("name", name), ("form_token", "x")]);
        assert!(ada.send(form).await.status().as_u16() < 500, "{name}");
    }
}

#[tokio::test]
async fn secrets_of_another_authorization_are_never_used() {
    let world = World::start(&[]).await;
    let (ada, ben) = (world.signed_in("ada").await, world.signed_in("ben").await);
    let (of_ada, of_ben) = (ada.to_callback("idp1").await, ben.to_callback("idp1").await);
    let client = world.tokenstore.database.connect("tokenstore").await;
    let swap = "UPDATE link_states a SET secrets = b.secrets FROM link_states b WHERE a.digest <> b.digest";
    assert_eq!(client.execute(swap, &[]).await.unwrap(), 2);
    for (visitor, back) in [(&ada, &of_ada), (&ben, &of_ben)] {
        let answer = visitor.get(back.as_str()).await;
        assert_ne!(
            answer.status(),
            StatusCode::FOUND,
            "it is noticed before the provider is asked"
        );
        let token = visitor.get("/api/v1.0/idp1/token").await;
        assert_eq!(kind(token, StatusCode::BAD_REQUEST).await, "not_linked");
    }
    assert!(world.idp.requests().is_empty());
}

#[tokio::test]
async fn a_changed_ciphertext_is_noticed() {
    let world = World::start(&[]).await;
    let ada = world.linked().await;
    let client = world.tokenstore.database.connect("tokenstore").await;
    let stored: String = client
        .query_one("SELECT access_token FROM links", &[])
        .await
        .unwrap()
        .get(0);
    let given = ada.token("idp1").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    for at in [stored.len() / 4, stored.len() / 2, stored.len() - 10] {
        let mut changed = stored.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        client
            .execute("UPDATE links SET access_token = $1", &[&changed])
            .await
            .unwrap();
        let answer = ada.get("/api/v1.0/idp1/token").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let text = answer.text().await.unwrap();
        assert!(!text.contains(&given) && !text.contains(&changed), "{text}");
    }
    client
        .execute("UPDATE links SET access_token = $1", &[&stored])
        .await
        .unwrap();
    assert_eq!(ada.token("idp1").await["access_token"], given);
    assert_eq!(part_of(&world.bearer("ada"), 1)["sub"], "ada");
}
