//! `/auth/refresh` and `/auth/logout`.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::http::authorization::bearer;
use identity_core::http::problem::{Document, Problem};
use identity_core::http::route;
use serde::Serialize;

use super::authority::{IssueError, Issued};
use super::model::{Grant, Link, Verified};
use super::refresh::{RefreshError, Refreshing};
use super::{announce, store};
use crate::access::invalid_token;
use crate::state::State;

/// Adds the paths.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/auth/refresh")
                .route(web::post().to(refresh))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/auth/logout")
                .route(web::post().to(logout))
                .default_service(route::only("POST")),
        );
}

/// A token and whom it is for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Token {
    pub(crate) token: String,
    #[schema(example = "ident")]
    pub(crate) audience: String,
}

/// The first token of a new family.
pub(crate) fn issue_first(state: &State, grant: &Grant) -> Result<Token, Problem> {
    let now = state.clock.now();
    let issued = state
        .authority
        .snapshot()
        .issue(grant, Link::first(now), now)
        .map_err(not_issued)?;
    state.counts.issued.inc();
    Ok(Token {
        token: issued.token,
        audience: grant.audience.clone(),
    })
}

/// Exchange a token for its successor
#[utoipa::path(post, path = "/auth/refresh", tag = "Tokens", responses(
    (status = 200, description = "The successor; the same again for a retry", body = Token),
    (status = 401, description = "Not valid, ended, or refreshed too often", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
), security(("bearer" = [])))]
pub(crate) async fn refresh(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let verified = presented(&state, &request).await?;
    let audience = verified.claims.audience.first().cloned().unwrap_or_default();
    let issued = successor(&state, &verified).await.map_err(not_refreshed)?;
    Ok(HttpResponse::Ok().json(Token {
        token: issued.token,
        audience,
    }))
}

/// The successor of a verified token.
pub(crate) async fn successor(state: &State, token: &Verified) -> Result<Issued, RefreshError> {
    let snapshot = state.authority.snapshot();
    let refreshing = Refreshing {
        database: &state.database,
        keys: &state.keys,
        snapshot: &snapshot,
        retry_window: state.retry_window,
        now: state.clock.now(),
    };
    let refreshed = refreshing.refresh(token).await;
    match &refreshed {
        Ok(_) => {
            state.counts.issued.inc();
        }
        Err(RefreshError::Refused(reason)) => {
            tracing::info!(reason, family = %token.link.family, "a token was not refreshed");
            // The family may have been ended just now.
            state.learn().await?;
        }
        Err(_) => {}
    }
    refreshed
}

/// End a token's family: none of it is refreshed any more
#[utoipa::path(post, path = "/auth/logout", tag = "Tokens", responses(
    (status = 204, description = "Ended"),
    (status = 401, description = "Not a token of ours", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
), security(("bearer" = [])))]
pub(crate) async fn logout(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let verified = presented(&state, &request).await?;
    end_family(&state, &verified).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends the family of a token, here at once and everywhere soon.
pub(crate) async fn end_family(state: &State, token: &Verified) -> Result<(), Problem> {
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let until = state.revoked_until();
    store::revoke_family(&transaction, token.link.family, until, state.clock.now()).await?;
    announce(&transaction).await?;
    transaction.commit().await?;
    Ok(state.learn().await?)
}

/// The bearer token of a request, of whichever audience.
async fn presented(state: &State, request: &HttpRequest) -> Result<Verified, Problem> {
    let token = bearer(request).ok_or_else(|| invalid_token(None))?;
    state.verify(token, None).await.map_err(|error| {
        tracing::debug!(%error, "a token was refused");
        invalid_token(Some("invalid_token"))
    })
}

pub(crate) fn not_issued(error: IssueError) -> Problem {
    match error {
        IssueError::NotConfigured => Problem::unavailable("No signing key is configured yet.", 30),
        IssueError::Failed(error) => Problem::internal(error),
    }
}

fn not_refreshed(error: RefreshError) -> Problem {
    match error {
        RefreshError::Refused(_) => Problem::new(StatusCode::UNAUTHORIZED, "This token cannot be refreshed.")
            .with_header(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer realm=\"ident\", error=\"invalid_token\""),
            ),
        RefreshError::Issue(error) => not_issued(error),
        RefreshError::Database(error) => error.into(),
    }
}
