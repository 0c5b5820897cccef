//! `GET /cleanup`: removes what has expired now.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::http::authorization::bearer;
use identity_core::http::client::address_of;
use identity_core::http::{Problem, route};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use crate::state::Shared;

/// Adds the path.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/cleanup")
            // No HEAD: it is meant to change nothing.
            .route(web::get().to(cleanup))
            .default_service(route::only("GET")),
    );
}

/// Removes expired accounts, with their credentials and privileges.
#[utoipa::path(
    get,
    path = "/cleanup",
    tag = "operation",
    responses(
        (status = 200, description = "How many were removed", body = String, content_type = "text/plain", example = "Deleted 3 temporary accounts."),
        (status = 403, description = "Not from here, and not without the token", body = String, content_type = "text/plain"),
        (status = 503, description = "A database cannot be reached", body = String, content_type = "text/plain"),
    )
)]
async fn cleanup(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    if !may_clean(&request, &shared) {
        let text = "Accounts are cleaned up from within the data centre only.";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    let removed = shared.cleaner.clean().await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body(format!("Deleted {removed} temporary accounts.")))
}

fn may_clean(request: &HttpRequest, shared: &Shared) -> bool {
    let settings = &shared.cleanup;
    let from_here = address_of(request)
        .is_some_and(|address| settings.allow_from.iter().any(|range| range.contains(address)));
    let by_token = settings
        .token
        .as_ref()
        .zip(bearer(request))
        .is_some_and(|(token, given)| token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into());
    from_here || by_token
}
