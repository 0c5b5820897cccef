//! `/api/oidc`: signing in and out with a browser. `/api/whoami`: who is signed in.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::crypto::token::PlainToken;
use identity_core::http::body::{Body, media_type};
use identity_core::http::{Problem, route};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::sessions::{self, NewSession};
use super::states;
use crate::access::{By, Caller, Person, Profile, identify, query};
use crate::audit::{self, Action, Entry};
use crate::cookies::{Cookie, FLOW_LIFETIME};
use crate::flow::Flow;
use crate::providers::{Callback, ProviderError, Unreachable};
use crate::state::State;

/// Adds the paths.
pub fn routes(config: &mut web::ServiceConfig) {
    let get = |path: &str, handler: actix_web::Route| {
        web::resource(path)
            .route(handler)
            .default_service(route::only("GET, HEAD"))
    };
    config
        .service(get("/api/oidc/login", route::get().to(login)))
        .service(get("/api/oidc/callback", route::get().to(callback)))
        .service(
            web::resource("/api/oidc/logout")
                .route(web::post().to(logout))
                .default_service(route::only("POST")),
        )
        .service(get("/api/whoami", route::get().to(whoami)));
}

/// The query of what can lead back.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Return {
    /// Where the browser goes at the end: one of our own pages, or what `return_urls` lists. Default: `/`.
    pub return_url: Option<String>,
}

/// 400 for a place that is not allowed.
pub fn refused_return_url() -> Problem {
    Problem::invalid(vec![identity_core::http::Invalid::new(
        "/return_url",
        "expected an address of this service, or one below `return_urls` of its configuration",
    )])
}

/// Begins a login: the browser goes to the login provider.
#[utoipa::path(get, path = "/api/oidc/login", tag = "Signing in", params(Return), security(()), responses(
    (status = 302, description = "To the login provider"),
    (status = 400, description = "The return URL is not allowed"),
    (status = 503, description = "The login provider does not answer"),
))]
pub async fn login(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let query: Return = query(&request)?;
    let now = state.clock.now();
    let return_url = state
        .return_urls
        .check(query.return_url.as_deref())
        .ok_or_else(refused_return_url)?;
    let begun = state
        .login
        .begin(&callback_url(&state), now)
        .await
        .map_err(down)?;
    let browser = browser_of(&state, &request);
    let secrets = Flow::Login.seal(&state.keys, &begun, &return_url);
    let client = state.database.client().await?;
    states::insert(
        &client,
        &begun.state,
        &browser.digest(),
        &secrets,
        now + FLOW_LIFETIME,
    )
    .await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, begun.location.as_str()))
        .insert_header((
            header::SET_COOKIE,
            state.cookies.set(Cookie::Browser, &browser, FLOW_LIFETIME),
        ))
        .finish())
}

/// The browser's own secret: the one it has, so that two logins can be under way in it, or a new one.
pub fn browser_of(state: &State, request: &HttpRequest) -> PlainToken {
    let known = state.cookies.find(request, Cookie::Browser);
    known.unwrap_or_else(|| PlainToken::generate(""))
}

fn callback_url(state: &State) -> String {
    format!("{}/api/oidc/callback", state.public_url)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn down(error: Unreachable) -> Problem {
    tracing::warn!(%error, "the login provider does not answer");
    Problem::unavailable("The login provider cannot be reached; try again soon.", 5)
}

/// Ends a login: the browser comes back from the login provider.
#[utoipa::path(get, path = "/api/oidc/callback", tag = "Signing in", security(()), responses(
    (status = 302, description = "Signed in: to the return URL"),
    (status = 400, description = "No login of this browser is under way, or the provider refused it"),
    (status = 503, description = "The login provider does not answer"),
))]
pub async fn callback(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let query: Callback = query(&request)?;
    let now = state.clock.now();
    let unknown = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "No login of this browser is under way, or it took too long. Sign in again.",
        )
        .of_kind("unknown-state")
    };
    let presented = query
        .state
        .as_deref()
        .map(PlainToken::presented)
        .ok_or_else(unknown)?;
    let browser = state
        .cookies
        .find(&request, Cookie::Browser)
        .ok_or_else(unknown)?;
    let client = state.database.client().await?;
    let sealed = states::take(&client, &presented, &browser.digest(), now).await?;
    drop(client);
    let secrets = Flow::Login
        .open(&state.keys, &presented, &sealed.ok_or_else(unknown)?)
        .map_err(Problem::internal)?;
    let exchanged = state
        .login
        .exchange(&query, &secrets.verifier, &callback_url(&state), now)
        .await;
    let obtained = exchanged.map_err(not_signed_in)?;
    let identity = match obtained.id_token {
        Some(_) => state.login.identity(&obtained, &secrets.nonce, now).await,
        None => Err(ProviderError::Identity(
            "the login provider sent no ID token".to_owned(),
        )),
    };
    let identity = identity.map_err(not_signed_in)?;
    let endpoints = state.login.endpoints(now).await.map_err(down)?;
    let person = Person {
        issuer: endpoints.issuer.clone().unwrap_or_default(),
        subject: identity.subject.ok_or_else(|| {
            not_signed_in(ProviderError::Identity(
                "an ID token without a subject".to_owned(),
            ))
        })?,
    };
    let asked: Vec<String> = state
        .login
        .settings
        .scope
        .split_whitespace()
        .map(ToOwned::to_owned)
        .collect();
    let scopes = obtained.scopes.as_deref().unwrap_or(&asked);
    let profile = Profile::of_claims(identity.claims, Some(scopes));
    let secret = begin_session(&request, &state, &person, &profile, obtained.id_token.as_ref()).await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, secrets.return_url))
        .append_header((
            header::SET_COOKIE,
            state
                .cookies
                .set(Cookie::Session, &secret, state.session.lifetime),
        ))
        .append_header((header::SET_COOKIE, state.cookies.unset(Cookie::Browser)))
        .finish())
}

/// A session of a secret that nobody knew before; the one that the browser had is over.
async fn begin_session(
    request: &HttpRequest,
    state: &State,
    person: &Person,
    profile: &Profile,
    id_token: Option<&SecretString>,
) -> Result<PlainToken, Problem> {
    let now = state.clock.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    if let Some(old) = state.cookies.find(request, Cookie::Session) {
        sessions::delete(&transaction, &old.digest()).await?;
    }
    let session = NewSession {
        person,
        profile,
        id_token,
    };
    let secret = sessions::insert(&transaction, &state.keys, &session, now).await?;
    let caller = Caller {
        person: person.clone(),
        profile: Arc::default(),
        by: By::Session(secret.clone()),
        address: identity_core::http::client::address_of(request),
    };
    audit::store::insert(&transaction, &Entry::of(&caller, Action::SignedIn, None, now)).await?;
    transaction.commit().await?;
    Ok(secret)
}

fn not_signed_in(error: ProviderError) -> Problem {
    match error {
        ProviderError::Unreachable(error) => down(error),
        error => {
            tracing::warn!(%error, "a login failed");
            let (code, description) = error.shown();
            let detail = format!("The login provider did not sign you in: {description} ({code})");
            Problem::new(StatusCode::BAD_REQUEST, detail).of_kind("login-failed")
        }
    }
}

/// Ends the session, here and at the login provider where it can.
#[utoipa::path(post, path = "/api/oidc/logout", tag = "Signing in", responses(
    (status = 303, description = "Signed out: to the login provider, which ends its own session, or to the page"),
    (status = 401, description = "What is presented is no good"),
    (status = 403, description = "The request did not come from a page of this service"),
))]
pub async fn logout(
    request: HttpRequest,
    state: web::Data<State>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let caller = identify(&request).await?;
    let (mut to, now) = (state.page(), state.clock.now());
    if let Some(caller) = &caller
        && let By::Session(secret) = &caller.by
    {
        if media_type(&request).as_deref() == Some("application/x-www-form-urlencoded") {
            caller.check_form(&form_token(&body.0))?;
        }
        let mut client = state.database.client().await?;
        let transaction = client.transaction().await?;
        let id_token = sessions::delete(&transaction, &secret.digest()).await?;
        audit::store::insert(&transaction, &Entry::of(caller, Action::SignedOut, None, now)).await?;
        transaction.commit().await?;
        if let Ok(endpoints) = state.login.endpoints(now).await
            && let Some(end) = &endpoints.end_session
        {
            to = end_session(&state, end, secret, id_token.as_deref());
        }
    }
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to.as_str()))
        .append_header((header::SET_COOKIE, state.cookies.unset(Cookie::Session)))
        .append_header((header::SET_COOKIE, state.cookies.unset(Cookie::Browser)))
        .finish())
}

/// What a form says under `form_token`.
fn form_token(body: &[u8]) -> String {
    let mut pairs = url::form_urlencoded::parse(body);
    let token = pairs.find(|(name, _)| name == "form_token");
    token.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// OpenID Connect RP-Initiated Logout 1.0, 2.
fn end_session(state: &State, end: &Url, secret: &PlainToken, id_token: Option<&str>) -> Url {
    let mut url = end.clone();
    let place = sessions::place(secret.digest().as_str());
    let hint = id_token.and_then(|sealed| state.keys.open_text(&place, sealed).ok());
    let mut query = url.query_pairs_mut();
    query
        .append_pair("client_id", &state.login.settings.client_id)
        .append_pair("post_logout_redirect_uri", state.page().as_str());
    if let Some(hint) = hint {
        query.append_pair("id_token_hint", hint.expose_secret());
    }
    drop(query);
    url
}

/// Who is calling.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WhoAmI {
    /// `sub`
    id: String,
    #[serde(flatten)]
    profile: Profile,
}

/// Who is calling.
#[utoipa::path(get, path = "/api/whoami", tag = "Signing in", responses(
    (status = 200, description = "The caller", body = WhoAmI),
    (status = 401, description = "Nobody is signed in"),
))]
pub async fn whoami(caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(WhoAmI {
        id: caller.person.subject,
        profile: Arc::unwrap_or_clone(caller.profile),
    })
}
