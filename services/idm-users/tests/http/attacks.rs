//! Attacks with tokens (RFC 8725), names, forms and bodies, and on what is stored. Each test is named after what it
//! tries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use data_encoding::BASE64URL_NOPAD;
use identity_core::crypto::jwt::{Algorithm, PublicKey, SharedAlgorithm, SharedKey};
use identity_testkit::{
    ForeignIssuer, Forge, Receiver, TestService, eventually, forgeries, part_of, unsigned,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::IDM;
use crate::forgotten::ask;
use crate::mails::caught;
use crate::people::{
    ADMIN, PASSWORD, administered, establish, get, jwt_of, make_admin, make_link, make_subject, make_user,
    patient, request, send, sign_in, told,
};

const SECRET: &[u8] = b"a secret of a test, of thirty-two bytes or more";

/// A key that looks public to who believes a header, beside a token that is signed by a shared secret.
fn of_a_stranger(good: &str, evil: &str) -> Vec<(String, String)> {
    let stranger = Forge::new(Algorithm::ES256);
    forgeries(
        good,
        stranger.key.public().jwk(),
        stranger.key.public().pem(),
        evil,
    )
}

/// Signed as the service signs, whatever the header says.
fn signed(header: &str, claims: &str) -> String {
    let signed = unsigned(header, claims);
    let key = hmac_sha256(SECRET, signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&key))
}

fn hmac_sha256(secret: &[u8], text: &[u8]) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac: Hmac<sha2::Sha256> = Hmac::new_from_slice(secret).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// 401, or refused by the server itself for its size.
async fn refused(idm: &TestService, token: &str, what: &str) {
    let asked = request(idm, token, Method::GET, "/subject").send().await;
    if let Ok(answer) = asked {
        assert!(
            [400, 401, 431].contains(&answer.status().as_u16()),
            "{what}: {}",
            answer.status()
        );
    }
}

#[tokio::test]
async fn users_tokens_that_a_forger_would_send_are_refused() {
    let (idm, token) = administered(&[]).await;
    let evil = Receiver::start();
    for (what, forged) in of_a_stranger(&token, &evil.url) {
        refused(&idm, &forged, &what).await;
    }
    let (header, claims) = (part_of(&token, 0).to_string(), part_of(&token, 1).to_string());
    assert_eq!(
        get(&idm, &signed(&header, &claims), "/subject").await.0,
        200,
        "the forge itself works"
    );
    for header in [
        r#"{"alg":"HS256","typ":"JWT","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","typ":"JWT","crit":[]}"#,
        r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#,
        r#"{"alg":"HS384","typ":"JWT"}"#,
        r#"{"alg":["HS256"],"typ":"JWT"}"#,
        "{}",
        "[]",
        "",
    ] {
        refused(&idm, &signed(header, &claims), header).await;
    }
    let twice = |member: &str| claims.replacen('{', &format!("{{{member},"), 1);
    for claims in [
        twice(r#""identity":1"#),
        twice(r#""exp":1"#),
        claims.replace("\"exp\":", "\"exp\":1e300,\"was\":"),
        claims.replace("\"exp\":", "\"exp\":18446744073709551616,\"was\":"),
        claims.replace("\"identity\":", "\"identity\":9223372036854775808,\"was\":"),
        claims.replace("\"identity\":", "\"identity\":1.0,\"was\":"),
        claims.replace("\"aud\":", "\"aud\":[\"x\"],\"was\":"),
        "null".to_owned(),
        "[".repeat(3000),
    ] {
        refused(&idm, &signed(&header, &claims), &claims).await;
    }
    assert!(evil.received().is_empty(), "nobody asks where a token says");
}

#[tokio::test]
async fn links_jwts_that_a_forger_would_send_establish_nothing() {
    let (idm, token) = administered(&["server.body_limit=64KiB"]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    let evil = Receiver::start();
    let posted = async |jwt: &str| {
        let answer = idm
            .post("/establish")
            .bearer_auth(jwt)
            .json(&patient("1"))
            .send()
            .await;
        answer.map_or(403, |answer| answer.status().as_u16())
    };
    for (what, forged) in of_a_stranger(&jwt, &evil.url) {
        let status = posted(&forged).await;
        assert!([400, 403, 431].contains(&status), "{what}: {status}");
    }
    let (header, claims) = (part_of(&jwt, 0).to_string(), part_of(&jwt, 1).to_string());
    let demanding = signed(
        r#"{"alg":"HS256","typ":"JWT","crit":["b64"],"b64":true}"#,
        &claims,
    );
    assert_eq!(posted(&demanding).await, 403);
    let without_end = claims.replace("\"exp\":", "\"was\":");
    assert_eq!(posted(&signed(&header, &without_end)).await, 403);
    assert_eq!(posted(&token).await, 403, "a user's token");
    assert!(evil.received().is_empty());
    assert_eq!(
        establish(&idm, &jwt, &patient("1")).await,
        204,
        "none of that has spent it"
    );
}

async fn trusting(issuer: &ForeignIssuer) -> TestService {
    let trusted = format!(
        "trusted_issuers=[{{issuer = '{}', audience = 'idm-users'}}]",
        issuer.url
    );
    let idm = IDM.start(&[&trusted]).await;
    make_admin(&idm).await;
    idm
}

#[tokio::test]
async fn foreign_tokens_that_a_forger_would_send_are_refused() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let forge = Forge::new(algorithm);
        let issuer = forge.issuer();
        let idm = trusting(&issuer).await;
        let own = json!({"email": ADMIN, "email_verified": true});
        let good = issuer.token("idm-users", "1", &own, idm.clock.now());
        assert_eq!(get(&idm, &good, "/subject").await.0, 200);
        let evil = Receiver::start();
        let jwk = forge.key.public().jwk();
        let pem = PublicKey::from_jwk(jwk).unwrap().pem().to_owned();
        for (what, forged) in forgeries(&good, jwk, &pem, &evil.url) {
            refused(&idm, &forged, &what).await;
        }
        let (mut header, claims) = (part_of(&good, 0), part_of(&good, 1).to_string());
        header["typ"] = "id+jwt".into();
        refused(&idm, &forge.sign(&header.to_string(), &claims), "an ID token").await;
        header["typ"] = "JWT".into();
        header["crit"] = json!(["exp"]);
        refused(&idm, &forge.sign(&header.to_string(), &claims), "crit").await;
        // In its name, by the secret of ours.
        refused(
            &idm,
            &signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims),
            "by our own secret",
        )
        .await;
        assert!(evil.received().is_empty());
    }
}

#[tokio::test]
async fn a_username_that_looks_like_anothers_is_refused() {
    let (idm, admin) = administered(&[]).await;
    make_user(&idm, &admin, "mei@example.org").await;
    for username in [
        "MEI@example.org",
        "ｍｅｉ@example.org",
        "mei@ex\u{430}mple.org",
        "m\u{435}i@example.org",
        "me\u{200B}i@example.org",
        "mei@example.org\u{2060}",
        "mei\u{AD}@example.org",
        "\u{202E}mei@example.org",
        "mei@example.org\u{0}",
        "mei\u{1B}@example.org",
    ] {
        let body = json!({"username": username, "password": PASSWORD});
        let (status, answer) = send(&idm, &admin, Method::POST, "/user", &body).await;
        assert!([400, 409].contains(&status), "{username:?}: {status} {answer}");
    }
    // What cannot be seen does not make it another account that one could guess at for longer.
    assert_eq!(
        sign_in(&idm, "me\u{200B}i@example.org", PASSWORD).await.status(),
        200
    );
}

#[tokio::test]
async fn pages_in_a_frame_or_with_scripts_of_others() {
    let (idm, _) = administered(&[]).await;
    for path in [
        "/init",
        "/iforgot",
        "/reset?k=x",
        "/",
        "/docs/",
        "/openapi.json",
        "/nothing",
    ] {
        let answer = idm.get(path).send().await.unwrap();
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        let policy = header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action '",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(
            !answer.headers().contains_key("set-cookie"),
            "{path}: there is nothing to steal"
        );
        assert!(
            !answer.headers().contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn json_that_no_parser_likes_ends_in_an_answer() {
    let (idm, token) = administered(&[
        "limits.logins_per_account=100000/1m",
        "limits.logins_per_address=100000/1m",
    ])
    .await;
    make_subject(&idm, &token, "S-1", &json!({})).await;
    let link = make_link(&idm, &token, "S-2").await;
    make_user(&idm, &token, "mei@example.org").await;
    let paths = [
        (Method::POST, "/auth".to_owned()),
        (Method::POST, "/user".to_owned()),
        (Method::PUT, "/user/mei@example.org".to_owned()),
        (Method::POST, "/subject".to_owned()),
        (Method::PUT, "/subject/S-1".to_owned()),
        (Method::POST, "/subject/S-2/links".to_owned()),
        (Method::PUT, format!("/link/{link}")),
        (Method::POST, "/establish".to_owned()),
    ];
    let mut bodies = vec![
        format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
        "{\"a\":".repeat(10_000),
        r#"{"sssid": "S-3", "\u0073ssid": "S-4", "name": "x", "bday": "1980-01-01"}"#.to_owned(),
        format!("{{\"name\": \"{}\"}}", "x".repeat(70 * 1024)),
    ];
    let many: Vec<String> = (0..5000)
        .map(|number| format!("\"m{number}\": {number}"))
        .collect();
    bodies.push(format!("{{{}}}", many.join(",")));
    let members = [
        "username",
        "password",
        "admin",
        "sssid",
        "name",
        "bday",
        "email",
        "date_consented",
        "exp",
        "iss",
        "aud",
        "algorithm",
        "secret",
        "linked_to",
        "linked_system",
        "withdrawn_on",
        "extra",
    ];
    for member in members {
        for value in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e308",
            "1e-400",
            r#""a\u0000b""#,
            r#""\u001b[2J""#,
            r#""99999-99-99T99:99:99Z""#,
            "null",
            "{}",
            "[[]]",
        ] {
            bodies.push(
                format!("{{\"sssid\": \"S-1\", \"{member}\": {value}}}")
                    .replace("\"sssid\": \"S-1\", \"sssid\"", "\"sssid\""),
            );
        }
    }
    for (method, path) in &paths {
        for body in &bodies {
            let sent = request(&idm, &token, method.clone(), path)
                .header("content-type", "application/json")
                .body(body.clone());
            let status = sent.send().await.unwrap().status().as_u16();
            let shown: String = body.chars().take(60).collect();
            assert!(status < 500, "{method} {path} {shown}: {status}");
        }
    }
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
}

#[tokio::test]
async fn forms_that_no_parser_likes_end_in_a_page() {
    let caught = caught(&[
        "init.code=abcd-efgh",
        "limits.logins_per_account=1000/1m",
        "limits.logins_per_address=1000/1m",
    ])
    .await;
    for path in ["/init", "/iforgot", "/reset"] {
        for form in [
            "",
            "%",
            "username=%00&code=%00&key=%00&pass1=%00&pass2=%00",
            "username=%ff%fe&key=%ff&pass1=%ff&pass2=%ff",
            "username=a&username=b&key=a&key=b&pass1=a&pass1=b&pass2=b",
            "username=%0d%0aBcc:%20evil@example.org&key=%0d%0a",
            &"a=b&".repeat(10_000),
            &format!(
                "username={}@example.org&key={}",
                "a".repeat(50_000),
                "k".repeat(5_000)
            ),
        ] {
            let sent = caught
                .idm
                .post(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned());
            let status = sent.send().await.unwrap().status().as_u16();
            let shown: String = form.chars().take(40).collect();
            assert!(status < 500, "{path} {shown}: {status}");
        }
    }
    assert!(caught.mailbox.mails().is_empty(), "nobody gets a mail of that");
}

#[tokio::test]
async fn a_dump_of_the_database_tells_no_secret() {
    let caught = caught(&["server.public_url=https://idm.example.org/below/"]).await;
    let idm = &caught.idm;
    make_admin(idm).await;
    let token = crate::people::token(idm, ADMIN, PASSWORD).await;
    let link = make_link(idm, &token, "S-1").await;
    let own = "a secret of this very link, long enough for HS256";
    let set = json!({"secret": own});
    assert_eq!(
        send(idm, &token, Method::PUT, &format!("/link/{link}"), &set)
            .await
            .0,
        204
    );
    let jwt = jwt_of(idm, &token, &link).await;
    ask(idm, ADMIN).await;
    let key = crate::forgotten::key_of(&caught, 1).await;
    let dump = idm.database.dump();
    assert!(
        dump.contains(ADMIN) && dump.contains("S-1"),
        "the dump is what it should be"
    );
    for secret in [
        PASSWORD,
        &token,
        &jwt,
        own,
        &key,
        std::str::from_utf8(SECRET).unwrap(),
    ] {
        assert!(!dump.contains(secret), "{secret}");
        assert!(
            !dump.contains(&data_encoding::BASE64.encode(secret.as_bytes())),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn a_ciphertext_in_another_row_is_noticed() {
    let (idm, token) = administered(&[]).await;
    let (mine, other) = (
        make_link(&idm, &token, "S-1").await,
        make_link(&idm, &token, "S-2").await,
    );
    for (link, secret) in [
        (&mine, "mine, and long enough for the algorithm HS256"),
        (&other, "another, and long enough for the algorithm HS256"),
    ] {
        let path = format!("/link/{link}");
        assert_eq!(
            send(&idm, &token, Method::PUT, &path, &json!({ "secret": secret }))
                .await
                .0,
            204
        );
    }
    let mine_jwt = jwt_of(&idm, &token, &mine).await;
    let database = idm.database.connect("idm_users").await;
    let swap = "UPDATE links a SET secret = b.secret FROM links b WHERE a.id <> b.id";
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    // Who knows one secret cannot sign for the other link.
    let key = SharedKey::new(
        SharedAlgorithm::HS256,
        b"mine, and long enough for the algorithm HS256",
    )
    .unwrap();
    let mut claims: Value = part_of(&mine_jwt, 1);
    claims["jti"] = json!(other);
    assert_eq!(
        establish(&idm, &key.sign(&claims).unwrap(), &patient("1")).await,
        403
    );
    assert_eq!(establish(&idm, &mine_jwt, &patient("1")).await, 403);
    let shown = request(&idm, &token, Method::GET, &format!("/link/{other}/jwt"));
    assert_eq!(told(shown).await.0, 500);
}

#[tokio::test]
async fn a_waiting_mail_in_another_row_is_not_sent() {
    let caught = caught(&["limits.mails_per_account=100/1h"]).await;
    make_admin(&caught.idm).await;
    let token = crate::people::token(&caught.idm, ADMIN, PASSWORD).await;
    make_user(&caught.idm, &token, "mei@example.org").await;
    caught.mailbox.set_mood(mailbox::Mood::Refusing);
    for username in [ADMIN, "mei@example.org"] {
        ask(&caught.idm, username).await;
    }
    let database = caught.idm.database.connect("idm_users").await;
    eventually("both wait", async || {
        let waiting: i64 = database
            .query_one("SELECT count(*) FROM mails", &[])
            .await
            .unwrap()
            .get(0);
        (waiting == 2).then_some(())
    })
    .await;
    // The attacker, who is Mei and writes into the database, wants the administrator's link.
    let swap = "UPDATE mails a SET content = b.content FROM mails b WHERE a.id <> b.id";
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    caught.mailbox.set_mood(mailbox::Mood::Taking);
    caught.idm.clock.advance(std::time::Duration::from_hours(1));
    ask(&caught.idm, ADMIN).await;
    let mails = caught.wait(1).await;
    assert!(
        mails.iter().all(|mail| mail.to == [ADMIN]),
        "only the one that was asked for afterwards"
    );
    assert_eq!(mails.len(), 1);
}
