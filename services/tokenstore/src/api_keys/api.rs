//! `/api/v1.0/keys`: made, listed, revoked.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::crypto::random;
use identity_core::crypto::token::PlainToken;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::{Problem, route};
use serde::Serialize;
use uuid::Uuid;

use super::model::{Listed, MOST_KEYS, NewKey};
use super::{PREFIX, store};
use crate::access::{By, Caller, Profile};
use crate::audit::{self, Action, Entry};
use crate::state::State;

/// Adds the paths.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/api/v1.0/keys")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/v1.0/keys/{id}")
                .route(web::delete().to(delete))
                .default_service(route::only("DELETE")),
        );
}

/// A key as it is shown once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Made {
    /// The key itself.
    pub key: String,
    #[serde(flatten)]
    listed: Listed,
}

/// The caller's keys.
#[utoipa::path(get, path = "/api/v1.0/keys", tag = "API keys", responses(
    (status = 200, description = "The newest first", body = [Listed]),
    (status = 401, description = "Nobody is signed in"),
))]
pub async fn list(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let client = state.reader.client().await?;
    Ok(HttpResponse::Ok().json(store::list(&*client, &caller.person).await?))
}

/// Makes a key, which is shown this once.
#[utoipa::path(post, path = "/api/v1.0/keys", tag = "API keys",
    request_body(content = Object, description = "`name`; `expires_in`: seconds, or a text like `30d`"), responses(
    (status = 201, description = "The key", body = Made),
    (status = 400, description = "The body is not valid"),
    (status = 401, description = "Nobody is signed in"),
    (status = 403, description = "The request did not come from a page of this service"),
    (status = 409, description = "`too-many-keys`"),
    (status = 413, description = "The body is too large"),
    (status = 415, description = "The body is no JSON"),
))]
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let new = NewKey::parse(&json(&body.0)?).map_err(Problem::invalid)?;
    Ok(HttpResponse::Created().json(make(&state, &caller, new).await?))
}

/// Makes a key for `caller`. One that is made with a key does not outlive it.
///
/// # Errors
/// 409 for too many.
pub async fn make(state: &State, caller: &Caller, new: NewKey) -> Result<Made, Problem> {
    let now = state.clock.now();
    let mut expires_at = new.expires_in.and_then(|span| now.checked_add(span).ok());
    if let By::ApiKey(Some(end)) = caller.by {
        expires_at = Some(expires_at.map_or(end, |asked| asked.min(end)));
    }
    let plain = PlainToken::generate(PREFIX);
    let listed = Listed {
        id: random::uuid(),
        name: new.name,
        created_at: now,
        expires_at,
        last_used_at: None,
    };
    // Roles and scopes are those of a session or token, which end; a key has the name only.
    let profile = Profile {
        name: caller.profile.name.clone(),
        email: caller.profile.email.clone(),
        email_verified: caller.profile.email_verified,
        claims: serde_json::json!({"iss": caller.person.issuer, "sub": caller.person.subject}),
        ..Profile::default()
    };
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let made = store::insert(
        &transaction,
        &caller.person,
        &profile,
        &listed,
        &plain.digest(),
        MOST_KEYS,
    )
    .await?;
    if !made {
        let detail = format!("Nobody can have more than {MOST_KEYS} keys; revoke one first.");
        return Err(Problem::conflict("too-many-keys", detail));
    }
    let entry = Entry::of(caller, Action::KeyMade, None, now).with_detail(listed.id.to_string());
    audit::store::insert(&transaction, &entry).await?;
    transaction.commit().await?;
    Ok(Made {
        key: plain.expose().to_owned(),
        listed,
    })
}

/// Revokes a key.
#[utoipa::path(delete, path = "/api/v1.0/keys/{id}", tag = "API keys",
    params(("id" = Uuid, Path, description = "The key's id")), responses(
    (status = 204, description = "It is good for nothing any more"),
    (status = 401, description = "Nobody is signed in"),
    (status = 403, description = "The request did not come from a page of this service"),
    (status = 404, description = "The caller has no such key"),
))]
pub async fn delete(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("You have no such key.");
    let id = Uuid::parse_str(&id).map_err(|_| missing())?;
    if revoke(&state, &caller, id).await? {
        Ok(HttpResponse::new(StatusCode::NO_CONTENT))
    } else {
        Err(missing())
    }
}

/// Revokes a key of `caller`; false where there is none of this id.
///
/// # Errors
/// What Postgres says.
pub async fn revoke(state: &State, caller: &Caller, id: Uuid) -> Result<bool, Problem> {
    let now = state.clock.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    if !store::delete(&transaction, &caller.person, id).await? {
        return Ok(false);
    }
    let entry = Entry::of(caller, Action::KeyRevoked, None, now).with_detail(id.to_string());
    audit::store::insert(&transaction, &entry).await?;
    transaction.commit().await?;
    Ok(true)
}
