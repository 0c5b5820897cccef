//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414): what
//! is really offered.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use identity_core::http::Problem;
use serde_json::json;

use crate::state::State;
use crate::tokens::Permission;

/// How clients authenticate at the token endpoint.
const CLIENT_AUTHENTICATION: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
/// With what clients sign their assertions.
const ASSERTION_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// Metadata of this authorization server
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "OAuth", responses(
    (status = 200, description = "Metadata (RFC 8414)", body = serde_json::Value),
    (status = 503, description = "Not configured yet", body = identity_core::http::problem::Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn metadata(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let snapshot = state.authority.snapshot();
    let configuration = snapshot.configuration.as_ref();
    let configuration =
        configuration.ok_or_else(|| Problem::unavailable("No issuer is configured yet.", 30))?;
    let base = &state.public_url;
    let document = json!({
        "issuer": configuration.jwt_issuer,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "token_endpoint": format!("{base}/oauth2/token"),
        "token_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "introspection_endpoint": format!("{base}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "grant_types_supported": ["client_credentials", "refresh_token"],
        // There is no authorization endpoint.
        "response_types_supported": [],
        "scopes_supported": Permission::ALL.map(Permission::as_str),
        "subject_types_supported": ["public"],
        "service_documentation": format!("{base}/docs/"),
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .json(document))
}
