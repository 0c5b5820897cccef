//! `/.well-known/jwks.json` and `/api/configuration`.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::crypto::jwt::Algorithm;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::problem::{Document, Problem};
use identity_core::http::route;
use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Change, Configuration};
use super::{rotation, store};
use crate::access::{ConfigurationWrite, Permitted};
use crate::state::State;

/// Adds the paths.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/.well-known/jwks.json")
                .route(route::get().to(jwks))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/api/configuration")
                .route(route::get().to(show))
                .route(web::post().to(create))
                .route(web::patch().to(change))
                .default_service(route::only("GET, HEAD, POST, PATCH")),
        );
}

/// The configuration as it is shown: never with a private key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Shown {
    #[serde(flatten)]
    configuration: Configuration,
    /// The public half of the key that signs, in PEM.
    public_key: String,
    /// Its id (RFC 7638).
    kid: String,
    /// What it signs with.
    #[schema(value_type = String, example = "ES256")]
    algorithm: Algorithm,
}

/// A configuration as it is sent.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what the model reads by hand, to tell all that is wrong"
)]
struct Sent {
    /// RSA of at least 2048 bits, P-256 or Ed25519, in PEM.
    #[schema(write_only)]
    private_key: String,
    #[schema(minimum = 1, maximum = 31_622_400)]
    jwt_expiration: i32,
    #[schema(min_length = 1, max_length = 1024)]
    jwt_issuer: String,
    #[schema(minimum = 0, maximum = 1_000_000)]
    jwt_max_refreshes: i32,
}

/// The public keys
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Tokens", responses(
    (status = 200, description = "A JWK set (RFC 7517): keys that sign, will sign, or have signed", body = Value),
), security(()))]
pub(crate) async fn jwks(state: web::Data<State>) -> HttpResponse {
    let snapshot = state.authority.snapshot();
    let keys: Vec<&Value> = snapshot
        .published(state.clock.now())
        .map(|key| key.key.public().jwk())
        .collect();
    let max_age = format!("public, max-age={}", state.rotation.jwks_max_age.as_secs());
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, max_age))
        .json(json!({"keys": keys}))
}

/// Show the configuration of tokens
#[utoipa::path(get, path = "/api/configuration", tag = "Configuration", responses(
    (status = 200, description = "The configuration", body = Shown),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "There is none yet", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    _caller: Permitted<ConfigurationWrite>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(shown(&state)?))
}

/// Make the first configuration of tokens
#[utoipa::path(post, path = "/api/configuration", tag = "Configuration", request_body = Sent, responses(
    (status = 201, description = "Made", body = Shown),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "There is one", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    _caller: Permitted<ConfigurationWrite>,
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let change = Change::read(json(&body)?).map_err(Problem::invalid)?;
    let (configuration, key) = change.complete().map_err(Problem::invalid)?;
    if !rotation::configure(
        &state.database,
        &state.keys,
        &configuration,
        &key,
        state.clock.now(),
    )
    .await?
    {
        return Err(Problem::conflict(
            "configured",
            "There is a configuration; change it with PATCH.",
        ));
    }
    state.learn().await?;
    let location = HeaderValue::from_static("/api/configuration");
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(shown(&state)?))
}

/// Change the configuration of tokens; a new key signs at once
#[utoipa::path(patch, path = "/api/configuration", tag = "Configuration",
    request_body(content = std::collections::BTreeMap<String, serde_json::Value>, description = "Any members of Sent; the others stay"), responses(
    (status = 200, description = "Changed", body = Shown),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "There is none yet", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "The key was used before", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn change(
    _caller: Permitted<ConfigurationWrite>,
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let change = Change::read(json(&body)?).map_err(Problem::invalid)?;
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let before = store::lock_configuration(&transaction)
        .await?
        .ok_or_else(none_yet)?;
    let now = state.clock.now();
    if let Some(key) = &change.private_key
        && !rotation::add(&transaction, &state.keys, key, now, &before, now).await?
    {
        return Err(Problem::conflict(
            "key-known",
            "This key was used before; make a new one.",
        ));
    }
    let after = Configuration {
        jwt_expiration: change.jwt_expiration.unwrap_or(before.jwt_expiration),
        jwt_issuer: change.jwt_issuer.unwrap_or(before.jwt_issuer),
        jwt_max_refreshes: change.jwt_max_refreshes.unwrap_or(before.jwt_max_refreshes),
    };
    store::update_configuration(&transaction, &after, now).await?;
    crate::tokens::announce(&transaction).await?;
    transaction.commit().await?;
    state.learn().await?;
    Ok(HttpResponse::Ok().json(shown(&state)?))
}

fn shown(state: &State) -> Result<Shown, Problem> {
    let snapshot = state.authority.snapshot();
    let (Some(configuration), Some(key)) = (&snapshot.configuration, snapshot.signer(state.clock.now()))
    else {
        return Err(none_yet());
    };
    let public = key.key.public();
    Ok(Shown {
        configuration: configuration.clone(),
        public_key: public.pem().to_owned(),
        kid: public.kid().to_owned(),
        algorithm: public.algorithm(),
    })
}

fn none_yet() -> Problem {
    Problem::not_found("There is no configuration yet.")
}
