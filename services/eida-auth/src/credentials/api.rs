//! `POST /` with a token: `login:password`.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::db::Together;
use identity_core::http::authorization::bearer;
use identity_core::http::body::Body;
use identity_core::http::{Problem, route};

use super::issue::Outcome;
use super::one::Logins;
use crate::mappings;
use crate::state::Shared;
use crate::tokens::{Refusal, Token};

/// Where tokens are posted: at the root, and where FDSN clients know it.
const PATHS: [&str; 3] = ["/", "/auth", "/fdsnws/dataselect/1/auth"];
/// How many memberships a refusal names.
const MOST_NAMED: usize = 100;

/// Adds the paths, for one worker.
pub fn routes(config: &mut web::ServiceConfig, shared: &Shared) {
    let logins = Logins::of_worker(&shared.writer);
    config.app_data(web::Data::new(Together::new(logins)));
    for path in PATHS {
        config.service(
            web::resource(path)
                .route(web::post().to(login))
                .default_service(route::only("POST")),
        );
    }
}

/// Gives a temporary login for a token.
#[utoipa::path(
    post,
    path = "/",
    tag = "auth",
    request_body(content = String, content_type = "*/*", description = "The signed token; also /auth and /fdsnws/dataselect/1/auth"),
    responses(
        (status = 200, description = "The login and the password", body = String, content_type = "text/plain", example = "QX4R0W7M1PZB3K:7HD2M0V9S5TQAL"),
        (status = 403, description = "The token is valid, but leads to no network here, or is blocked", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 415, description = "There is no token, or it is not accepted, or has expired", body = String, content_type = "text/plain"),
        (status = 429, description = "The token has as many live logins as it may", body = String, content_type = "text/plain"),
        (status = 503, description = "A database cannot be reached", body = String, content_type = "text/plain"),
    )
)]
async fn login(
    request: HttpRequest,
    body: Body,
    shared: web::Data<Shared>,
    together: web::Data<Together<Logins>>,
) -> Result<HttpResponse, Problem> {
    let bearer = bearer(&request).filter(|_| shared.knows_eas);
    let accepted = shared.acceptor.accept(&body.0, bearer).await;
    let token = accepted.map_err(|refusal| refused(&shared, &refusal))?;
    match shared.writer.issue(&together, &token).await? {
        Outcome::Issued(login) => {
            tracing::info!(token = %token.id, login = login.login, voucher = token.voucher, "a login was given");
            Ok(HttpResponse::Ok()
                .content_type("text/plain; charset=utf-8")
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(login.answer()))
        }
        Outcome::Blocked => {
            tracing::warn!(token = %token.id, voucher = token.voucher, "a blocked token was posted");
            Err(forbidden(&shared, "The token is blocked here."))
        }
        Outcome::NotMapped => Err(not_mapped(&shared, &token).await?),
        Outcome::TooMany => {
            tracing::warn!(token = %token.id, voucher = token.voucher, "a token has too many logins");
            Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "The token has {} live logins, as many as it may; use one of these, or wait until one has expired.",
                    shared.writer.max_per_token
                ),
            ))
        }
    }
}

/// 415, and what the client can do about it.
fn refused(shared: &Shared, refusal: &Refusal) -> Problem {
    let text = match refusal {
        Refusal::OpenPgp(crate::openpgp::Refused::Nothing) => {
            "There is no token: send it as the body of the request.".to_owned()
        }
        Refusal::OpenPgp(refused) => format!("The token is not accepted: {refused}."),
        Refusal::Jwt => {
            "The token is not accepted: it is not a valid token of the authentication system known here."
                .to_owned()
        }
        Refusal::Content(unreadable) => format!("The token cannot be read: {unreadable}."),
        Refusal::Expired(end) => {
            let anew = shared.token_url.as_ref();
            let anew = anew.map_or_else(String::new, |url| format!(" A new one is to be had at {url}."));
            format!("The token expired at {end}.{anew}")
        }
    };
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}

/// 403 of a good token, and whom to ask.
fn forbidden(shared: &Shared, why: &str) -> Problem {
    let contact = shared.contact_email.as_ref();
    let contact = contact.map_or_else(String::new, |email| {
        format!(" Questions are answered by {email}.")
    });
    Problem::new(StatusCode::FORBIDDEN, format!("{why}{contact}"))
}

async fn not_mapped(shared: &Shared, token: &Token) -> Result<Problem, Problem> {
    let client = shared.writer.databases.auth.client().await?;
    let mapped = mappings::paths(&client, &shared.writer.databases.accounts).await?;
    Ok(forbidden(
        shared,
        &format!(
            "The token is valid, but none of its memberships leads to a network here. Its memberships: {}. Mapped here: {}.",
            listed(&token.content.memberships),
            listed(&mapped),
        ),
    ))
}

fn listed(paths: &BTreeSet<String>) -> String {
    if paths.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<&str> = paths.iter().take(MOST_NAMED).map(String::as_str).collect();
    let others = paths.len() - named.len();
    let more = if others > 0 {
        format!(" and {others} more")
    } else {
        String::new()
    };
    format!("{}{more}", named.join(", "))
}
