//! Who signs in, and what most tests do first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::IDM;

pub const ADMIN: &str = "admin@example.org";
pub const PASSWORD: &str = "winter-is-coming";

/// A service with an administrator, and the administrator's token.
pub async fn administered(settings: &[&str]) -> (TestService, String) {
    let idm = IDM.start(settings).await;
    make_admin(&idm).await;
    let token = token(&idm, ADMIN, PASSWORD).await;
    (idm, token)
}

/// Makes the administrator as a browser does.
pub async fn make_admin(idm: &TestService) {
    let form = [("username", ADMIN), ("pass1", PASSWORD), ("pass2", PASSWORD)];
    let answer = idm.post("/init").form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Tries to sign in.
pub async fn sign_in(idm: &TestService, username: &str, password: &str) -> Response {
    let body = json!({"username": username, "password": password});
    idm.post("/auth").json(&body).send().await.unwrap()
}

pub async fn token(idm: &TestService, username: &str, password: &str) -> String {
    let answer = sign_in(idm, username, password).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A request with a token, as the frontends send it.
pub fn request(idm: &TestService, token: &str, method: Method, path: &str) -> RequestBuilder {
    idm.request(method, path)
        .header("Authorization", format!("JWT {token}"))
}

/// Sends a document; gives status and answer.
pub async fn send(idm: &TestService, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    told(request(idm, token, method, path).json(body)).await
}

/// Asks; gives status and answer.
pub async fn get(idm: &TestService, token: &str, path: &str) -> (u16, Value) {
    told(request(idm, token, Method::GET, path)).await
}

pub async fn told(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status >= 400 {
        assert_eq!(document["error"]["status"], status, "the error form: {text}");
        assert!(
            document["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{text}"
        );
        assert_eq!(document.as_object().unwrap().len(), 1, "{text}");
    }
    (status, document)
}

/// Makes a user who is no administrator, and gives their token.
pub async fn make_user(idm: &TestService, admin: &str, username: &str) -> String {
    let body = json!({"username": username, "password": PASSWORD});
    assert_eq!(send(idm, admin, Method::POST, "/user", &body).await.0, 200);
    token(idm, username, PASSWORD).await
}

/// Makes a subject with these members beside the required ones.
pub async fn make_subject(idm: &TestService, token: &str, sssid: &str, more: &Value) {
    let mut body = json!({"sssid": sssid, "name": format!("Name of {sssid}"), "bday": "1976-04-12"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, answer) = send(idm, token, Method::POST, "/subject", &body).await;
    assert_eq!(status, 201, "{answer}");
}

/// Makes a subject who has consented, with a link; gives the link's id.
pub async fn make_link(idm: &TestService, token: &str, sssid: &str) -> String {
    make_subject(idm, token, sssid, &json!({"date_consented": "2026-01-02"})).await;
    let (status, link) = send(
        idm,
        token,
        Method::POST,
        &format!("/subject/{sssid}/links"),
        &json!({}),
    )
    .await;
    assert_eq!(status, 201, "{link}");
    link["data"]["_id"].as_str().unwrap().to_owned()
}

/// The JWT of a link.
pub async fn jwt_of(idm: &TestService, token: &str, link: &str) -> String {
    let answer = request(idm, token, Method::GET, &format!("/link/{link}/jwt"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/jwt");
    answer.text().await.unwrap()
}

/// Establishes a link.
pub async fn establish(idm: &TestService, jwt: &str, patient: &Value) -> u16 {
    let request = idm.post("/establish").bearer_auth(jwt).json(patient);
    told(request).await.0
}

/// A FHIR Patient as an app sends it.
pub fn patient(value: &str) -> Value {
    json!({"resourceType": "Patient", "identifier": [{"value": value, "system": "https://app.example.org"}, {"value": "2"}]})
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}
