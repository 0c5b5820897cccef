//! What browsers meet: the discovery document for programs, and the page that asks.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use url::Url;

use super::state::{Account, Grant, Shared, random_text};

type Query = web::Query<HashMap<String, String>>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/.well-known/openid-configuration", web::get().to(discovery))
        .route("/jwks", web::get().to(jwks))
        .route("/authorize", web::get().to(authorize))
        .route("/authorize", web::post().to(decide))
        .route("/end_session", web::get().to(end_session));
}

async fn discovery(shared: web::Data<Shared>) -> HttpResponse {
    let (ways, url) = (shared.lock().ways.clone(), &shared.url);
    if ways.discovery != 200 {
        return HttpResponse::new(StatusCode::from_u16(ways.discovery).unwrap());
    }
    HttpResponse::Ok().json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "revocation_endpoint": format!("{url}/revoke"),
        "end_session_endpoint": format!("{url}/end_session"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "email", "profile", "offline_access"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": ways.issuer_in_answers.is_some(),
    }))
}

async fn jwks(shared: web::Data<Shared>) -> HttpResponse {
    let mut inner = shared.lock();
    inner.key_fetches += 1;
    HttpResponse::Ok().json(json!({"keys": [inner.key.public().jwk()]}))
}

async fn authorize(shared: web::Data<Shared>, query: Query) -> HttpResponse {
    let ways = shared.lock().ways.clone();
    let asked = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if asked("client_id") != ways.client.0 || asked("response_type") != "code" {
        return HttpResponse::BadRequest().body("no such client, or no code is asked for");
    }
    if let Some(error) = &ways.denies {
        return back(
            &shared,
            &query,
            &[("error", error), ("error_description", "It was not allowed.")],
        );
    }
    if !ways.asks {
        return allow(&shared, &query, &ways.accounts[0].clone());
    }
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(page(&ways.title, &ways.accounts, &query))
}

async fn decide(
    shared: web::Data<Shared>,
    query: Query,
    form: web::Form<HashMap<String, String>>,
) -> HttpResponse {
    let accounts = shared.lock().ways.accounts.clone();
    let chosen = form
        .get("account")
        .and_then(|subject| accounts.iter().find(|account| &account.subject == subject));
    match chosen {
        Some(account) => allow(&shared, &query, account),
        None => back(
            &shared,
            &query,
            &[
                ("error", "access_denied"),
                ("error_description", "It was not allowed."),
            ],
        ),
    }
}

fn allow(shared: &Shared, query: &Query, account: &Account) -> HttpResponse {
    let code = random_text();
    let asked = |name: &str| query.get(name).cloned();
    let grant = Grant {
        account: account.clone(),
        scope: asked("scope").unwrap_or_default(),
        nonce: asked("nonce"),
        redirect_uri: asked("redirect_uri").unwrap_or_default(),
        challenge: asked("code_challenge")
            .filter(|_| asked("code_challenge_method").as_deref() == Some("S256")),
    };
    shared.lock().codes.insert(code.clone(), grant);
    back(shared, query, &[("code", &code)])
}

fn back(shared: &Shared, query: &Query, answer: &[(&str, &str)]) -> HttpResponse {
    let Some(mut url) = query.get("redirect_uri").and_then(|uri| Url::parse(uri).ok()) else {
        return HttpResponse::BadRequest().body("no redirect_uri");
    };
    let issuer = shared.lock().ways.issuer_in_answers.clone();
    url.query_pairs_mut()
        .extend_pairs(answer)
        .extend_pairs(query.get("state").map(|state| ("state", state)))
        .extend_pairs(issuer.iter().map(|issuer| ("iss", issuer)));
    HttpResponse::SeeOther()
        .insert_header(("location", url.as_str()))
        .finish()
}

async fn end_session(query: Query) -> HttpResponse {
    match query.get("post_logout_redirect_uri") {
        Some(url) => HttpResponse::Found()
            .insert_header(("location", url.as_str()))
            .finish(),
        None => HttpResponse::Ok().body("signed out"),
    }
}

fn page(title: &str, accounts: &[Account], query: &Query) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;")
    };
    let button = |account: &Account| {
        let [subject, name, email] =
            [&account.subject, &account.name, &account.email].map(|text| escape(text));
        format!("<button name=\"account\" value=\"{subject}\"><strong>{name}</strong><br>{email}</button>\n")
    };
    let buttons = accounts.iter().map(button).collect::<Vec<_>>().concat();
    let scope = query.get("scope").map(String::as_str).unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>{title}</title><style>
:root {{ color-scheme: light dark }} body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 4rem auto; padding: 0 1rem }}
button {{ font: inherit; display: block; width: 100%; text-align: start; padding: .75rem 1rem; margin: .5rem 0; border-radius: 8px; border: 1px solid gray; cursor: pointer }}
</style><h1>{title}</h1><p>Who are you? By choosing, you allow: <em>{scope}</em></p>
<form method=\"post\">{buttons}<button name=\"deny\" value=\"1\">Do not allow</button></form></html>",
        title = escape(title),
        scope = escape(scope),
    )
}
