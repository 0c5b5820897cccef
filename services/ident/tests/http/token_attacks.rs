//! More attacks with tokens (RFC 8725), at every path that takes one: each test is named after what it tries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use data_encoding::BASE64URL_NOPAD;
use identity_core::crypto::jwt::{Algorithm, Claims, PublicKey, SigningKey};
use identity_testkit::{ForeignIssuer, Forge, Receiver, TestService, forgeries, signed_by_mac, unsigned};
use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::callers::{administered, ask, claims, header_of, make_client, sign_in, status_with};
use crate::people::{expect, published_keys};

/// An instance that signs with a key of ours, that key, and an administrator's token.
async fn forged() -> (TestService, Forge, String) {
    let (ident, admin) = administered(&[]).await;
    let forge = Forge::new(Algorithm::ES256);
    let changed = ident
        .patch("/api/configuration")
        .bearer_auth(&admin)
        .json(&json!({"private_key": forge.pem}))
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    let admin = sign_in(&ident, "admin").await;
    (ident, forge, admin)
}

#[tokio::test]
async fn a_header_that_demands_what_nobody_understands_is_refused() {
    let (ident, forge, admin) = forged().await;
    let (header, said) = (header_of(&admin), claims(&admin).to_string());
    assert_eq!(
        status_with(&ident, &forge.sign(&header.to_string(), &said)).await,
        200,
        "the forge itself works"
    );
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp")] {
        let mut demanding = header.clone();
        demanding["crit"] = crit.clone();
        demanding["exp"] = json!(4_000_000_000_i64);
        demanding["b64"] = json!(true);
        assert_eq!(
            status_with(&ident, &forge.sign(&demanding.to_string(), &said)).await,
            401,
            "{crit}"
        );
    }
}

#[tokio::test]
async fn members_that_come_twice_are_refused() {
    let (ident, forge, admin) = forged().await;
    let (header, said) = (header_of(&admin).to_string(), claims(&admin).to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (header, said) in [
        (twice(&header, r#""alg":"none""#), said.clone()),
        (twice(&header, r#""kid":"other""#), said.clone()),
        (header.clone(), twice(&said, r#""sub":"2""#)),
        (header.clone(), twice(&said, r#""exp":1"#)),
        (header.clone(), twice(&said, r#""permissions":[]"#)),
    ] {
        assert_eq!(
            status_with(&ident, &forge.sign(&header, &said)).await,
            401,
            "{header} {said}"
        );
    }
}

#[tokio::test]
async fn claims_of_other_kinds_are_refused() {
    let (ident, forge, admin) = forged().await;
    let (header, good) = (header_of(&admin).to_string(), claims(&admin));
    for (name, value) in [
        ("exp", json!("4000000000")),
        ("exp", json!(-1)),
        ("exp", json!(null)),
        ("exp", json!([4_000_000_000_i64])),
        ("nbf", json!(4_000_000_000_i64)),
        ("iss", json!([good["iss"]])),
        ("iss", json!(null)),
        ("sub", json!(1)),
        ("sub", json!("")),
        ("sub", json!("1 ")),
        ("sub", json!("99999999999999999999")),
        ("aud", json!(7)),
        ("aud", json!([])),
        ("aud", json!({"ident": true})),
        ("aud", json!("Ident")),
        ("aud", json!("ident ")),
        ("jti", json!(null)),
        ("type", json!(null)),
        ("permissions", json!("users:read")),
        ("permissions", json!([["users:read"]])),
    ] {
        let mut said = good.clone();
        said[name] = value.clone();
        assert_eq!(
            status_with(&ident, &forge.sign(&header, &said.to_string())).await,
            401,
            "{name}: {value}"
        );
    }
    for exp in ["1e400", "18446744073709551616", "9223372036854775808"] {
        let said = good
            .to_string()
            .replace(&format!("\"exp\":{}", good["exp"]), &format!("\"exp\":{exp}"));
        assert_eq!(
            status_with(&ident, &forge.sign(&header, &said)).await,
            401,
            "{exp}"
        );
    }
    for said in ["", "null", "[]", "\"x\"", "{", &"[".repeat(3000)] {
        assert_eq!(
            status_with(&ident, &forge.sign(&header, said)).await,
            401,
            "{said}"
        );
    }
}

/// The order of P-256's group.
const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA,
    0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];

/// ORDER - s.
fn negated(s: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut difference = vec![0; 32];
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

#[tokio::test]
async fn signatures_of_zeros_and_of_other_forms_are_refused() {
    let (ident, _, admin) = forged().await;
    let (signed, signature) = admin.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let (r, s) = signature.split_at(32);
    let mut one = [0; 32];
    one[31] = 1;
    let mut der = vec![0x30, 0x46, 0x02, 0x21, 0];
    der.extend(r);
    der.extend([0x02, 0x21, 0]);
    der.extend(s);
    for forged in [
        vec![0; 64],
        [[0; 32], one].concat(),
        [one, [0; 32]].concat(),
        [ORDER, ORDER].concat(),
        [ORDER.as_slice(), s].concat(),
        [r, &ORDER].concat(),
        [s, r].concat(),
        vec![],
        vec![0; 63],
        [signature.clone(), vec![0]].concat(),
        der,
    ] {
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&forged));
        assert_eq!(status_with(&ident, &token).await, 401, "{forged:?}");
    }
}

#[tokio::test]
async fn the_same_token_written_otherwise_is_refused_or_ends_with_it() {
    let (ident, _, admin) = forged().await;
    let (signed, signature) = admin.rsplit_once('.').unwrap();
    // The last character of 64 bytes has four bits that mean nothing.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let other = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let mut written = signature.to_owned();
    written.pop();
    written.push(other);
    for token in [
        format!("{admin}=="),
        format!("{signed}.{written}"),
        format!("{admin}."),
        format!(".{admin}"),
        format!("{admin}.{admin}"),
        admin.replace('.', ".."),
        // Five parts, as of a JWE.
        format!("{admin}.AA.AA"),
    ] {
        assert_eq!(status_with(&ident, &token).await, 401, "{token}");
    }
    // ECDSA has two signatures for every one: both are the same token.
    let bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let twin = [&bytes[..32], &negated(&bytes[32..])].concat();
    let twin = format!("{signed}.{}", BASE64URL_NOPAD.encode(&twin));
    assert!([200, 401].contains(&status_with(&ident, &twin).await));
    let ended = ident
        .post("/auth/logout")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    for token in [&admin, &twin] {
        assert_eq!(status_with(&ident, token).await, 401);
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_at_every_path_that_takes_one() {
    let (ident, admin) = administered(&[]).await;
    let made = make_client(&ident, &admin, &json!({"name": "m"})).await;
    let id = made["id"].as_str().unwrap();
    let secret = made["client_secret"].as_str().unwrap();
    let header = header_of(&admin);
    let jwks = published_keys(&ident).await;
    let jwk = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    let pem = PublicKey::from_jwk(jwk).unwrap().pem().to_owned();
    let evil = Receiver::start();
    for (what, token) in &forgeries(&admin, jwk, &pem, &evil.url) {
        for (method, path) in [
            (reqwest::Method::POST, "/auth/refresh"),
            (reqwest::Method::POST, "/auth/logout"),
            (reqwest::Method::GET, "/"),
            (reqwest::Method::GET, "/api/users"),
            (reqwest::Method::GET, "/api/clients"),
            (reqwest::Method::GET, "/api/configuration"),
        ] {
            let answer = ident
                .request(method, path)
                .bearer_auth(token)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}: {what}");
        }
        let post = async |path: &str, form: &[(&str, &str)]| {
            ident
                .post(path)
                .basic_auth(id, Some(secret))
                .form(form)
                .send()
                .await
                .unwrap()
        };
        let told = expect(
            post("/oauth2/introspect", &[("token", token)]).await,
            StatusCode::OK,
        )
        .await;
        assert_eq!(told, json!({"active": false}), "{what}");
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let told = expect(post("/oauth2/token", &grant).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(told["error"], "invalid_grant", "{what}");
        assert_eq!(
            post("/oauth2/revoke", &[("token", token)]).await.status(),
            StatusCode::OK
        );
    }
    assert!(evil.received().is_empty(), "nobody asks where a token says");
    assert_eq!(
        status_with(&ident, &admin).await,
        200,
        "nothing forged has ended it"
    );
}

/// A client that signs with `key`, and the claims of a good assertion of it.
async fn signing_client(ident: &TestService, admin: &str, key: &SigningKey) -> (String, Value) {
    let body = json!({"name": "k", "public_key": key.public().pem(), "permissions": ["users:read"]});
    let made = make_client(ident, admin, &body).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let now = ident.clock.now().as_second();
    let said = json!({
        "iss": id, "sub": id, "aud": "http://127.0.0.1:5000/auth/token",
        "iat": now, "nbf": now, "exp": now + 120, "jti": "once",
    });
    (id, said)
}

#[tokio::test]
async fn assertions_that_a_forger_would_send_are_refused() {
    let (ident, admin) = administered(&[
        "limits.logins_per_account=1000/1m",
        "limits.logins_per_address=1000/1m",
    ])
    .await;
    let (forge, stranger) = (Forge::new(Algorithm::ES256), Forge::new(Algorithm::ES256));
    let (id, said) = signing_client(&ident, &admin, &forge.key).await;
    let (other, _) = signing_client(&ident, &admin, &stranger.key).await;
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let with = |name: &str, value: Value| {
        let mut changed = header.clone();
        changed[name] = value;
        changed.to_string()
    };
    let text = said.to_string();
    let mut of_the_other = said.clone();
    of_the_other["iss"] = other.clone().into();
    of_the_other["sub"] = other.clone().into();
    let pem = forge.key.public().pem();
    let forged = [
        (
            "none",
            format!("{}.", unsigned(&with("alg", json!("none")), &text)),
        ),
        ("HMAC by the PEM", signed_by_mac(&header, &said, pem.as_bytes())),
        (
            "HMAC by the trimmed PEM",
            signed_by_mac(&header, &said, pem.trim().as_bytes()),
        ),
        ("a stranger's", stranger.sign(&header.to_string(), &text)),
        (
            "a key in the header",
            stranger.sign(&with("jwk", stranger.key.public().jwk().clone()), &text),
        ),
        (
            "an address of keys",
            stranger.sign(
                &with("jku", json!(format!("{}/.well-known/jwks.json", ident.url))),
                &text,
            ),
        ),
        (
            "another's name",
            forge.sign(&header.to_string(), &of_the_other.to_string()),
        ),
        ("crit", forge.sign(&with("crit", json!(["exp"])), &text)),
        ("a token of ident", admin.clone()),
        ("aud of a place alone", {
            let mut said = said.clone();
            said["aud"] = json!("/auth/token");
            forge.sign(&header.to_string(), &said.to_string())
        }),
        ("no aud", {
            let mut said = said.clone();
            said.as_object_mut().unwrap().remove("aud");
            forge.sign(&header.to_string(), &said.to_string())
        }),
        ("no exp", {
            let mut said = said.clone();
            said.as_object_mut().unwrap().remove("exp");
            forge.sign(&header.to_string(), &said.to_string())
        }),
    ];
    for (what, signature) in &forged {
        let answer = ask(&ident, &id, &json!({"signature": signature}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    let good = forge.sign(&header.to_string(), &text);
    assert_eq!(status_with(&ident, &good).await, 401, "an assertion is no token");
    let answer = ask(&ident, &other, &json!({"signature": good}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "for another client");
    let answer = ask(&ident, &id, &json!({"signature": good}))
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::OK,
        "nothing of that has spent its jti"
    );
}

#[tokio::test]
async fn one_assertion_at_many_instances_at_once_counts_once() {
    let (ident, admin) = administered(&[]).await;
    let second = IDENT
        .start_on(ident.database.clone(), &ident.clock, &["auth.records=token"])
        .await;
    let forge = Forge::new(Algorithm::ES256);
    let (id, said) = signing_client(&ident, &admin, &forge.key).await;
    let good = forge.sign(r#"{"alg":"ES256","typ":"JWT"}"#, &said.to_string());
    let presented = json!({"signature": good});
    let calls = (0..20).map(|number| {
        let instance = if number % 2 == 0 { &ident } else { &second };
        ask(instance, &id, &presented).send()
    });
    let answers = futures_util::future::join_all(calls).await;
    let granted = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().status() == StatusCode::OK);
    assert_eq!(granted.count(), 1);
}

async fn trusting(issuer: &ForeignIssuer) -> TestService {
    let trusted = format!(
        "auth.trusted_issuers=[{{issuer = '{}', audience = 'ident'}}]",
        issuer.url
    );
    IDENT.start(&["auth.records=token", &trusted]).await
}

#[tokio::test]
async fn foreign_tokens_that_a_forger_would_send_are_refused() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let issuer = ForeignIssuer::start(algorithm);
        let ident = trusting(&issuer).await;
        let good = issuer.token(
            "ident",
            "somebody",
            &json!({"permissions": ["users:read"]}),
            ident.clock.now(),
        );
        assert_eq!(status_with(&ident, &good).await, 200);
        let jwks: Value = reqwest::get(format!("{}/keys", issuer.url))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let pem = PublicKey::from_jwk(&jwks["keys"][0]).unwrap().pem().to_owned();
        let evil = Receiver::start();
        for (what, token) in forgeries(&good, &jwks["keys"][0], &pem, &evil.url) {
            assert_eq!(status_with(&ident, &token).await, 401, "{what}");
        }
        assert!(evil.received().is_empty(), "nobody asks where a token says");
    }
}

#[tokio::test]
async fn a_trusted_issuers_tokens_for_other_purposes_are_refused() {
    let forge = Forge::new(Algorithm::ES256);
    let issuer = forge.issuer();
    let ident = trusting(&issuer).await;
    let now = ident.clock.now();
    let said = Claims {
        issuer: issuer.url.clone(),
        subject: "somebody".to_owned(),
        audience: vec!["ident".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(5),
        id: "x".to_owned(),
        own: json!({"permissions": ["users:read"]}),
    };
    for (typ, expected) in [
        ("JWT", 200),
        ("jwt", 200),
        ("at+jwt", 200),
        ("application/at+jwt", 200),
        ("id+jwt", 401),
        ("logout+jwt", 401),
        ("secevent+jwt", 401),
        ("dpop+jwt", 401),
        ("client-authentication+jwt", 401),
        ("JOSE", 401),
    ] {
        let token = forge.key.sign(&said, typ).unwrap();
        assert_eq!(status_with(&ident, &token).await, expected, "{typ}");
    }
    let header = json!({"alg": "ES256", "kid": forge.key.public().kid(), "typ": "JWT"});
    let said = claims(&forge.key.sign(&said, "JWT").unwrap());
    assert_eq!(
        status_with(&ident, &forge.sign(&header.to_string(), &said.to_string())).await,
        200
    );
    for claim in ["nonce", "at_hash", "c_hash"] {
        let mut of_an_id_token = said.clone();
        of_an_id_token[claim] = json!("x");
        let token = forge.sign(&header.to_string(), &of_an_id_token.to_string());
        assert_eq!(status_with(&ident, &token).await, 401, "{claim}");
    }
    let mut demanding = header.clone();
    demanding["crit"] = json!(["exp"]);
    assert_eq!(
        status_with(&ident, &forge.sign(&demanding.to_string(), &said.to_string())).await,
        401
    );
}
