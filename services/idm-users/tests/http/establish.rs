//! `POST /establish`, and the order of its errors.

use std::time::Duration;

use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{
    ADMIN, PASSWORD, administered, claims, establish, get, jwt_of, make_link, patient, send, token, told,
};

const SECRET: &[u8] = b"a secret of a test, of thirty-two bytes or more";

#[tokio::test]
async fn an_app_establishes_its_link() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    let request = idm
        .post("/establish")
        .bearer_auth(&jwt)
        .header("content-type", "application/fhir+json");
    let answer = request.body(patient("app-7").to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let shown = get(&idm, &token, &format!("/link/{link}")).await.1;
    let shown = &shown["data"];
    assert_eq!(
        (&shown["linked_to"], &shown["linked_system"]),
        (&json!("app-7"), &json!("https://app.example.org"))
    );
    let now = idm.clock.now();
    let on: jiff::Timestamp = shown["linked_on"].as_str().unwrap().parse().unwrap();
    assert!(now.duration_since(on).as_secs() < 60);
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["date_enrolled"],
        shown["linked_on"]
    );
    assert_eq!(
        get(&idm, &token, "/subject?status=2").await.1["data"][0]["sssid"],
        "S-1"
    );
}

#[tokio::test]
async fn the_scheme_may_be_jwt_and_the_system_may_be_missing() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    let body = json!({"resourceType": "Patient", "identifier": [{"value": "7"}]});
    let request = idm
        .post("/establish")
        .header("authorization", format!("JWT {jwt}"))
        .json(&body);
    assert_eq!(told(request).await.0, 204);
    let shown = get(&idm, &token, &format!("/link/{link}")).await.1;
    assert!(shown["data"].get("linked_system").is_none());
}

#[tokio::test]
async fn errors_come_in_their_order() {
    let (idm, admin) = administered(&[]).await;
    let link = make_link(&idm, &admin, "S-1").await;
    let jwt = jwt_of(&idm, &admin, &link).await;
    // What is wrong further down is wrong in every request here.
    let bad = json!({"resourceType": "Observation"});
    let with = |header: Option<String>| {
        let request = idm.post("/establish").json(&bad);
        match header {
            Some(header) => request.header("authorization", header),
            None => request,
        }
    };
    let answer = with(None).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key("www-authenticate"));
    assert_eq!(told(with(Some("Basic YTpi".to_owned()))).await.0, 406);
    assert_eq!(told(with(Some("Bearer nonsense".to_owned()))).await.0, 403);
    assert_eq!(
        told(with(Some(format!("Bearer {jwt}")))).await.0,
        406,
        "not a Patient"
    );
    assert_eq!(establish(&idm, &jwt, &patient("1")).await, 204);
    assert_eq!(told(with(Some(format!("Bearer {jwt}")))).await.0, 409);
    idm.clock.advance(Duration::from_hours(25));
    assert_eq!(
        told(with(Some(format!("Bearer {jwt}")))).await.0,
        409,
        "established comes before expired"
    );
    let admin = token(&idm, ADMIN, PASSWORD).await;
    let link = make_link(&idm, &admin, "S-2").await;
    let jwt = jwt_of(&idm, &admin, &link).await;
    idm.clock.advance(Duration::from_hours(25));
    assert_eq!(
        told(with(Some(format!("Bearer {jwt}")))).await.0,
        403,
        "expired comes before the body"
    );
}

#[tokio::test]
async fn only_a_patient_with_an_identifier_will_do() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    for body in [
        json!({}),
        json!([]),
        json!("Patient"),
        json!({"resourceType": "patient", "identifier": [{"value": "1"}]}),
        json!({"resourceType": "Patient"}),
        json!({"resourceType": "Patient", "identifier": []}),
        json!({"resourceType": "Patient", "identifier": {"value": "1"}}),
        json!({"resourceType": "Patient", "identifier": [{}, {"value": "1"}]}),
        json!({"resourceType": "Patient", "identifier": [{"value": ""}]}),
        json!({"resourceType": "Patient", "identifier": [{"value": 1}]}),
        json!({"resourceType": "Patient", "identifier": [{"value": "a\u{0}b"}]}),
        json!({"resourceType": "Patient", "identifier": [{"value": "1", "system": 7}]}),
    ] {
        assert_eq!(establish(&idm, &jwt, &body).await, 406, "{body}");
    }
    assert_eq!(
        told(idm.post("/establish").bearer_auth(&jwt).body("{")).await.0,
        406
    );
    assert_eq!(
        establish(&idm, &jwt, &patient("1")).await,
        204,
        "none of that has spent it"
    );
}

#[tokio::test]
async fn a_jwt_that_is_not_ours_establishes_nothing() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let said = claims(&jwt_of(&idm, &token, &link).await);
    let key = SharedKey::new(SharedAlgorithm::HS256, SECRET).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = said.clone();
        claims[name] = value;
        key.sign(&claims).unwrap()
    };
    let other = SharedKey::new(SharedAlgorithm::HS256, &[1; 32]).unwrap();
    for jwt in [
        other.sign(&said).unwrap(),
        with("jti", json!("00000000-0000-4000-8000-000000000000")),
        with("jti", json!("x")),
        with("jti", json!(link.to_uppercase())),
        with("iss", json!("x")),
        with("aud", json!("x")),
        token.clone(),
    ] {
        assert_eq!(establish(&idm, &jwt, &patient("1")).await, 403);
    }
}

#[tokio::test]
async fn a_withdrawn_link_or_subject_establishes_nothing() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    let path = format!("/link/{link}");
    assert_eq!(
        send(&idm, &token, Method::PUT, &path, &json!({"withdrawn_on": "soon"}))
            .await
            .0,
        400
    );
    assert_eq!(
        send(
            &idm,
            &token,
            Method::PUT,
            &path,
            &json!({"withdrawn_on": "2026-01-05"})
        )
        .await
        .0,
        204
    );
    for body in [
        json!({"withdrawn_on": "2026-01-06"}),
        json!({"withdrawn_on": null}),
    ] {
        assert_eq!(
            send(&idm, &token, Method::PUT, &path, &body).await.0,
            409,
            "{body}"
        );
    }
    assert_eq!(establish(&idm, &jwt, &patient("1")).await, 403);
    let other = make_link(&idm, &token, "S-2").await;
    let jwt = jwt_of(&idm, &token, &other).await;
    let change = json!({"sssid": "S-2", "date_withdrawn": "2026-01-05"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-2", &change).await.0,
        204
    );
    assert_eq!(establish(&idm, &jwt, &patient("1")).await, 403);
}
