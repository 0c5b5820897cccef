//! `/oauth2/token` (RFC 6749), `/oauth2/introspect` (RFC 7662), `/oauth2/revoke` (RFC 7009). Their
//! errors have the form of RFC 6749, 5.2.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::http::body::Body;
use identity_core::http::client::address_of;
use identity_core::http::{Problem, route};
use serde::Serialize;
use serde_json::{Value, json};

use super::metadata;
use super::request::{Form, OAuthError, Refusal, answered, authenticated, form, invalid_request, presented};
use crate::clients::token::may_ask;
use crate::clients::{Client, authenticate};
use crate::state::{Shared, State};
use crate::tokens::api::{end_family, issue_first, not_issued, successor};
use crate::tokens::{Grant, RefreshError, Subject, Verified};

/// Adds the paths.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/oauth2/token")
                .route(web::post().to(token))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/oauth2/introspect")
                .route(web::post().to(introspect))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/oauth2/revoke")
                .route(web::post().to(revoke))
                .default_service(route::only("POST")),
        );
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let resource = web::resource(path).route(route::get().to(metadata::metadata));
        config.service(resource.default_service(route::only("GET, HEAD")));
    }
}

/// What is asked for (RFC 6749, 4.4.2 and 6; RFC 8707, 2), and with what the client authenticates.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what is read by hand")]
struct TokenForm {
    /// `client_credentials` or `refresh_token`
    #[schema(example = "client_credentials")]
    grant_type: String,
    /// Some of the client's permissions, divided by blanks.
    #[schema(nullable = false)]
    scope: Option<String>,
    #[schema(nullable = false)]
    resource: Option<String>,
    /// Another name for `resource`.
    #[schema(nullable = false)]
    audience: Option<String>,
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(nullable = false)]
    client_secret: Option<String>,
    #[schema(nullable = false)]
    client_assertion_type: Option<String>,
    #[schema(nullable = false)]
    client_assertion: Option<String>,
}

/// A token (RFC 7662, 2.1; RFC 7009, 2.1), and with what the client authenticates.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what is read by hand")]
struct TokenToLookAt {
    token: String,
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(nullable = false)]
    client_secret: Option<String>,
    #[schema(nullable = false)]
    client_assertion_type: Option<String>,
    #[schema(nullable = false)]
    client_assertion: Option<String>,
}

/// A token (RFC 6749, 5.1).
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TokenAnswer {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// Names divided by blanks.
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Get a token by OAuth 2.0
#[utoipa::path(post, path = "/oauth2/token", tag = "OAuth",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "A token", body = TokenAnswer),
    (status = 400, description = "RFC 6749, 5.2", body = OAuthError),
    (status = 401, description = "invalid_client", body = OAuthError),
    (status = 413, description = "Too large", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 429, description = "Too many wrong tries; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn token(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    answered(granted(&state, &request, &body).await)
}

async fn granted(state: &State, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Refusal> {
    let form = form(request, body)?;
    let Some(grant_type) = form.get("grant_type") else {
        return Err(invalid_request("grant_type is missing"));
    };
    match grant_type.as_str() {
        "client_credentials" => {
            let client = authenticated(state, request, &form).await?;
            client_credentials(state, &form, client)
        }
        "refresh_token" => refresh(state, request, &form).await,
        _ => Err(Refusal::OAuth(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "client_credentials or refresh_token",
        )),
    }
}

fn client_credentials(state: &State, form: &Form, client: Client) -> Result<HttpResponse, Refusal> {
    let audience = form.get("resource").or_else(|| form.get("audience")).cloned();
    let audience = audience.unwrap_or_else(|| state.audience.clone());
    if !Shared::is_audience(&audience) || !may_ask(&client, &audience) {
        let description = "the client may not ask tokens for this audience";
        return Err(Refusal::OAuth(
            StatusCode::BAD_REQUEST,
            "invalid_target",
            description,
        ));
    }
    let permissions = match form.get("scope") {
        None => client.permissions,
        Some(scope) => {
            let asked: Vec<String> = scope.split_ascii_whitespace().map(ToOwned::to_owned).collect();
            if !asked.iter().all(|name| client.permissions.contains(name)) {
                let description = "the scope is more than the client's permissions";
                return Err(Refusal::OAuth(
                    StatusCode::BAD_REQUEST,
                    "invalid_scope",
                    description,
                ));
            }
            asked
        }
    };
    let scope = permissions.join(" ");
    let grant = Grant {
        subject: Subject::Client(client.id),
        audience,
        permissions,
        email: None,
    };
    let issued = issue_first(state, &grant)?;
    let expires_in = state
        .authority
        .snapshot()
        .configuration
        .as_ref()
        .map_or(0, |known| known.jwt_expiration.into());
    let answer = TokenAnswer {
        access_token: issued.token,
        token_type: "Bearer",
        expires_in,
        scope,
        refresh_token: None,
    };
    Ok(no_store(HttpResponse::Ok().json(answer)))
}

/// The tokens of `/auth/login` and `/auth/token` are their own refresh tokens. A client's is
/// refreshed by the client only; a person's by who has it.
async fn refresh(state: &State, request: &HttpRequest, form: &Form) -> Result<HttpResponse, Refusal> {
    let invalid = || {
        Refusal::OAuth(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "the refresh token is not valid",
        )
    };
    let token = form
        .get("refresh_token")
        .ok_or_else(|| invalid_request("refresh_token is missing"))?;
    let client = match presented(request, form)? {
        (presented, basic) if presented.client_id.is_some() => {
            let client = authenticate(state, &presented, address_of(request)).await?;
            Some(client.ok_or(Refusal::Client { basic })?)
        }
        _ => None,
    };
    let verified = state.verify(token, None).await.map_err(|_| invalid())?;
    if let Subject::Client(id) = verified.subject
        && client.as_ref().is_none_or(|client| client.id != id)
    {
        return Err(invalid());
    }
    let issued = match successor(state, &verified).await {
        Ok(issued) => issued,
        Err(RefreshError::Refused(_)) => return Err(invalid()),
        Err(RefreshError::Issue(error)) => return Err(not_issued(error).into()),
        Err(RefreshError::Database(error)) => return Err(error.into()),
    };
    let scope = state
        .authority
        .snapshot()
        .verify(&issued.token, None, state.clock.now());
    let scope = scope
        .map(|verified| verified.claims.own.permissions.join(" "))
        .unwrap_or_default();
    let answer = TokenAnswer {
        access_token: issued.token.clone(),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope,
        refresh_token: Some(issued.token),
    };
    Ok(no_store(HttpResponse::Ok().json(answer)))
}

/// RFC 6749, 5.1 asks for both.
fn no_store(mut answer: HttpResponse) -> HttpResponse {
    let headers = answer.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    headers.insert(header::PRAGMA, header::HeaderValue::from_static("no-cache"));
    answer
}

/// Is a token valid, and what does it say
#[utoipa::path(post, path = "/oauth2/introspect", tag = "OAuth",
    request_body(content = TokenToLookAt, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "RFC 7662, 2.2", body = Value),
    (status = 400, description = "RFC 6749, 5.2", body = OAuthError),
    (status = 401, description = "invalid_client", body = OAuthError),
    (status = 413, description = "Too large", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 429, description = "Too many wrong tries; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn introspect(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    answered(introspected(&state, &request, &body).await)
}

async fn introspected(state: &State, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Refusal> {
    let form = form(request, body)?;
    authenticated(state, request, &form).await?;
    let token = form
        .get("token")
        .ok_or_else(|| invalid_request("token is missing"))?;
    let verified = state.verify(token, None).await;
    let answer = verified.map_or_else(|_| json!({"active": false}), |verified| description_of(&verified));
    Ok(HttpResponse::Ok().json(answer))
}

fn description_of(token: &Verified) -> Value {
    let claims = &token.claims;
    let mut description = json!({
        "active": true,
        "token_type": "Bearer",
        "scope": claims.own.permissions.join(" "),
        "iss": claims.issuer,
        "sub": claims.subject,
        "aud": claims.audience,
        "iat": claims.issued_at.as_second(),
        "nbf": claims.issued_at.as_second(),
        "exp": claims.expires_at.as_second(),
        "jti": claims.id,
        "type": claims.own.r#type,
        "permissions": claims.own.permissions,
    });
    if let (Some(members), Some(client)) = (description.as_object_mut(), &claims.own.client_id) {
        members.insert("client_id".to_owned(), client.clone().into());
    }
    description
}

/// End a token and its family
#[utoipa::path(post, path = "/oauth2/revoke", tag = "OAuth",
    request_body(content = TokenToLookAt, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "It is not valid any more, or never was"),
    (status = 400, description = "RFC 6749, 5.2", body = OAuthError),
    (status = 401, description = "invalid_client", body = OAuthError),
    (status = 413, description = "Too large", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 429, description = "Too many wrong tries; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn revoke(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    answered(revoked(&state, &request, &body).await)
}

async fn revoked(state: &State, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Refusal> {
    let form = form(request, body)?;
    let client = authenticated(state, request, &form).await?;
    let token = form
        .get("token")
        .ok_or_else(|| invalid_request("token is missing"))?;
    if let Ok(verified) = state.verify(token, None).await {
        // Another client's token is none of this one's business (RFC 7009, 2.1).
        if matches!(verified.subject, Subject::Client(id) if id != client.id) {
            let description = "the token belongs to another client";
            return Err(Refusal::OAuth(
                StatusCode::BAD_REQUEST,
                "invalid_grant",
                description,
            ));
        }
        end_family(state, &verified).await?;
    }
    Ok(HttpResponse::Ok().finish())
}
