//! The interface of ident as `OpenAPI`.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{clients, keys, login, oauth, records, tokens, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ident",
        description = "People's records with linked accounts, notifications of their changes, and signed tokens.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(
        records::api::create, records::api::list, records::api::show, records::api::patch, records::api::delete,
        records::api::access_token,
        login::api::login, clients::token::token, tokens::api::refresh, tokens::api::logout, keys::api::jwks,
        oauth::api::token, oauth::api::introspect, oauth::api::revoke, oauth::metadata::metadata,
        users::api::list, users::api::show, users::api::create, users::api::change, users::api::delete,
        clients::api::list, clients::api::show, clients::api::create, clients::api::change, clients::api::delete,
        clients::api::create_secret, clients::api::delete_secret,
        keys::api::show, keys::api::create, keys::api::change,
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
    tags(
        (name = "Records", description = "People and the accounts they have linked"),
        (name = "Tokens", description = "Signing in, for people and machines"),
        (name = "OAuth", description = "The same by OAuth 2.0"),
        (name = "Users", description = "The same people, with what they sign in with"),
        (name = "Clients", description = "Machines that get tokens"),
        (name = "Configuration", description = "Signing key, issuer and lifetimes"),
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
