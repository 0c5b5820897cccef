//! The interface of ident as `OpenAPI`.

use utoipa::OpenApi;

use crate::records::api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ident",
        description = "People's records with linked accounts, and notifications of their changes.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(api::create, api::list, api::show, api::patch, api::delete, api::access_token),
    tags((name = "Records", description = "People and the accounts they have linked"))
)]
struct Document;

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
