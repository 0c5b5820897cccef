//! `/openapi.json`, the service's interface as `OpenAPI`, and `/docs`, its page.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::{Problem, route};

/// The page runs its own scripts only; Swagger UI styles elements by attributes and shows icons
/// from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A service's interface as it is served.
#[derive(Clone)]
pub struct Docs {
    document: web::Bytes,
    page: Arc<Config<'static>>,
}

impl Docs {
    /// Prepares `openapi` for serving.
    #[must_use]
    pub fn new(openapi: &OpenApi) -> Self {
        // A document of texts can always be written.
        let document = openapi.to_json().unwrap_or_default().into();
        // No validator: it would show the document to a third party.
        let page = Config::new(["/openapi.json"])
            .validator_url("none")
            .use_base_layout();
        Self {
            document,
            page: Arc::new(page),
        }
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let files = web::resource("/docs/{file:.*}")
        .route(route::get().to(file))
        .default_service(route::only("GET, HEAD"));
    config
        .service(
            web::resource("/openapi.json")
                .route(route::get().to(document))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/docs")
                .route(route::get().to(to_page))
                .default_service(route::only("GET, HEAD")),
        )
        .service(files);
}

async fn document(docs: web::Data<Docs>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(docs.document.clone())
}

/// The page's files are relative to it, so its address must end with a slash.
async fn to_page() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "docs/"))
        .finish()
}

async fn file(path: web::Path<String>, docs: web::Data<Docs>) -> Result<HttpResponse, Problem> {
    let served = utoipa_swagger_ui::serve(&path, docs.page.clone()).map_err(Problem::internal)?;
    let file = served.ok_or_else(|| Problem::not_found("There is nothing at this path."))?;
    let mut answer = HttpResponse::Ok();
    if file.gzpipped {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    answer
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(answer.body(file.bytes.into_owned()))
}
