//! The interface of tokenstore as `OpenAPI`.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{api_keys, links, login};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tokenstore",
        description = "Accounts at external providers, linked once, and fresh access tokens for their owner's programs.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(
        links::api::authorizations, links::authorize::authorize, links::authorize::authorize_post,
        links::authorize::redirect_uri_of_provider, links::api::token, links::api::revoke,
        login::api::whoami, login::api::login, login::api::callback, login::api::logout,
        api_keys::api::list, api_keys::api::create, api_keys::api::delete,
    ),
    modifiers(&Schemes),
    security(("bearer" = []), ("basic" = []), ("session" = [])),
    tags(
        (name = "Links", description = "Linked accounts and their tokens"),
        (name = "Signing in", description = "At the login provider, with a browser"),
        (name = "API keys", description = "For programs of a person"),
    )
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer));
        components.add_security_scheme("basic", scheme(HttpAuthScheme::Basic));
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("tokenstore")));
        components.add_security_scheme("session", cookie);
    }
}

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
