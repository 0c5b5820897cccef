//! OAuth 2.0: the token endpoint, introspection, revocation, metadata.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_core::crypto::jwt::{Algorithm, Claims, SigningKey};
use identity_testkit::TestService;
use jiff::SignedDuration;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::callers::{administered, claims, make_client, sign_in, status_with};
use crate::people::{expect, header};

struct Registered {
    id: String,
    secret: String,
}

async fn registered(ident: &TestService, admin: &str) -> Registered {
    let made = make_client(
        ident,
        admin,
        &json!({"name": "m", "permissions": ["users:read", "clients:read"]}),
    )
    .await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Registered {
        id: text("id"),
        secret: text("client_secret"),
    }
}

async fn post(ident: &TestService, client: &Registered, path: &str, form: &[(&str, &str)]) -> Response {
    ident
        .post(path)
        .basic_auth(&client.id, Some(&client.secret))
        .form(form)
        .send()
        .await
        .unwrap()
}

/// The `error` of RFC 6749, 5.2.
async fn error(answer: Response, status: StatusCode) -> String {
    let answer = expect(answer, status).await;
    assert!(answer["error_description"].is_string());
    answer["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn client_credentials_in_every_way_of_authentication() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let grant = ("grant_type", "client_credentials");
    let basic = post(&ident, &client, "/oauth2/token", &[grant]).await;
    assert_eq!(
        (header(&basic, "cache-control"), header(&basic, "pragma")),
        ("no-store".into(), "no-cache".into())
    );
    let basic = expect(basic, StatusCode::OK).await;
    assert_eq!(
        (&basic["token_type"], &basic["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
    assert_eq!(basic["scope"], "users:read clients:read");
    assert!(basic.get("refresh_token").is_none());
    let token = basic["access_token"].as_str().unwrap();
    assert_eq!(
        (&claims(token)["sub"], &claims(token)["client_id"]),
        (&json!(client.id), &json!(client.id))
    );
    assert_eq!(status_with(&ident, token).await, 200);
    let form = [
        grant,
        ("client_id", &client.id),
        ("client_secret", &client.secret),
    ];
    expect(
        ident.post("/oauth2/token").form(&form).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let key = SigningKey::from_pem(&SigningKey::generate(Algorithm::ES256).unwrap()).unwrap();
    let made = make_client(
        &ident,
        &admin,
        &json!({"name": "k", "public_key": key.public().pem()}),
    )
    .await;
    let id = made["id"].as_str().unwrap().to_owned();
    let now = ident.clock.now();
    let assertion = Claims {
        issuer: id.clone(),
        subject: id.clone(),
        audience: vec!["http://127.0.0.1:5000/oauth2/token".to_owned()],
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(1),
        id: "once".to_owned(),
        own: json!({}),
    };
    let assertion = key.sign(&assertion, "JWT").unwrap();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = [
        grant,
        ("client_assertion_type", kind),
        ("client_assertion", &assertion),
    ];
    expect(
        ident.post("/oauth2/token").form(&form).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let again = ident.post("/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(error(again, StatusCode::UNAUTHORIZED).await, "invalid_client");
}

#[tokio::test]
async fn a_token_is_for_the_resource_and_the_scope_that_are_asked_for() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let ask = async |more: &[(&str, &str)]| {
        let form: Vec<_> = [("grant_type", "client_credentials")]
            .iter()
            .chain(more)
            .copied()
            .collect();
        post(&ident, &client, "/oauth2/token", &form).await
    };
    for name in ["resource", "audience"] {
        let answer = expect(
            ask(&[(name, "https://api.example"), ("scope", "users:read")]).await,
            StatusCode::OK,
        )
        .await;
        let said = claims(answer["access_token"].as_str().unwrap());
        assert_eq!(
            (&said["aud"], &said["permissions"]),
            (&json!("https://api.example"), &json!(["users:read"]))
        );
    }
    assert_eq!(
        error(ask(&[("scope", "users:write")]).await, StatusCode::BAD_REQUEST).await,
        "invalid_scope"
    );
    let path = format!("/api/clients/{}", client.id);
    let body = json!({"audiences": ["https://api.example"]});
    expect(
        ident
            .patch(&path)
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(
        error(
            ask(&[("resource", "https://b.example")]).await,
            StatusCode::BAD_REQUEST
        )
        .await,
        "invalid_target"
    );
}

#[tokio::test]
async fn the_errors_are_those_of_rfc_6749() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let bad = StatusCode::BAD_REQUEST;
    assert_eq!(
        error(post(&ident, &client, "/oauth2/token", &[]).await, bad).await,
        "invalid_request"
    );
    let password = [("grant_type", "password"), ("username", "admin")];
    assert_eq!(
        error(post(&ident, &client, "/oauth2/token", &password).await, bad).await,
        "unsupported_grant_type"
    );
    let twice = [
        ("grant_type", "client_credentials"),
        ("grant_type", "client_credentials"),
    ];
    assert_eq!(
        error(post(&ident, &client, "/oauth2/token", &twice).await, bad).await,
        "invalid_request"
    );
    let two_ways = [
        ("grant_type", "client_credentials"),
        ("client_secret", client.secret.as_str()),
    ];
    assert_eq!(
        error(post(&ident, &client, "/oauth2/token", &two_ways).await, bad).await,
        "invalid_request"
    );
    let as_json = ident
        .post("/oauth2/token")
        .json(&json!({"grant_type": "client_credentials"}))
        .send()
        .await
        .unwrap();
    assert_eq!(error(as_json, bad).await, "invalid_request");
    let wrong = Registered {
        id: client.id.clone(),
        secret: "wrong".to_owned(),
    };
    let refused = post(
        &ident,
        &wrong,
        "/oauth2/token",
        &[("grant_type", "client_credentials")],
    )
    .await;
    assert!(header(&refused, "www-authenticate").starts_with("Basic"));
    assert_eq!(error(refused, StatusCode::UNAUTHORIZED).await, "invalid_client");
    let nobody = ident
        .post("/oauth2/token")
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(error(nobody, StatusCode::UNAUTHORIZED).await, "invalid_client");
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_and_a_clients_by_that_client_only() {
    let (ident, admin) = administered(&[]).await;
    let (client, other) = (registered(&ident, &admin).await, registered(&ident, &admin).await);
    let form = [("grant_type", "refresh_token"), ("refresh_token", admin.as_str())];
    let answer = ident.post("/oauth2/token").form(&form).send().await.unwrap();
    let answer = expect(answer, StatusCode::OK).await;
    assert_eq!(answer["access_token"], answer["refresh_token"]);
    assert_eq!(
        status_with(&ident, answer["access_token"].as_str().unwrap()).await,
        200
    );
    let own = post(
        &ident,
        &client,
        "/oauth2/token",
        &[("grant_type", "client_credentials")],
    )
    .await;
    let own = expect(own, StatusCode::OK).await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = [("grant_type", "refresh_token"), ("refresh_token", own.as_str())];
    assert_eq!(
        error(
            post(&ident, &other, "/oauth2/token", &form).await,
            StatusCode::BAD_REQUEST
        )
        .await,
        "invalid_grant"
    );
    let anonymous = ident.post("/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(error(anonymous, StatusCode::BAD_REQUEST).await, "invalid_grant");
    expect(
        post(&ident, &client, "/oauth2/token", &form).await,
        StatusCode::OK,
    )
    .await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x.y.z")];
    assert_eq!(
        error(
            post(&ident, &client, "/oauth2/token", &form).await,
            StatusCode::BAD_REQUEST
        )
        .await,
        "invalid_grant"
    );
}

#[tokio::test]
async fn introspection_tells_clients_what_a_token_says() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let asked = post(&ident, &client, "/oauth2/introspect", &[("token", &admin)]).await;
    let told = expect(asked, StatusCode::OK).await;
    let said = claims(&admin);
    assert_eq!(told["active"], true);
    for name in ["iss", "sub", "exp", "iat", "nbf", "jti", "type", "permissions"] {
        assert_eq!(told[name], said[name], "{name}");
    }
    let nonsense = post(&ident, &client, "/oauth2/introspect", &[("token", "nonsense")]).await;
    assert_eq!(expect(nonsense, StatusCode::OK).await, json!({"active": false}));
    let missing = post(&ident, &client, "/oauth2/introspect", &[]).await;
    assert_eq!(error(missing, StatusCode::BAD_REQUEST).await, "invalid_request");
    let stranger = ident
        .post("/oauth2/introspect")
        .form(&[("token", &admin)])
        .send()
        .await
        .unwrap();
    assert_eq!(error(stranger, StatusCode::UNAUTHORIZED).await, "invalid_client");
}

#[tokio::test]
async fn revocation_ends_a_token_and_says_nothing_of_unknown_ones() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let token = sign_in(&ident, "admin").await;
    for token in [token.as_str(), token.as_str(), "nonsense"] {
        assert_eq!(
            post(&ident, &client, "/oauth2/revoke", &[("token", token)])
                .await
                .status(),
            StatusCode::OK
        );
    }
    assert_eq!(status_with(&ident, &token).await, 401);
    let told = post(&ident, &client, "/oauth2/introspect", &[("token", &token)]).await;
    assert_eq!(expect(told, StatusCode::OK).await, json!({"active": false}));
}

#[tokio::test]
async fn the_metadata_name_what_is_really_there() {
    let (ident, _) = administered(&["server.public_url=https://ident.example/"]).await;
    let mut documents = Vec::new();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        documents.push(expect(ident.get(path).send().await.unwrap(), StatusCode::OK).await);
    }
    assert_eq!(documents[0], documents[1]);
    let document = &documents[0];
    for name in [
        "jwks_uri",
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
    ] {
        let path = document[name]
            .as_str()
            .unwrap()
            .strip_prefix("https://ident.example")
            .unwrap();
        let status = ident.get(path).send().await.unwrap().status();
        assert!(matches!(status.as_u16(), 200 | 405), "{name} {status}");
    }
    assert_eq!(
        document["grant_types_supported"],
        json!(["client_credentials", "refresh_token"])
    );
    let keys: Value = ident
        .get("/.well-known/jwks.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key.get("d").is_none())
    );
}

#[tokio::test]
async fn a_narrow_token_stays_narrow_when_it_is_refreshed() {
    let (ident, admin) = administered(&[]).await;
    let client = registered(&ident, &admin).await;
    let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
    let narrow = expect(
        post(&ident, &client, "/oauth2/token", &form).await,
        StatusCode::OK,
    )
    .await;
    let narrow = narrow["access_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", narrow.as_str()),
    ];
    let refreshed = expect(
        post(&ident, &client, "/oauth2/token", &form).await,
        StatusCode::OK,
    )
    .await;
    assert_eq!(refreshed["scope"], "users:read");
    let again = ident
        .post("/auth/refresh")
        .bearer_auth(&narrow)
        .send()
        .await
        .unwrap();
    let again = expect(again, StatusCode::OK).await;
    assert_eq!(
        claims(again["token"].as_str().unwrap())["permissions"],
        json!(["users:read"])
    );
}
