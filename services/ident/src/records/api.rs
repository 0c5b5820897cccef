//! The paths of people's records.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::db::GenericClient;
use identity_core::http::body::{Body, expect_json, json, media_type};
use identity_core::http::problem::{Document, Problem};
use identity_core::http::{Invalid, route};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

use super::accounts;
use super::media::Form;
use super::model::{Draft, ServiceName, User};
use super::page;
use super::patch::{Patch, PatchError};
use super::query::ListQuery;
use super::store::{self, WriteError};
use super::tags::{is_expected, is_known, with_tag};
use crate::access::{Permitted, ReadUsers, Records, TakeTokens, WriteUsers};
use crate::notifications::{EventKind, NewEvent};
use crate::state::State;
use crate::tokens::{Subject, announce, revoke_subject};
use crate::users;

/// How often a patch is tried without a lock before it takes one.
const UNLOCKED_TRIES: usize = 2;

/// Adds the paths; the last of all services', since `/{id}` matches what no literal path does.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/{id}")
                .route(route::get().to(show))
                .route(web::patch().to(patch))
                .route(web::delete().to(delete))
                .default_service(route::only("GET, HEAD, PATCH, DELETE")),
        )
        .service(
            web::resource("/{id}/services/{service}/token")
                .route(route::get().to(access_token))
                .default_service(route::only("GET, HEAD")),
        );
}

/// The id of a record that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Created {
    #[schema(example = 7)]
    id: i64,
}

/// A record as it is sent.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what the model reads by hand, to tell all that is wrong"
)]
struct NewUser {
    #[schema(example = "Robb Stark", min_length = 1, max_length = 255)]
    name: String,
    #[schema(example = "king@deceased.north", min_length = 1, max_length = 320)]
    email: String,
    /// Linked accounts by the name of their service.
    #[schema(nullable = false)]
    services: Option<std::collections::BTreeMap<String, NewAccount>>,
}

/// A linked account as it is sent.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what the model reads by hand, to tell all that is wrong"
)]
struct NewAccount {
    #[schema(example = "25", min_length = 1, max_length = 255)]
    id: String,
    /// Stored encrypted, never shown in a record.
    #[schema(write_only, min_length = 1)]
    access_token: Option<String>,
}

/// Make a record
#[utoipa::path(post, path = "/", tag = "Records", request_body = NewUser, responses(
    (status = 201, description = "Made", body = Created, headers(("Location" = String, description = "The record's path"))),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "The address or an account belongs to another", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    _caller: Permitted<WriteUsers, Records>,
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let draft = Draft::read(json(&body)?, &state.allowed_services).map_err(Problem::invalid)?;
    let event = state.event(EventKind::New, || draft.document());
    let client = state.database.client().await?;
    let now = state.clock.now();
    let id = store::insert(&client, &state.keys, &draft, event.as_ref(), now)
        .await
        .map_err(refused)?;
    state.told(event.as_ref());
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/{id}")))
        .json(Created { id }))
}

/// List and search records
#[utoipa::path(get, path = "/", tag = "Records",
    params(
        ("email" = Option<String>, Query, description = "The address, regardless of case"),
        ("name" = Option<String>, Query, description = "Every word begins some word of the name"),
        ("service" = Option<String>, Query, description = "With service_id: who has linked this account"),
        ("service_id" = Option<String>, Query, description = "With service: who has linked this account"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after_id" = Option<i64>, Query, minimum = 0, description = "The page behind this id"),
        ("before_id" = Option<i64>, Query, minimum = 0, description = "The page before this id"),
    ),
    responses(
    (status = 200, description = "A page, in the order of ids", headers(("Link" = String, description = "RFC 8288: next, previous, first")),
        content((Vec<User> = "application/json"), (Vec<String> = "application/vnd.glotpod.resource-url+json"))),
    (status = 400, description = "A parameter is unknown or malformed", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 406, description = "Not to be had in this form", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    _caller: Permitted<ReadUsers, Records>,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let form = Form::accepted(&request)?;
    let query = ListQuery::read(request.query_string())?;
    let client = state.database.client().await?;
    let (users, around) = page::list(&client, &query).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(form.media_type())
        .insert_header((header::VARY, "Accept"));
    if let Some(links) = query.links("/", &around) {
        answer.insert_header((header::LINK, links));
    }
    Ok(match form {
        Form::Records => answer.json(users),
        Form::Paths => answer.json(
            users
                .iter()
                .map(|user| format!("/{}", user.id))
                .collect::<Vec<_>>(),
        ),
    })
}

/// Show a record
#[utoipa::path(get, path = "/{id}", tag = "Records", params(("id" = i64, Path,)), responses(
    (status = 200, description = "The record", body = User, headers(("ETag" = String))),
    (status = 304, description = "It is as the client knows it"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such record", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    _caller: Permitted<ReadUsers, Records>,
    state: web::Data<State>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let user = state.users.find(id).await?.ok_or_else(no_such_user)?;
    let tag = EntityTag::new_strong(user.tag());
    if is_known(&request, &tag) {
        let mut answer = HttpResponse::NotModified();
        return Ok(with_tag(&mut answer, &tag).finish());
    }
    Ok(with_tag(&mut HttpResponse::Ok(), &tag).json(&*user))
}

/// Change a record
#[utoipa::path(patch, path = "/{id}", tag = "Records", params(("id" = i64, Path,)),
    request_body(content((Vec<std::collections::BTreeMap<String, serde_json::Value>> = "application/json-patch+json"), (std::collections::BTreeMap<String, serde_json::Value> = "application/merge-patch+json"))),
    responses(
    (status = 200, description = "The changed record", body = User, headers(("ETag" = String))),
    (status = 400, description = "No patch, or an operation failed", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such record", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "The address or an account belongs to another", body = Document, content_type = "application/problem+json"),
    (status = 412, description = "The record is not the one of If-Match", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not a patch", body = Document, content_type = "application/problem+json"),
    (status = 422, description = "The patched record is not valid", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn patch(
    _caller: Permitted<WriteUsers, Records>,
    state: web::Data<State>,
    path: web::Path<String>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let patch = Patch::read(media_type(&request).as_deref(), &body)?;
    // Most often nobody else changes the same record meanwhile, and one statement does it.
    for _ in 0..UNLOCKED_TRIES {
        let reader = state.reader.client().await?;
        let user = store::find(&*reader, id).await?.ok_or_else(no_such_user)?;
        let change = Change::of(&state, &request, &patch, user)?;
        if store::replaces_accounts(&change.user, &change.draft) {
            break;
        }
        if let Some(version) = change.write(&state, &state.database.client().await?).await? {
            return Ok(change.answer(&state, version));
        }
    }
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let user = store::find_for_update(&transaction, id)
        .await?
        .ok_or_else(no_such_user)?;
    let change = Change::of(&state, &request, &patch, user)?;
    let version = change.write(&state, &transaction).await?;
    let version = version.ok_or_else(|| Problem::internal("a locked record has changed"))?;
    transaction.commit().await?;
    Ok(change.answer(&state, version))
}

/// A patch applied to a record.
struct Change {
    user: User,
    draft: Draft,
    event: Option<NewEvent>,
}

impl Change {
    fn of(state: &State, request: &HttpRequest, patch: &Patch, user: User) -> Result<Self, Problem> {
        if !is_expected(request, &EntityTag::new_strong(user.tag())) {
            return Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "The record has changed since.",
            ));
        }
        let draft = patch.apply(&user, &state.allowed_services).map_err(not_applied)?;
        let event = state.event(EventKind::Patch, || patch.without_secrets(&user, &draft));
        Ok(Self { user, draft, event })
    }

    /// The record's new version; none where it is no longer the one that was patched.
    async fn write(&self, state: &State, client: &impl GenericClient) -> Result<Option<i64>, Problem> {
        let Self { user, draft, event } = self;
        let written = store::update(
            client,
            &state.keys,
            user,
            draft,
            event.as_ref(),
            state.clock.now(),
        );
        written.await.map_err(refused)
    }

    fn answer(self, state: &State, version: i64) -> HttpResponse {
        state.told(self.event.as_ref());
        let user = User {
            id: self.user.id,
            services: store::shown(&self.draft.services),
            name: self.draft.name,
            email: self.draft.email.text,
            version,
        };
        with_tag(&mut HttpResponse::Ok(), &EntityTag::new_strong(user.tag())).json(user)
    }
}

/// Delete a record
#[utoipa::path(delete, path = "/{id}", tag = "Records", params(("id" = i64, Path,)), responses(
    (status = 204, description = "Deleted, with everything that hung on it"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such record", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn delete(
    caller: Permitted<WriteUsers, Records>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    delete_user(&caller, &state, &path).await
}

/// Deletes the user that `path` names, with everything that hangs on them; their tokens end.
pub async fn delete_user<P, C>(
    caller: &Permitted<P, C>,
    state: &State,
    path: &str,
) -> Result<HttpResponse, Problem> {
    let id = id_of(path)?;
    let event = state.event(EventKind::Delete, || json!({"id": id}));
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let theirs = users::permissions_of(&transaction, id).await?;
    caller.may_change(&theirs.unwrap_or_default())?;
    let now = state.clock.now();
    if !store::delete(&transaction, id, event.as_ref(), now).await? {
        return Err(no_such_user());
    }
    revoke_subject(&transaction, Subject::User(id), state.revoked_until(), now).await?;
    announce(&transaction).await?;
    transaction.commit().await?;
    state.told(event.as_ref());
    state.learn().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The access token of a linked account.
#[derive(Serialize, utoipa::ToSchema)]
struct AccessToken<'a> {
    access_token: &'a str,
}

/// Take the access token of a linked account
#[utoipa::path(get, path = "/{id}/services/{service}/token", tag = "Records",
    params(("id" = i64, Path,), ("service" = String, Path,)), responses(
    (status = 200, description = "The token", body = AccessToken),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such record, account or token", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn access_token(
    _caller: Permitted<TakeTokens, Records>,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let no_such_token = || Problem::not_found("There is no such user, linked account or token.");
    let (id, service) = path.into_inner();
    let service: ServiceName = service.parse().map_err(|_| no_such_token())?;
    let client = state.reader.client().await?;
    let token = accounts::find_token(&*client, &state.keys, id_of(&id)?, &service).await?;
    let token = token.ok_or_else(no_such_token)?;
    Ok(HttpResponse::Ok().json(AccessToken {
        access_token: token.expose_secret(),
    }))
}

pub fn no_such_user() -> Problem {
    Problem::not_found("There is no such user.")
}

/// What is no id of 64 bits names no user.
pub fn id_of(path: &str) -> Result<i64, Problem> {
    let canonical = |id: &i64| *id > 0 && id.to_string() == path;
    path.parse().ok().filter(canonical).ok_or_else(no_such_user)
}

pub fn refused(error: WriteError) -> Problem {
    match error {
        WriteError::EmailTaken => {
            Problem::conflict("email-taken", "The email address belongs to another user.")
                .with_errors(vec![Invalid::new("/email", "belongs to another user")])
        }
        WriteError::AccountTaken => {
            Problem::conflict("account-taken", "A linked account belongs to another user.").with_errors(vec![
                Invalid::new("/services", "one of the accounts belongs to another user"),
            ])
        }
        WriteError::Database(error) => error.into(),
    }
}

fn not_applied(error: PatchError) -> Problem {
    match error {
        PatchError::Operation(index, detail) => {
            Problem::invalid(vec![Invalid::new(format!("/{index}"), detail)]).of_kind("patch-failed")
        }
        PatchError::Invalid(errors) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The patched record is not valid.",
        )
        .of_kind("invalid")
        .with_errors(errors),
    }
}

/// A patch of a person through `/api/users`, whose members are a document and no operations.
pub fn not_valid(error: PatchError) -> Problem {
    match error {
        PatchError::Invalid(errors) => Problem::invalid(errors),
        PatchError::Operation(..) => not_applied(error),
    }
}
