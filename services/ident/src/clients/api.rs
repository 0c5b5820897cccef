//! `/api/clients`.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::crypto::random;
use identity_core::crypto::token::PlainToken;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::problem::{Document, Problem};
use identity_core::http::{Invalid, route};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use url::form_urlencoded;
use uuid::Uuid;

use super::model::{Change, Client};
use super::{store, token};
use crate::access::{Permitted, ReadClients, WriteClients};
use crate::login::busy;
use crate::state::{Shared, State};
use crate::tokens::{Subject, announce, revoke_subject};

/// How many clients a page has.
const PAGE_SIZE: i64 = 100;

/// Adds the paths.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/auth/token")
                .route(web::post().to(token::token))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/api/clients")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/clients/{id}")
                .route(route::get().to(show))
                .route(web::patch().to(change))
                .route(web::delete().to(delete))
                .default_service(route::only("GET, HEAD, PATCH, DELETE")),
        )
        .service(
            web::resource("/api/clients/{id}/secrets")
                .route(web::post().to(create_secret))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/api/clients/{id}/secrets/{secret}")
                .route(web::delete().to(delete_secret))
                .default_service(route::only("DELETE")),
        );
}

/// A client that was made, with the secret that is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = CreatedClient)]
pub(super) struct Created {
    #[serde(flatten)]
    pub(super) client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret: Option<String>,
}

/// A secret that is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
struct CreatedSecret {
    id: Uuid,
    client_secret: String,
}

/// A client as it is sent.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what the model reads by hand, to tell all that is wrong"
)]
struct SentClient {
    #[schema(example = "nightly import", min_length = 1, max_length = 255)]
    name: String,
    #[schema(nullable = false)]
    permissions: Option<Vec<crate::tokens::Permission>>,
    #[schema(nullable = false, max_items = 100)]
    audiences: Option<Vec<String>>,
    /// RSA of at least 2048 bits, P-256 or Ed25519, in PEM.
    public_key: Option<String>,
    /// Default: true where there is no `public_key`.
    #[schema(nullable = false)]
    generate_secret: Option<bool>,
    #[schema(nullable = false)]
    static_signature: Option<bool>,
    #[schema(nullable = false)]
    disabled: Option<bool>,
}

/// List machine clients
#[utoipa::path(get, path = "/api/clients", tag = "Clients",
    params(("after_id" = Option<Uuid>, Query, description = "The page behind this id")), responses(
    (status = 200, description = "A page of at most 100, in the order of ids", body = Vec<Client>, headers(("Link" = String))),
    (status = 400, description = "A parameter is unknown or malformed", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    _caller: Permitted<ReadClients>,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut after = None;
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match (name.as_ref(), value.parse::<Uuid>()) {
            ("after_id", Ok(id)) => after = Some(id),
            ("after_id", Err(_)) => {
                return Err(Problem::invalid(vec![Invalid::new(
                    "/after_id",
                    "expected a UUID",
                )]));
            }
            (name, _) => {
                return Err(Problem::invalid(vec![Invalid::new(
                    format!("/{name}"),
                    "is not known",
                )]));
            }
        }
    }
    let mut clients = store::list(&state.database.client().await?, after, PAGE_SIZE + 1).await?;
    let mut answer = HttpResponse::Ok();
    if clients.len() > usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX) {
        clients.pop();
        if let Some(last) = clients.last() {
            answer.insert_header((
                header::LINK,
                format!("</api/clients?after_id={}>; rel=next", last.id),
            ));
        }
    }
    Ok(answer.json(clients))
}

/// Show a machine client
#[utoipa::path(get, path = "/api/clients/{id}", tag = "Clients", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "The client", body = Client),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such client", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    _caller: Permitted<ReadClients>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = store::find(&*state.reader.client().await?, id_of(&path)?).await?;
    Ok(HttpResponse::Ok().json(found.ok_or_else(no_such_client)?.client))
}

/// Make a machine client
#[utoipa::path(post, path = "/api/clients", tag = "Clients", request_body = SentClient, responses(
    (status = 201, description = "Made; the secret is shown this once", body = Created, headers(("Location" = String))),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted, or more permissions than the caller's own", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    caller: Permitted<WriteClients>,
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let change = Change::read(json(&body)?).map_err(Problem::invalid)?;
    caller.may_grant(change.permissions.as_deref())?;
    let created = insert(&state, change).await?;
    let location = format!("/api/clients/{}", created.client.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(created))
}

/// Stores a new client, with a secret where it is to have one.
pub(super) async fn insert(state: &Shared, change: Change) -> Result<Created, Problem> {
    let (mut new, generate) = change.create(random::uuid()).map_err(Problem::invalid)?;
    let secret = if generate {
        Some(NewSecret::generate(state).await?)
    } else {
        None
    };
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let now = state.clock.now();
    store::insert(&transaction, &new, now).await?;
    if let Some(secret) = &secret {
        store::insert_secret(&transaction, new.id, secret.id, &secret.hash, now).await?;
        new = store::find(&transaction, new.id)
            .await?
            .ok_or_else(no_such_client)?
            .client;
    }
    transaction.commit().await?;
    Ok(Created {
        client: new,
        client_secret: secret.map(|secret| secret.plain.expose().to_owned()),
    })
}

/// A secret of 256 random bits with its hash.
struct NewSecret {
    id: Uuid,
    plain: PlainToken,
    hash: String,
}

impl NewSecret {
    async fn generate(state: &Shared) -> Result<Self, Problem> {
        let plain = PlainToken::generate("ids_");
        let hash = state
            .hasher
            .hash(&SecretString::from(plain.expose()))
            .await
            .map_err(|_| busy())?;
        Ok(Self {
            id: random::uuid(),
            plain,
            hash,
        })
    }
}

/// Change a machine client
#[utoipa::path(patch, path = "/api/clients/{id}", tag = "Clients", params(("id" = Uuid, Path,)),
    request_body(content = std::collections::BTreeMap<String, serde_json::Value>, description = "Any members of SentClient but generate_secret; the others stay"), responses(
    (status = 200, description = "Changed", body = Client),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted, or more permissions than the caller's own", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such client", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn change(
    caller: Permitted<WriteClients>,
    state: web::Data<State>,
    path: web::Path<String>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    expect_json(&request)?;
    let change = Change::read(json(&body)?).map_err(Problem::invalid)?;
    if change.generate_secret.is_some() {
        let detail = "secrets are made at /api/clients/{id}/secrets";
        return Err(Problem::invalid(vec![Invalid::new("/generate_secret", detail)]));
    }
    caller.may_grant(change.permissions.as_deref())?;
    let ends_tokens = change.disabled == Some(true) || change.permissions.is_some() || change.changes_key();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let stored = store::find_for_update(&transaction, id)
        .await?
        .ok_or_else(no_such_client)?;
    caller.may_change(&stored.client.permissions)?;
    let changed = change.apply(stored.client);
    let now = state.clock.now();
    store::update(&transaction, &changed, now).await?;
    if ends_tokens {
        end_tokens(&state, &transaction, id, now).await?;
    } else {
        announce(&transaction).await?;
    }
    transaction.commit().await?;
    forget(&state, id, ends_tokens).await?;
    Ok(HttpResponse::Ok().json(changed))
}

/// Delete a machine client
#[utoipa::path(delete, path = "/api/clients/{id}", tag = "Clients", params(("id" = Uuid, Path,)), responses(
    (status = 204, description = "Deleted; its tokens are not accepted any more"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such client", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn delete(
    _caller: Permitted<WriteClients>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    if !store::delete(&transaction, id).await? {
        return Err(no_such_client());
    }
    end_tokens(&state, &transaction, id, state.clock.now()).await?;
    transaction.commit().await?;
    forget(&state, id, true).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Make one more secret, to replace another
#[utoipa::path(post, path = "/api/clients/{id}/secrets", tag = "Clients", params(("id" = Uuid, Path,)), responses(
    (status = 201, description = "Made; it is shown this once", body = CreatedSecret),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such client", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "It has two already", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn create_secret(
    caller: Permitted<WriteClients>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let secret = NewSecret::generate(&state).await?;
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let stored = store::find_for_update(&transaction, id)
        .await?
        .ok_or_else(no_such_client)?;
    caller.may_change(&stored.client.permissions)?;
    if !store::insert_secret(&transaction, id, secret.id, &secret.hash, state.clock.now()).await? {
        return Err(Problem::conflict(
            "two-secrets",
            "The client has two secrets; delete one first.",
        ));
    }
    announce(&transaction).await?;
    transaction.commit().await?;
    state.remembered.forget(id);
    let created = CreatedSecret {
        id: secret.id,
        client_secret: secret.plain.expose().to_owned(),
    };
    Ok(HttpResponse::Created().json(created))
}

/// Delete a secret
#[utoipa::path(delete, path = "/api/clients/{id}/secrets/{secret}", tag = "Clients",
    params(("id" = Uuid, Path,), ("secret" = Uuid, Path,)), responses(
    (status = 204, description = "Deleted"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such secret", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_secret(
    _caller: Permitted<WriteClients>,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, secret) = path.into_inner();
    let (id, secret) = (id_of(&id)?, id_of(&secret)?);
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    if !store::delete_secret(&transaction, id, secret).await? {
        return Err(Problem::not_found("There is no such secret."));
    }
    announce(&transaction).await?;
    transaction.commit().await?;
    state.remembered.forget(id);
    Ok(HttpResponse::NoContent().finish())
}

async fn end_tokens(
    state: &State,
    client: &impl identity_core::db::GenericClient,
    id: Uuid,
    now: Timestamp,
) -> Result<(), Problem> {
    revoke_subject(client, Subject::Client(id), state.revoked_until(), now).await?;
    announce(client).await?;
    Ok(())
}

/// Takes a committed change into effect on this instance at once.
async fn forget(state: &State, id: Uuid, tokens_ended: bool) -> Result<(), Problem> {
    state.remembered.forget(id);
    if tokens_ended {
        state.learn().await?;
    }
    Ok(())
}

fn id_of(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| no_such_client())
}

fn no_such_client() -> Problem {
    Problem::not_found("There is no such client.")
}
