//! The description of the interface (OpenAPI 3.1), put together from the handlers.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{audit, forgotten, links, setup, sign_in, status, subjects, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "idm-users",
        description = "Users, study subjects, their links to an app and an audit trail, for study sites. Answers are \
            `{\"data\": …}`, errors `{\"error\": {\"status\": …, \"message\": …}}`."
    ),
    paths(
        status::api::root, status::api::status,
        sign_in::api::sign_in,
        users::api::create, users::api::delete, users::api::show, users::api::change,
        subjects::api::create, subjects::api::list, subjects::api::show, subjects::api::change,
        links::api::create, links::api::list, links::api::show, links::api::change,
        links::jwt::jwt, links::jwt::code, links::establish::establish,
        audit::api::list,
        setup::api::show, setup::api::make,
        forgotten::api::show, forgotten::api::ask, forgotten::reset::show, forgotten::reset::change,
    ),
    modifiers(&Schemes),
    security(("bearer" = []), ("jwt" = [])),
    tags(
        (name = "Users", description = "Signing in, and who may"),
        (name = "Subjects", description = "People of the study"),
        (name = "Links", description = "Between a subject and an app"),
        (name = "Pages", description = "For browsers"),
        (name = "Status", description = "Whether all is well"),
    )
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = || {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT");
            SecurityScheme::Http(scheme.build())
        };
        let header = ApiKeyValue::with_description("Authorization", "`JWT` and a user's token");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer());
        components.add_security_scheme("link", bearer());
        components.add_security_scheme("jwt", SecurityScheme::ApiKey(ApiKey::Header(header)));
    }
}

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
