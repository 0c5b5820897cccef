//! Machine clients: registered, authenticated by exactly what they are registered with, withdrawn.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use identity_core::crypto::jwt::{Algorithm, Claims, SigningKey};
use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::callers::{administered, ask, claims, make_client, make_user, sign_in, wrong_at};
use crate::people::{expect, header};
use identity_testkit::{TestService, eventually};

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate(algorithm).unwrap()).unwrap()
}

fn text(document: &Value, name: &str) -> String {
    document[name].as_str().unwrap().to_owned()
}

/// A client assertion (RFC 7523) with these changes.
fn assertion(
    ident: &TestService,
    key: &SigningKey,
    id: &str,
    change: impl FnOnce(&mut Claims<Value>),
) -> String {
    let now = ident.clock.now();
    let mut claims = Claims {
        issuer: id.to_owned(),
        subject: id.to_owned(),
        audience: vec!["http://127.0.0.1:5000/auth/token".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(2),
        id: identity_core::crypto::random::uuid().to_string(),
        own: json!({}),
    };
    change(&mut claims);
    key.sign(&claims, "JWT").unwrap()
}

async fn status(ident: &TestService, id: &str, presented: Value) -> u16 {
    ask(ident, id, &presented).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_client_with_a_secret_gets_a_token() {
    let (ident, admin) = administered(&[]).await;
    let body = json!({"name": " nightly import ", "permissions": ["users:read"]});
    let made = make_client(&ident, &admin, &body).await;
    assert_eq!(made["name"], "nightly import");
    let (id, secret) = (text(&made, "id"), text(&made, "client_secret"));
    let answer = ask(&ident, &id, &json!({"client_secret": secret}))
        .send()
        .await
        .unwrap();
    let answer = expect(answer, StatusCode::OK).await;
    assert_eq!(answer["audience"], "somebody");
    let said = claims(&text(&answer, "token"));
    assert_eq!(
        (&said["sub"], &said["type"], &said["aud"]),
        (&json!(id), &json!("client"), &json!("somebody"))
    );
    assert_eq!(said["permissions"], json!(["users:read"]));
    let shown = ident
        .get(&format!("/api/clients/{id}"))
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let shown = expect(shown, StatusCode::OK).await;
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1);
    assert!(!shown.to_string().contains(&secret), "it is shown once");
}

#[tokio::test]
async fn a_client_presents_exactly_what_it_is_registered_with() {
    let (ident, admin) = administered(&[]).await;
    let signer = key(Algorithm::EdDSA);
    let pem = signer.public().pem();
    let by_secret = make_client(&ident, &admin, &json!({"name": "s"})).await;
    let by_key = make_client(&ident, &admin, &json!({"name": "k", "public_key": pem})).await;
    let by_both = make_client(
        &ident,
        &admin,
        &json!({"name": "b", "public_key": pem, "generate_secret": true}),
    )
    .await;
    assert!(by_key.get("client_secret").is_none());
    for (client, needs_secret, needs_key) in [
        (&by_secret, true, false),
        (&by_key, false, true),
        (&by_both, true, true),
    ] {
        let id = text(client, "id");
        let secret = client["client_secret"].as_str().unwrap_or("ids_made_up");
        for (with_secret, with_key) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut presented = json!({});
            if with_secret {
                presented["client_secret"] = secret.into();
            }
            if with_key {
                presented["signature"] = assertion(&ident, &signer, &id, |_| ()).into();
            }
            let expected = if (with_secret, with_key) == (needs_secret, needs_key) {
                200
            } else {
                401
            };
            assert_eq!(
                status(&ident, &id, presented).await,
                expected,
                "{client} {with_secret} {with_key}"
            );
        }
    }
}

#[tokio::test]
async fn every_kind_of_key_signs_assertions() {
    let (ident, admin) = administered(&[]).await;
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = key(algorithm);
        let made = make_client(
            &ident,
            &admin,
            &json!({"name": "k", "public_key": signer.public().pem()}),
        )
        .await;
        let id = text(&made, "id");
        let signature = assertion(&ident, &signer, &id, |_| ());
        assert_eq!(
            status(&ident, &id, json!({"signature": signature})).await,
            200,
            "{algorithm:?}"
        );
        assert_eq!(
            status(&ident, &id, json!({"signature": signature})).await,
            401,
            "{algorithm:?}: used before"
        );
        let stranger = assertion(&ident, &key(algorithm), &id, |_| ());
        assert_eq!(
            status(&ident, &id, json!({"signature": stranger})).await,
            401,
            "{algorithm:?}: another key"
        );
    }
}

#[tokio::test]
async fn an_assertion_is_for_us_of_the_client_and_soon_over() {
    let (ident, admin) = administered(&[]).await;
    let signer = key(Algorithm::ES256);
    let made = make_client(
        &ident,
        &admin,
        &json!({"name": "k", "public_key": signer.public().pem()}),
    )
    .await;
    let id = text(&made, "id");
    let check = async |change: fn(&mut Claims<Value>)| {
        status(
            &ident,
            &id,
            json!({"signature": assertion(&ident, &signer, &id, change)}),
        )
        .await
    };
    for endpoint in ["http://127.0.0.1:5000", "http://127.0.0.1:5000/oauth2/token"] {
        let signature = assertion(&ident, &signer, &id, |claims| {
            claims.audience = vec![endpoint.to_owned()];
        });
        assert_eq!(
            status(&ident, &id, json!({"signature": signature})).await,
            200,
            "{endpoint}"
        );
    }
    assert_eq!(
        check(|claims| claims.audience = vec!["https://elsewhere.example".into()]).await,
        401
    );
    assert_eq!(check(|claims| claims.issuer = "another".into()).await, 401);
    assert_eq!(check(|claims| claims.subject = "another".into()).await, 401);
    assert_eq!(
        check(|claims| claims.expires_at += SignedDuration::from_mins(10)).await,
        401,
        "too far ahead"
    );
    assert_eq!(
        check(|claims| claims.expires_at -= SignedDuration::from_mins(10)).await,
        401,
        "over"
    );
    assert_eq!(
        check(|claims| claims.id = String::new()).await,
        401,
        "without an id"
    );
}

#[tokio::test]
async fn the_originals_static_signature_works_only_where_it_is_allowed() {
    let (ident, admin) = administered(&[]).await;
    let pem = SigningKey::generate(Algorithm::RS256).unwrap();
    let public = SigningKey::from_pem(&pem).unwrap();
    let body = json!({"name": "old", "public_key": public.public().pem()});
    let id = text(&make_client(&ident, &admin, &body).await, "id");
    // aws-lc-rs makes the salt as long as the digest; the original's is the longest possible.
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = KeyPair::from_pkcs8(&data_encoding::BASE64.decode(body.as_bytes()).unwrap()).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        id.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let short = data_encoding::BASE64.encode(&signature);
    let longest = max_salt_signature(&pem, id.as_bytes());
    for signature in [&short, &longest] {
        assert_eq!(status(&ident, &id, json!({"signature": signature})).await, 401);
    }
    let path = format!("/api/clients/{id}");
    let allow = ident
        .patch(&path)
        .bearer_auth(&admin)
        .json(&json!({"static_signature": true}))
        .send()
        .await
        .unwrap();
    expect(allow, StatusCode::OK).await;
    assert_eq!(status(&ident, &id, json!({"signature": longest})).await, 200);
    assert_eq!(
        status(&ident, &id, json!({"signature": longest})).await,
        200,
        "for ever, which is why it must be allowed"
    );
    assert_eq!(
        status(&ident, &id, json!({"signature": short})).await,
        401,
        "another salt"
    );
}

/// RSA-PSS with SHA-256 and the longest salt, as the original's clients made it.
pub fn max_salt_signature(pem: &str, message: &[u8]) -> String {
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::sha2::{Digest, Sha256};
    use rsa::traits::PublicKeyParts;
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(pem).unwrap();
    let padding = rsa::Pss::new_with_salt::<Sha256>(key.size() - 32 - 2);
    let signature = key
        .sign_with_rng(&mut rsa::rand_core::OsRng, padding, &Sha256::digest(message))
        .unwrap();
    data_encoding::BASE64.encode(&signature)
}

#[tokio::test]
async fn a_secret_is_replaced_without_a_gap_and_withdrawn_at_once() {
    let (ident, admin) = administered(&[]).await;
    let made = make_client(&ident, &admin, &json!({"name": "s"})).await;
    let (id, old) = (text(&made, "id"), text(&made, "client_secret"));
    let old_id = text(&made["secrets"][0], "id");
    let secrets = format!("/api/clients/{id}/secrets");
    let new = expect(
        ident.post(&secrets).bearer_auth(&admin).send().await.unwrap(),
        StatusCode::CREATED,
    )
    .await;
    let new = text(&new, "client_secret");
    for secret in [&old, &new] {
        assert_eq!(status(&ident, &id, json!({"client_secret": secret})).await, 200);
    }
    let third = ident.post(&secrets).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(third.status(), StatusCode::CONFLICT);
    let gone = ident
        .delete(&format!("{secrets}/{old_id}"))
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        status(&ident, &id, json!({"client_secret": old})).await,
        401,
        "although it was remembered"
    );
    assert_eq!(status(&ident, &id, json!({"client_secret": new})).await, 200);
    let gone = ident
        .delete(&format!("{secrets}/{old_id}"))
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

/// A client with a secret that two instances remember.
async fn remembered_by_two() -> (TestService, TestService, String, Value, Value) {
    let (ident, admin) = administered(&[]).await;
    let other = crate::IDENT
        .start_on(ident.database.clone(), &ident.clock, &["auth.records=token"])
        .await;
    let made = make_client(&ident, &admin, &json!({"name": "s"})).await;
    let secret = json!({"client_secret": made["client_secret"]});
    for instance in [&ident, &other] {
        assert_eq!(status(instance, &text(&made, "id"), secret.clone()).await, 200);
    }
    (ident, other, admin, made, secret)
}

/// Returns when `other` refuses the secret. No clock is turned: it is not because its time is over.
async fn refused(other: &TestService, id: &str, secret: &Value) {
    eventually("the other instance knows", async || {
        (status(other, id, secret.clone()).await == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_disabled_or_deleted_client_is_out_here_at_once_and_elsewhere_soon() {
    let (ident, other, admin, made, secret) = remembered_by_two().await;
    let id = text(&made, "id");
    let path = format!("/api/clients/{id}");
    let switch = async |disabled: bool| {
        let body = json!({"disabled": disabled});
        let asked = ident.patch(&path).bearer_auth(&admin).json(&body);
        expect(asked.send().await.unwrap(), StatusCode::OK).await;
    };
    switch(true).await;
    assert_eq!(status(&ident, &id, secret.clone()).await, 401);
    refused(&other, &id, &secret).await;
    switch(false).await;
    for instance in [&ident, &other] {
        assert_eq!(status(instance, &id, secret.clone()).await, 200);
    }
    let gone = ident.delete(&path).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    refused(&other, &id, &secret).await;
    let gone = ident.get(&path).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_secret_that_was_withdrawn_and_an_audience_that_was_taken_away_are_known_elsewhere_soon() {
    let (ident, other, admin, made, secret) = remembered_by_two().await;
    let id = text(&made, "id");
    let path = format!("/api/clients/{id}");
    let narrower = json!({"audiences": ["https://only.example"]});
    let asked = ident.patch(&path).bearer_auth(&admin).json(&narrower);
    expect(asked.send().await.unwrap(), StatusCode::OK).await;
    eventually("the other instance knows the audiences", async || {
        (status(&other, &id, secret.clone()).await != 200).then_some(())
    })
    .await;
    let wider = json!({"audiences": []});
    let asked = ident.patch(&path).bearer_auth(&admin).json(&wider);
    expect(asked.send().await.unwrap(), StatusCode::OK).await;
    eventually("the other instance knows that they are gone", async || {
        (status(&other, &id, secret.clone()).await == 200).then_some(())
    })
    .await;
    let gone = format!("{path}/secrets/{}", text(&made["secrets"][0], "id"));
    let gone = ident.delete(&gone).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    refused(&other, &id, &secret).await;
}

#[tokio::test]
async fn who_is_refused_hears_one_and_the_same() {
    let (ident, admin) = administered(&[]).await;
    let id = text(&make_client(&ident, &admin, &json!({"name": "s"})).await, "id");
    let unknown = "00000000-0000-4000-8000-000000000000";
    let mut answers = Vec::new();
    for (id, presented) in [
        (id.as_str(), json!({"client_secret": "ids_wrong"})),
        (unknown, json!({"client_secret": "ids_wrong"})),
        ("not a uuid", json!({"client_secret": "ids_wrong"})),
        (&id, json!({"signature": "AAAA"})),
        (&id, json!({})),
    ] {
        let answer = ask(&ident, id, &presented).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(header(&answer, "www-authenticate").starts_with("Bearer"));
        answers.push(answer.text().await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_client_gets_tokens_for_its_audiences_only() {
    let (ident, admin) = administered(&[]).await;
    let made = make_client(&ident, &admin, &json!({"name": "s", "audiences": ["somebody"]})).await;
    let (id, secret) = (text(&made, "id"), text(&made, "client_secret"));
    assert_eq!(status(&ident, &id, json!({"client_secret": secret})).await, 200);
    let body = json!({"client_id": id, "client_secret": secret, "audience": "else"});
    assert_eq!(
        ident
            .post("/auth/token")
            .json(&body)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn what_is_no_client_is_told_with_pointers() {
    let (ident, admin) = administered(&[]).await;
    let post = async |body: Value| {
        ident
            .post("/api/clients")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let weak = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n";
    for (body, expected) in [
        (json!({}), vec!["/name"]),
        (json!({"name": ""}), vec!["/name"]),
        (json!({"name": "a", "permissions": ["all"]}), vec!["/permissions"]),
        (json!({"name": "a", "public_key": "x"}), vec!["/public_key"]),
        (json!({"name": "a", "public_key": weak}), vec!["/public_key"]),
        (
            json!({"name": "a", "audiences": [1], "other": 1}),
            vec!["/audiences", "/other"],
        ),
        (
            json!({"name": "a", "generate_secret": false}),
            vec!["/generate_secret"],
        ),
    ] {
        assert_eq!(
            wrong_at(post(body).await, StatusCode::BAD_REQUEST).await,
            expected
        );
    }
}

#[tokio::test]
async fn nobody_hands_on_more_than_they_have() {
    let (ident, admin) = administered(&[]).await;
    make_user(
        &ident,
        &admin,
        "mei",
        &[
            "clients:write",
            "clients:read",
            "users:credentials",
            "users:write",
        ],
    )
    .await;
    let mei = sign_in(&ident, "mei").await;
    let body = json!({"name": "a", "permissions": ["users:tokens"]});
    let refused = ident
        .post("/api/clients")
        .bearer_auth(&mei)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let body = json!({"name": "a", "permissions": ["clients:read"]});
    expect(
        ident
            .post("/api/clients")
            .bearer_auth(&mei)
            .json(&body)
            .send()
            .await
            .unwrap(),
        StatusCode::CREATED,
    )
    .await;
    // The administrator's password would make her the administrator.
    let people = ident
        .get("/api/users?email=admin@example.org")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let root = expect(people, StatusCode::OK).await[0]["id"].as_i64().unwrap();
    let body = json!({"password": "a new password"});
    let refused = ident
        .patch(&format!("/api/users/{root}"))
        .bearer_auth(&mei)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for path in [format!("/api/users/{root}"), format!("/{root}")] {
        let refused = ident.delete(&path).bearer_auth(&mei).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
}
