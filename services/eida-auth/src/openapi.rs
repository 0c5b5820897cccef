//! The interface as `OpenAPI`.

use utoipa::OpenApi;

use crate::{about, cleanup, credentials};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "eida-auth",
        description = "A temporary login for a signed token of EIDA. Errors are a line of text."
    ),
    paths(
        credentials::api::login,
        about::api::version,
        about::api::wadl,
        cleanup::api::cleanup
    )
)]
struct Interface;

/// The document that `/openapi.json` answers.
pub fn document() -> utoipa::openapi::OpenApi {
    Interface::openapi()
}
