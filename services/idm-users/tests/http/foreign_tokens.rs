//! Tokens of other issuers that the configuration trusts, mapped to users by their address.

use identity_core::crypto::jwt::Algorithm;
use identity_testkit::{ForeignIssuer, TestService};
use reqwest::Method;
use serde_json::{Value, json};

use crate::IDM;
use crate::people::{ADMIN, PASSWORD, get, make_admin, make_user, send, token};

async fn trusting(issuer: &ForeignIssuer) -> TestService {
    let trusted = format!(
        "trusted_issuers=[{{issuer = '{}', audience = 'idm-users'}}]",
        issuer.url
    );
    let idm = IDM.start(&[&trusted]).await;
    make_admin(&idm).await;
    idm
}

fn of(issuer: &ForeignIssuer, idm: &TestService, claims: &Value) -> String {
    issuer.token("idm-users", "4711", claims, idm.clock.now())
}

#[tokio::test]
async fn a_trusted_issuers_token_is_the_users_with_its_address() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let issuer = ForeignIssuer::start(algorithm);
        let idm = trusting(&issuer).await;
        let admin = of(
            &issuer,
            &idm,
            &json!({"email": "ADMIN@example.org", "email_verified": true}),
        );
        assert_eq!(
            get(&idm, &admin, &format!("/user/{ADMIN}")).await.0,
            200,
            "{algorithm:?}"
        );
        make_user(&idm, &admin, "mei@example.org").await;
        let mei = of(&issuer, &idm, &json!({"email": "mei@example.org"}));
        assert_eq!(get(&idm, &mei, "/user/mei@example.org").await.0, 200);
        assert_eq!(
            get(&idm, &mei, &format!("/user/{ADMIN}")).await.0,
            403,
            "with that user's rights"
        );
        let made = json!({"sssid": "S-1", "name": "x", "bday": "1980-01-01"});
        assert_eq!(send(&idm, &mei, Method::POST, "/subject", &made).await.0, 201);
        let audits = get(&idm, &mei, "/subject/S-1/audits").await.1;
        assert_eq!(audits["data"][0]["actor"], "mei@example.org");
        let own = token(&idm, ADMIN, PASSWORD).await;
        assert_eq!(get(&idm, &own, "/subject").await.0, 200, "our own tokens go on");
    }
}

#[tokio::test]
async fn who_is_no_user_or_has_no_verified_address_does_not_get_in() {
    let issuer = ForeignIssuer::start(Algorithm::ES256);
    let idm = trusting(&issuer).await;
    for claims in [
        json!({}),
        json!({"email": "nobody@example.org", "email_verified": true}),
        json!({"email": ADMIN, "email_verified": false}),
        json!({"email": ADMIN, "email_verified": "false"}),
        json!({"email": [ADMIN]}),
        json!({"username": ADMIN}),
        json!({"identity": 1}),
    ] {
        assert_eq!(
            get(&idm, &of(&issuer, &idm, &claims), "/subject").await.0,
            401,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn another_issuer_or_audience_or_an_old_token_does_not_get_in() {
    let (issuer, stranger) = (
        ForeignIssuer::start(Algorithm::ES256),
        ForeignIssuer::start(Algorithm::ES256),
    );
    let idm = trusting(&issuer).await;
    let claims = json!({"email": ADMIN});
    let now = idm.clock.now();
    assert_eq!(get(&idm, &of(&stranger, &idm, &claims), "/subject").await.0, 401);
    assert_eq!(stranger.fetches(), 0);
    let elsewhere = issuer.token("another service", "4711", &claims, now);
    assert_eq!(get(&idm, &elsewhere, "/subject").await.0, 401);
    let old = issuer.token(
        "idm-users",
        "4711",
        &claims,
        now - jiff::SignedDuration::from_hours(1),
    );
    assert_eq!(get(&idm, &old, "/subject").await.0, 401);
    let good = of(&issuer, &idm, &claims);
    assert_eq!(get(&idm, &good, "/subject").await.0, 200);
    let admin = token(&idm, ADMIN, PASSWORD).await;
    let boss = json!({"username": "boss@example.org", "password": PASSWORD, "admin": true});
    assert_eq!(send(&idm, &admin, Method::POST, "/user", &boss).await.0, 200);
    assert_eq!(
        send(&idm, &admin, Method::DELETE, "/user", &json!({"username": ADMIN}))
            .await
            .0,
        204
    );
    assert_eq!(get(&idm, &good, "/subject").await.0, 401, "nor a deleted user's");
}
