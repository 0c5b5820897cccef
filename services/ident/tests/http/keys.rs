//! Signing keys and the configuration of tokens.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ident::Instance;
use ident::config::{Config, SCHEMA};
use ident::encryption::commands::{self, EncryptionCommand};
use identity_core::clock::Clock;
use identity_core::config::{Settings, Sources};
use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_testkit::{TestDatabase, TestService, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::callers::{administered, header_of, sign_in, status_with, wrong_at};
use crate::people::{expect, header, published_keys};

async fn kids(ident: &TestService) -> Vec<String> {
    let keys = published_keys(ident).await;
    let kids = keys["keys"].as_array().unwrap().iter();
    kids.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(token: &str) -> String {
    header_of(token)["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_key_is_made_once_whichever_instance_comes_first() {
    let database = Arc::new(TestDatabase::empty().await);
    let clock = Clock::system();
    let starts = (0..5).map(|_| IDENT.start_on(database.clone(), &clock, &[]));
    let instances = futures_util::future::join_all(starts).await;
    let first = kids(&instances[0]).await;
    assert_eq!(first.len(), 1);
    for instance in &instances {
        eventually("all know the same key", async || {
            (kids(instance).await == first).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn without_auto_configuration_nothing_is_issued_until_it_is_configured() {
    let database = Arc::new(TestDatabase::empty().await);
    let settings = ["auth.auto_configure=false", "auth.records=token"];
    let ident = IDENT.start_on(database, &Clock::system(), &settings).await;
    crate::callers::make_administrator(&ident).await;
    let refused = crate::callers::login(&ident, "admin", crate::callers::PASSWORD).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!header(&refused, "retry-after").is_empty());
    assert!(kids(&ident).await.is_empty());
    let metadata = ident
        .get("/.well-known/openid-configuration")
        .send()
        .await
        .unwrap();
    assert_eq!(metadata.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_configuration_is_shown_without_the_private_key_and_made_once() {
    let (ident, admin) = administered(&[]).await;
    let shown = ident
        .get("/api/configuration")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let shown = expect(shown, StatusCode::OK).await;
    assert_eq!(
        (&shown["algorithm"], &shown["kid"]),
        (&json!("ES256"), &json!(kid(&admin)))
    );
    assert!(shown["public_key"].as_str().unwrap().contains("PUBLIC KEY"));
    assert!(!shown.to_string().contains("PRIVATE"));
    let pem = SigningKey::generate(Algorithm::RS256).unwrap();
    let body = json!({"private_key": pem.as_str(), "jwt_expiration": 60, "jwt_issuer": "me", "jwt_max_refreshes": 1});
    let again = ident
        .post("/api/configuration")
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_key_that_is_given_signs_at_once_and_invalidates_nothing() {
    let (ident, mut admin) = administered(&[]).await;
    for algorithm in [Algorithm::RS256, Algorithm::EdDSA, Algorithm::ES256] {
        let pem = SigningKey::generate(algorithm).unwrap();
        let expected = SigningKey::from_pem(&pem).unwrap().public().kid().to_owned();
        let body = json!({"private_key": pem.as_str(), "jwt_issuer": "http://127.0.0.1:5000"});
        let changed = ident
            .patch("/api/configuration")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap();
        let changed = expect(changed, StatusCode::OK).await;
        assert_eq!(
            (&changed["kid"], &changed["algorithm"]),
            (&json!(expected), &json!(algorithm.as_str()))
        );
        assert_eq!(
            status_with(&ident, &admin).await,
            200,
            "the old token still holds"
        );
        admin = sign_in(&ident, "admin").await;
        assert_eq!(kid(&admin), expected);
        assert_eq!(status_with(&ident, &admin).await, 200);
    }
    assert_eq!(kids(&ident).await.len(), 4);
    ident.clock.advance(Duration::from_secs(901));
    eventually("the old keys are gone", async || {
        (kids(&ident).await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_configuration_is_told_with_pointers() {
    let (ident, admin) = administered(&[]).await;
    let send = async |post: bool, body: Value| {
        let path = "/api/configuration";
        let request = if post { ident.post(path) } else { ident.patch(path) };
        request.bearer_auth(&admin).json(&body).send().await.unwrap()
    };
    let all = [
        "/private_key",
        "/jwt_expiration",
        "/jwt_issuer",
        "/jwt_max_refreshes",
    ];
    assert_eq!(
        wrong_at(send(true, json!({})).await, StatusCode::BAD_REQUEST).await,
        all
    );
    for (body, pointer) in [
        (json!({"private_key": "x"}), "/private_key"),
        (json!({"jwt_expiration": 0}), "/jwt_expiration"),
        (json!({"jwt_expiration": "60"}), "/jwt_expiration"),
        (json!({"jwt_issuer": " "}), "/jwt_issuer"),
        (json!({"jwt_max_refreshes": -1}), "/jwt_max_refreshes"),
        (json!({"x": 1}), "/x"),
    ] {
        assert_eq!(
            wrong_at(send(false, body).await, StatusCode::BAD_REQUEST).await,
            [pointer]
        );
    }
}

#[tokio::test]
async fn a_rotation_publishes_then_signs_then_withdraws_on_every_instance() {
    let (ident, admin) = administered(&["keys.rotate_every=1h", "keys.jwks_max_age=5m"]).await;
    let other = IDENT
        .start_on(ident.database.clone(), &ident.clock, &["auth.records=token"])
        .await;
    let old = kid(&admin);
    ident.clock.advance(Duration::from_secs(3601));
    for instance in [&ident, &other] {
        eventually("the next key is published", async || {
            (kids(instance).await.len() == 2).then_some(())
        })
        .await;
    }
    let before = sign_in(&ident, "admin").await;
    assert_eq!(kid(&before), old, "nobody can know the new key yet");
    ident.clock.advance(Duration::from_secs(301));
    let after = sign_in(&ident, "admin").await;
    assert_ne!(kid(&after), old);
    for token in [&before, &after] {
        assert_eq!(status_with(&ident, token).await, 200);
        assert_eq!(status_with(&other, token).await, 200);
    }
    ident.clock.advance(Duration::from_secs(901));
    eventually("the old key is withdrawn", async || {
        (kids(&other).await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(kids(&ident).await, [kid(&after)]);
}

#[tokio::test]
async fn the_public_keys_may_be_kept_as_long_as_it_is_said() {
    let (ident, _) = administered(&["keys.jwks_max_age=2m"]).await;
    let keys = ident.get("/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(header(&keys, "cache-control"), "public, max-age=120");
}

#[tokio::test]
async fn a_dump_holds_no_secret_and_swapped_keys_are_noticed() {
    let (ident, admin) = administered(&[]).await;
    let client = crate::callers::make_client(&ident, &admin, &json!({"name": "s"})).await;
    let pem = SigningKey::generate(Algorithm::ES256).unwrap();
    let body = json!({"private_key": pem.as_str()});
    let changed = ident
        .patch("/api/configuration")
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    let refreshed = ident
        .post("/auth/refresh")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let successor = expect(refreshed, StatusCode::OK).await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let dump = ident.database.dump();
    let inner = pem.lines().nth(1).unwrap();
    for secret in [
        crate::callers::PASSWORD,
        client["client_secret"].as_str().unwrap(),
        inner,
        &admin,
        &successor,
    ] {
        assert!(!dump.contains(secret));
    }
    let database = ident.database.connect("ident").await;
    let swap =
        "UPDATE signing_keys a SET private_key = b.private_key FROM signing_keys b WHERE a.kid <> b.kid";
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    let stranger = IDENT.try_start(ident.database.clone(), &ident.clock, &[]);
    let failure = stranger.ended().await.unwrap_err().to_string();
    assert!(failure.contains("cannot be decrypted"), "{failure}");
}

#[tokio::test]
async fn an_encryption_key_is_replaced_without_losing_a_secret() {
    const OLD: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const NEW: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    let (ident, admin) = administered(&[]).await;
    let body = json!({
        "name": "Mei", "email": "mei@example.org", "services": {"github": {"id": "7", "access_token": "gho_7"}},
    });
    let made = ident
        .post("/")
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    let id = expect(made, StatusCode::CREATED).await["id"].as_i64().unwrap();
    let refresh = async |ident: &TestService| {
        let refreshed = ident
            .post("/auth/refresh")
            .bearer_auth(&admin)
            .send()
            .await
            .unwrap();
        expect(refreshed, StatusCode::OK).await
    };
    let successor = refresh(&ident).await;
    let both = format!("database.encryption_key={NEW},{OLD}");
    let overrides = [format!("database.postgres.url={}", ident.database.url()), both];
    let sources = Sources {
        overrides: overrides.into(),
        ..Sources::default()
    };
    let config = Config::read(&Settings::load(&SCHEMA, &sources).unwrap()).unwrap();
    let instance = Instance::open(config, ident.clock.clone()).await.unwrap();
    commands::run(EncryptionCommand::Reencrypt, &instance.shared)
        .await
        .unwrap();

    let only_new = format!("database.encryption_key={NEW}");
    let settings = ["auth.records=token", only_new.as_str()];
    let anew = IDENT
        .start_on(ident.database.clone(), &ident.clock, &settings)
        .await;
    let path = format!("/{id}/services/github/token");
    let token = anew.get(&path).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(
        expect(token, StatusCode::OK).await,
        json!({"access_token": "gho_7"})
    );
    assert_eq!(
        refresh(&anew).await,
        successor,
        "what was refreshed before is given again"
    );
    sign_in(&anew, "admin").await;
    // With the old key alone nobody starts any more.
    let failure = IDENT
        .try_start(ident.database.clone(), &ident.clock, &[])
        .ended()
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("fingerprint"), "{failure}");
}

#[tokio::test]
async fn a_rotation_under_load_fails_no_request_on_any_instance() {
    let (ident, admin) = administered(&[]).await;
    let other = IDENT
        .start_on(ident.database.clone(), &ident.clock, &["auth.records=token"])
        .await;
    let client = crate::callers::make_client(
        &ident,
        &admin,
        &json!({"name": "c", "permissions": ["users:read"]}),
    )
    .await;
    let (rotated, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async |issuer: &TestService, verifier: &TestService| {
        while !rotated.load(Ordering::Relaxed) {
            let body = json!({
                "client_id": client["id"], "client_secret": client["client_secret"], "audience": "ident",
            });
            let issued = issuer.post("/auth/token").json(&body).send().await.unwrap();
            let token = expect(issued, StatusCode::OK).await["token"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!(status_with(verifier, &token).await, 200);
            assert_eq!(status_with(issuer, &token).await, 200);
            answered.fetch_add(3, Ordering::Relaxed);
        }
    };
    let rotate = async {
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::EdDSA] {
            let enough = answered.load(Ordering::Relaxed) + 30;
            let goes_on = async || (answered.load(Ordering::Relaxed) >= enough).then_some(());
            eventually("the load goes on", goes_on).await;
            let pem = SigningKey::generate(algorithm).unwrap();
            let body = json!({"private_key": pem.as_str()});
            let changed = ident
                .patch("/api/configuration")
                .bearer_auth(&admin)
                .json(&body)
                .send()
                .await
                .unwrap();
            expect(changed, StatusCode::OK).await;
            // The clock of the second between two looks for unknown keys.
            ident.clock.advance(Duration::from_secs(2));
            let newest = kids(&ident).await;
            eventually("both publish the same keys", async || {
                (kids(&other).await == newest).then_some(())
            })
            .await;
        }
        rotated.store(true, Ordering::Relaxed);
    };
    tokio::join!(load(&ident, &other), load(&other, &ident), rotate);
    assert_eq!(
        status_with(&ident, &admin).await,
        200,
        "and no live token is lost"
    );
}

#[tokio::test]
async fn a_key_that_is_given_is_not_replaced_by_one_that_was_waiting() {
    let (ident, admin) = administered(&["keys.rotate_every=1h"]).await;
    ident.clock.advance(Duration::from_secs(3601));
    eventually("the next key waits", async || {
        (kids(&ident).await.len() == 2).then_some(())
    })
    .await;
    let admin_again = sign_in(&ident, "admin").await;
    let pem = SigningKey::generate(Algorithm::ES256).unwrap();
    let given = SigningKey::from_pem(&pem).unwrap().public().kid().to_owned();
    let body = json!({"private_key": pem.as_str()});
    let changed = ident
        .patch("/api/configuration")
        .bearer_auth(&admin_again)
        .json(&body)
        .send()
        .await
        .unwrap();
    expect(changed, StatusCode::OK).await;
    ident.clock.advance(Duration::from_mins(10));
    assert_eq!(kid(&sign_in(&ident, "admin").await), given);
    assert_ne!(kid(&admin), given);
}
