//! Pages for browsers: HTML under a strict Content-Security-Policy, and the one style sheet.
//!
//! A service's templates extend `layout.html` of `crates/core/templates`, which its `askama.toml`
//! names beside its own folder. The block `root` holds the way up to the service's root, as `../`,
//! so that a page works below any path of a proxy.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::route;

/// No script, nothing from elsewhere, forms to the service itself only, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../../assets/style.css");

/// Adds `/assets/style.css`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/assets/style.css")
            .route(route::get().to(style))
            .default_service(route::only("GET, HEAD")),
    );
}

/// A page of `status`, which no cache keeps.
#[must_use]
pub fn page(status: StatusCode, html: String) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // With none at all, a browser's forms would be of the origin `null`.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(html)
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(STYLE)
}
