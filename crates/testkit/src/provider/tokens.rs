//! What services meet: the token endpoint, userinfo, revocation.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::delay;
use super::state::{Answer, Grant, Inner, Refreshing, Shared, merge, random_text};

type Form = web::Form<HashMap<String, String>>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/token", web::post().to(token))
        .route("/userinfo", web::get().to(userinfo))
        .route("/revoke", web::post().to(revoke));
}

async fn token(shared: web::Data<Shared>, request: HttpRequest, form: Form) -> HttpResponse {
    let answer = {
        let mut inner = shared.lock();
        let mut noted = json!(form.0);
        let header = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        noted["authorization"] = header.unwrap_or_default().into();
        inner.requests.push(noted);
        match inner.ways.token.clone() {
            Answer::Fixed(status, body) => HttpResponse::build(StatusCode::from_u16(status).unwrap())
                .content_type("application/json")
                .body(body),
            _ if !knows(&inner, &request, &form) => {
                HttpResponse::Unauthorized().json(json!({"error": "invalid_client"}))
            }
            ways => match grant(&mut inner, &form) {
                Some(grant) => {
                    let mut answer = tokens(&shared, &mut inner, &grant, form.get("grant_type"));
                    if let Answer::With(over) = &ways {
                        merge(&mut answer, over);
                    }
                    HttpResponse::Ok().json(answer)
                }
                None => HttpResponse::BadRequest()
                    .json(json!({"error": "invalid_grant", "error_description": "It is good for nothing."})),
            },
        }
    };
    // What it decided stands before anybody hears of it: so it is with real ones.
    delay(&shared).await;
    answer
}

/// Whether it is the client, by Basic, by the form, or by an assertion (whose signature it takes for good).
fn knows(inner: &Inner, request: &HttpRequest, form: &Form) -> bool {
    let (id, secret) = &inner.ways.client;
    if let Some(assertion) = form.get("client_assertion") {
        let payload = assertion.split('.').nth(1).unwrap_or_default();
        let claims = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        return claims["iss"] == **id && claims["sub"] == **id;
    }
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if let Some(pair) = header.and_then(|header| header.strip_prefix("Basic ")) {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        return pair == BASE64.encode(format!("{}:{}", encode(id), encode(secret)).as_bytes());
    }
    form.get("client_id") == Some(id) && form.get("client_secret") == Some(secret)
}

fn grant(inner: &mut Inner, form: &Form) -> Option<Grant> {
    let presented = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    match presented("grant_type") {
        "authorization_code" => {
            let grant = inner.codes.remove(presented("code"))?;
            let digest = BASE64URL_NOPAD.encode(&Sha256::digest(presented("code_verifier")));
            let proved = grant
                .challenge
                .as_ref()
                .is_some_and(|challenge| *challenge == digest);
            (proved && grant.redirect_uri == presented("redirect_uri")).then_some(grant)
        }
        "refresh_token" => match inner.ways.refreshing {
            Refreshing::Rotating => inner.refresh_tokens.remove(presented("refresh_token")),
            Refreshing::Keeping => inner.refresh_tokens.get(presented("refresh_token")).cloned(),
            Refreshing::Never => None,
        },
        _ => None,
    }
}

fn tokens(shared: &Shared, inner: &mut Inner, grant: &Grant, grant_type: Option<&String>) -> Value {
    let (access, refresh) = (random_text(), random_text());
    let ways = inner.ways.clone();
    let first = grant_type.is_some_and(|grant_type| grant_type == "authorization_code");
    let mut answer = json!({"access_token": access, "token_type": "Bearer", "scope": grant.scope});
    inner.access_tokens.insert(access, grant.clone());
    if let Some(seconds) = ways.expires_in {
        answer["expires_in"] = seconds.into();
    }
    if ways.refreshing == Refreshing::Rotating || (ways.refreshing == Refreshing::Keeping && first) {
        answer["refresh_token"] = refresh.clone().into();
        inner.refresh_tokens.insert(refresh, grant.clone());
    }
    if ways.openid && first && grant.scope.split(' ').any(|scope| scope == "openid") {
        let mut claims = json!({
            "sub": grant.account.subject, "name": grant.account.name, "email": grant.account.email,
            "email_verified": true, "nonce": grant.nonce,
        });
        merge(&mut claims, &ways.claims);
        answer["id_token"] = shared.sign(inner, &claims).into();
    }
    answer
}

async fn userinfo(shared: web::Data<Shared>, request: HttpRequest) -> HttpResponse {
    let inner = shared.lock();
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|header| header.strip_prefix("Bearer "))
        .unwrap_or_default();
    let Some(grant) = inner.access_tokens.get(token) else {
        return HttpResponse::Unauthorized().finish();
    };
    let account = &grant.account;
    if inner.ways.openid {
        return HttpResponse::Ok()
            .json(json!({"sub": account.subject, "name": account.name, "email": account.email}));
    }
    // As GitHub does it: a number, and a login.
    HttpResponse::Ok().json(json!({"id": 1001, "login": account.subject, "name": account.name}))
}

async fn revoke(shared: web::Data<Shared>, form: Form) -> HttpResponse {
    let mut inner = shared.lock();
    let status = inner.ways.revocation;
    if status == 200 {
        let token = form.get("token").cloned().unwrap_or_default();
        inner.refresh_tokens.remove(&token);
        inner.access_tokens.remove(&token);
        inner.revoked.push(token);
    }
    HttpResponse::new(StatusCode::from_u16(status).unwrap())
}
