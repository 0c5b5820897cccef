//! `/version`, and `/application.wadl`, by which FDSN clients find that there is a method `auth`.

use actix_web::{HttpResponse, web};
use identity_core::http::route;

use crate::state::Shared;

/// Adds the paths.
pub fn routes(config: &mut web::ServiceConfig) {
    for (path, answer) in [
        ("/version", route::get().to(version)),
        ("/application.wadl", route::get().to(wadl)),
    ] {
        config.service(
            web::resource(path)
                .route(answer)
                .default_service(route::only("GET, HEAD")),
        );
    }
}

/// Which program this is, what for, and whom to ask.
#[utoipa::path(
    get,
    path = "/version",
    tag = "about",
    responses((status = 200, body = String, content_type = "text/plain", example = "Version 1.0.0 running in production mode. Contact eida@example.org."))
)]
async fn version(shared: web::Data<Shared>) -> HttpResponse {
    let contact = shared.contact_email.as_ref();
    let contact = contact.map_or_else(String::new, |email| format!(" Contact {email}."));
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body(format!(
            "Version {} running in {} mode.{contact}",
            env!("CARGO_PKG_VERSION"),
            shared.run_mode
        ))
}

/// The methods of this service, for FDSN clients.
#[utoipa::path(
    get,
    path = "/application.wadl",
    tag = "about",
    responses((status = 200, body = String, content_type = "application/vnd.sun.wadl+xml"))
)]
async fn wadl(shared: web::Data<Shared>) -> HttpResponse {
    let escaped = shared
        .public_url
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    HttpResponse::Ok()
        .content_type("application/vnd.sun.wadl+xml; charset=utf-8")
        .body(include_str!("application.wadl").replace("{base}", &escaped))
}
