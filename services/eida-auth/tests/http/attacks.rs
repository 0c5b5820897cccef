//! Attacks with JWTs (RFC 8725), with what a signed token says, and on what is stored. Those with `OpenPGP` messages are
//! in `tokens.rs`. Each test is named after what it tries.

use std::fmt::Write;

use identity_core::crypto::jwt::{Algorithm, PublicKey};
use identity_testkit::{Forge, Receiver, forgeries, part_of};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::signer::{PATH, answer, connect, count, login, started};

#[tokio::test]
async fn jwts_that_a_forger_would_send_give_no_login() {
    let forge = Forge::new(Algorithm::RS256);
    let eas = forge.issuer();
    let (eida, _) = started(&[&format!("eas.issuer={}", eas.url)]).await;
    let good = eas.token("fdsn", "jane", &json!({"memberof": PATH}), eida.clock.now());
    login(&eida, good.clone()).await;
    let jwk = forge.key.public().jwk();
    let pem = PublicKey::from_jwk(jwk).unwrap().pem().to_owned();
    let evil = Receiver::start();
    let mut forged = forgeries(&good, jwk, &pem, &evil.url);
    let (header, said) = (part_of(&good, 0), part_of(&good, 1));
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("typ", json!("id+jwt")),
        ("typ", json!("logout+jwt")),
    ] {
        let mut other = header.clone();
        other[name] = value;
        forged.push((
            format!("{name} in the header"),
            forge.sign(&other.to_string(), &said.to_string()),
        ));
    }
    for (name, value) in [
        ("aud", json!("FDSN")),
        ("aud", json!([])),
        ("iss", json!(format!("{}/", eas.url))),
        ("exp", json!(1e300)),
        ("exp", json!("4000000000")),
        ("exp", json!(null)),
        ("nbf", json!(4_000_000_000_i64)),
        ("nonce", json!("of an ID token")),
        ("sub", json!(7)),
    ] {
        let mut other = said.clone();
        other[name] = value;
        forged.push((
            format!("{name} in the claims"),
            forge.sign(&header.to_string(), &other.to_string()),
        ));
    }
    let twice = said.to_string().replacen('{', "{\"aud\":\"fdsn\",", 1);
    forged.push((
        "a member twice".to_owned(),
        forge.sign(&header.to_string(), &twice),
    ));
    for (what, token) in &forged {
        let (status, text) = answer(&eida, token.clone()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{what}: {text}");
        if let Ok(answer) = eida.post("/").bearer_auth(token).send().await {
            let status = answer.status();
            assert!(status.is_client_error(), "{what}: {status}");
        }
    }
    assert!(evil.received().is_empty(), "nobody asks where a token says");
    assert_eq!(
        count(&connect(&eida).await, "users").await,
        1,
        "that of the good one"
    );
}

#[tokio::test]
async fn signed_json_that_no_parser_likes_gives_no_login() {
    let (eida, signer) = started(&[]).await;
    let end = r#""valid_until": "2099-01-01T00:00:00Z""#;
    let mut many = String::new();
    for number in 0..1001 {
        write!(many, "/group{number};").unwrap();
    }
    for content in [
        "[".repeat(100_000),
        "{\"a\":".repeat(50_000),
        format!(
            "{{{end}, \"memberof\": {}\"{PATH}\"{}}}",
            "[".repeat(200),
            "]".repeat(200)
        ),
        format!("{{{end}, \"memberof\": \"{PATH}\", \"memberof\": \"{PATH}\"}}"),
        format!("{{{end}, \"memberof\": \"{PATH}\", \"\\u006demberof\": \"/\"}}"),
        format!("{{{end}, {end}, \"memberof\": \"{PATH}\"}}"),
        format!("{{{end}, \"memberof\": \"{PATH}\\u0000\"}}"),
        format!("{{{end}, \"memberof\": \"{PATH}\\u001b\"}}"),
        format!("{{{end}, \"memberof\": \"{many}{PATH}\"}}"),
        format!("{{{end}, \"memberof\": \"{}\"}}", "/".repeat(2000)),
        format!("{{{end}, \"memberof\": 18446744073709551616}}"),
        format!("{{\"valid_until\": 18446744073709551616, \"memberof\": \"{PATH}\"}}"),
        format!("{{\"valid_until\": \"+999999-01-01T00:00:00Z\", \"memberof\": \"{PATH}\"}}"),
        format!("{{\"valid_until\": \"9999999999999-01-01T00:00:00Z\", \"memberof\": \"{PATH}\"}}"),
        format!("{{\"valid_until\": \"2099-01-01T00:00:00\\u0000Z\", \"memberof\": \"{PATH}\"}}"),
        format!("{{{end}, \"memberof\": \"{PATH}\", \"x\": 1e400}}"),
        format!("\u{feff}{{{end}, \"memberof\": \"{PATH}\"}}"),
    ] {
        let (status, text) = answer(&eida, signer.sign(&content)).await;
        let shown: String = content.chars().take(80).collect();
        assert!(
            [StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::PAYLOAD_TOO_LARGE].contains(&status),
            "{shown}: {status} {text}"
        );
    }
    // Unknown members are for others, of whatever kind.
    login(
        &eida,
        signer.sign(&format!(
            "{{{end}, \"memberof\": \"{PATH}\", \"x\": 18446744073709551616}}"
        )),
    )
    .await;
    assert_eq!(count(&connect(&eida).await, "users").await, 1);
}

#[tokio::test]
async fn a_path_that_looks_like_a_mapped_one_opens_nothing() {
    let (eida, signer) = started(&[]).await;
    for path in [
        "/epos/alparr\u{430}y",
        "/epos/al\u{200B}parray",
        "/epos/alparray\u{AD}",
        "/epos/ａlparray",
        "/EPOS/alparray",
        "/epos//alparray",
        "/epos/./alparray",
        "/epos/alparray/",
        "/epos/x/../alparray",
        "/epos/alparra_",
        "/epos/%",
        "/epos/alparray' OR '1'='1",
    ] {
        let (status, text) = answer(&eida, signer.token(&eida, path, 600, "")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {text}");
    }
    assert_eq!(count(&connect(&eida).await, "users").await, 0);
}

#[tokio::test]
async fn a_dump_of_the_database_tells_no_token_no_password_and_no_name() {
    let (eida, signer) = started(&[]).await;
    let token = signer.token(&eida, PATH, 600, "Jane Doe of the secret note");
    let (name, password) = login(&eida, token.clone()).await;
    let dump = eida.database.dump();
    assert!(dump.contains(&name), "the dump is what it should be");
    assert!(!dump.contains(&password) && !dump.contains("Jane Doe"));
    for line in token.lines().filter(|line| line.len() > 40) {
        assert!(!dump.contains(line), "{line}");
    }
}

#[tokio::test]
async fn pages_of_others_and_frames_get_nothing() {
    let (eida, signer) = started(&[]).await;
    let token = signer.token(&eida, PATH, 600, "");
    for (method, path, body) in [
        (Method::POST, "/", token.as_str()),
        (Method::POST, "/auth", "nonsense"),
        (Method::GET, "/version", ""),
        (Method::GET, "/application.wadl", ""),
        (Method::GET, "/docs/", ""),
        (Method::OPTIONS, "/", ""),
        (Method::TRACE, "/", ""),
    ] {
        let request = eida
            .request(method.clone(), path)
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "POST")
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        let policy = header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(rule), "{method} {path}: {policy}");
        }
        assert_eq!(header("x-frame-options"), "DENY", "{method} {path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{method} {path}");
        assert_eq!(
            header("access-control-allow-origin"),
            "",
            "no page of another origin reads it"
        );
        assert_eq!(header("set-cookie"), "", "there is nothing that a browser adds");
        if method == Method::POST && path == "/" {
            assert_eq!(header("cache-control"), "no-store");
        }
        if method == Method::TRACE {
            assert!(answer.status().is_client_error());
        }
    }
}

#[tokio::test]
async fn a_login_is_not_guessed() {
    let (eida, signer) = started(&["credentials.max_per_token=1000"]).await;
    let mut seen = std::collections::HashSet::new();
    let token = signer.token(&eida, PATH, 600, "");
    for _ in 0..50 {
        let (name, password) = login(&eida, token.clone()).await;
        assert!(seen.insert(name) && seen.insert(password), "none comes twice");
    }
    // 14 characters of 36 are 72 bits each: all characters occur, and none too often.
    let text: String = seen.into_iter().collect();
    let mut counts = std::collections::HashMap::new();
    for character in text.chars() {
        *counts.entry(character).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 36, "{counts:?}");
    assert!(
        counts.values().all(|count| (10..=80).contains(count)),
        "{counts:?}"
    );
}
