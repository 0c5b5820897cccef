//! What actix leaves open of routing: HEAD beside GET, and an answer to other methods that says
//! which are allowed.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{Route, guard, web};

use super::Problem;

/// GET, and HEAD with the same answer but its body.
#[must_use]
pub fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// 405 for every method that has no route; `allow` lists those that have (RFC 9110, 10.2.1).
#[must_use]
pub fn only(allow: &'static str) -> Route {
    web::to(move || async move {
        let problem = Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("What is answered here: {allow}."),
        );
        Err::<&str, _>(problem.with_header(header::ALLOW, HeaderValue::from_static(allow)))
    })
}

/// 404 for every path that has no route.
#[must_use]
pub fn nothing_here() -> Route {
    web::to(|| async { Err::<&str, _>(Problem::not_found("There is nothing at this path.")) })
}
