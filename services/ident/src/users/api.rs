//! `/api/users`: the same people as the records, with what they sign in with.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::problem::{Document, Problem};
use identity_core::http::{Invalid, route};
use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::model::{Account, Credentials, CredentialsChange};
use super::store;
use crate::access::{Permitted, ReadUsers, WriteCredentials, WriteUsers};
use crate::notifications::EventKind;
use crate::records::{self, Draft, ListQuery, Patch};
use crate::state::State;
use crate::tokens::{Subject, announce, revoke_subject};

/// Adds the paths.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/api/users")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/users/{id}")
                .route(route::get().to(show))
                .route(web::patch().to(change))
                .route(web::delete().to(delete))
                .default_service(route::only("GET, HEAD, PATCH, DELETE")),
        );
}

/// A person as they are sent.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what the model reads by hand, to tell all that is wrong"
)]
struct SentUser {
    #[schema(example = "robb", min_length = 1, max_length = 255)]
    username: String,
    #[schema(write_only, nullable = false, min_length = 8)]
    password: Option<String>,
    #[schema(example = "Robb Stark", min_length = 1, max_length = 255)]
    name: String,
    #[schema(example = "king@deceased.north", min_length = 1, max_length = 320)]
    email: String,
    #[schema(nullable = false)]
    permissions: Option<Vec<crate::tokens::Permission>>,
    #[schema(nullable = false)]
    disabled: Option<bool>,
}

/// List people with their credentials
#[utoipa::path(get, path = "/api/users", tag = "Users", responses(
    (status = 200, description = "A page; filters and pages as of the records", body = Vec<Account>),
    (status = 400, description = "A parameter is unknown or malformed", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    _caller: Permitted<ReadUsers>,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string())?;
    let client = state.database.client().await?;
    let (users, around) = records::list(&client, &query).await?;
    let ids: Vec<i64> = users.iter().map(|user| user.id).collect();
    let mut credentials = store::list(&client, &ids).await?;
    let accounts = users.into_iter().map(|user| {
        let credentials = credentials.remove(&user.id).unwrap_or_default();
        Account::of(user, credentials)
    });
    let mut answer = HttpResponse::Ok();
    if let Some(links) = query.links("/api/users", &around) {
        answer.insert_header((header::LINK, links));
    }
    Ok(answer.json(accounts.collect::<Vec<_>>()))
}

/// Show a person with their credentials
#[utoipa::path(get, path = "/api/users/{id}", tag = "Users", params(("id" = i64, Path,)), responses(
    (status = 200, description = "The person", body = Account),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such user", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    _caller: Permitted<ReadUsers>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = records::id_of(&path)?;
    let client = state.reader.client().await?;
    let user = records::find(&*client, id)
        .await?
        .ok_or_else(records::no_such_user)?;
    let credentials = store::find(&*client, id).await?;
    Ok(HttpResponse::Ok().json(Account::of(user, credentials)))
}

/// Make a person who can sign in
#[utoipa::path(post, path = "/api/users", tag = "Users", request_body = SentUser, responses(
    (status = 201, description = "Made", body = Account, headers(("Location" = String))),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted, or more permissions than the caller's own", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "Username, address or an account belongs to another", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    caller: Permitted<WriteCredentials>,
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let (mut document, change) = read(&body, |document| !document.contains_key("username"))?;
    document
        .entry("services")
        .or_insert_with(|| Value::Object(Map::new()));
    let draft = Draft::read(Value::Object(document), &state.allowed_services).map_err(Problem::invalid)?;
    caller.may_grant(change.permissions.as_deref())?;
    let credentials = state.hashed(change, Credentials::default()).await?;
    let account = insert(&state, draft, credentials).await?;
    let location = format!("/api/users/{}", account.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(account))
}

/// Stores a new person with their record and its event; all or nothing.
pub(super) async fn insert(
    state: &crate::state::Shared,
    draft: Draft,
    credentials: Credentials,
) -> Result<Account, Problem> {
    let event = state.event(EventKind::New, || draft.document());
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let now = state.clock.now();
    let id = records::insert(&transaction, &state.keys, &draft, event.as_ref(), now)
        .await
        .map_err(records::refused)?;
    store::upsert(&transaction, id, &credentials, now)
        .await
        .map_err(refused)?;
    let user = records::find(&transaction, id)
        .await?
        .ok_or_else(records::no_such_user)?;
    transaction.commit().await?;
    state.told(event.as_ref());
    Ok(Account::of(user, credentials))
}

/// Change a person or what they sign in with
#[utoipa::path(patch, path = "/api/users/{id}", tag = "Users", params(("id" = i64, Path,)),
    request_body(content = std::collections::BTreeMap<String, serde_json::Value>, description = "Any members of SentUser; the others stay"), responses(
    (status = 200, description = "Changed; a new password and `disabled` end the person's tokens", body = Account),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted, or more permissions than the caller's own", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such user", body = Document, content_type = "application/problem+json"),
    (status = 409, description = "Username, address or an account belongs to another", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn change(
    caller: Permitted<WriteCredentials>,
    state: web::Data<State>,
    path: web::Path<String>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let id = records::id_of(&path)?;
    expect_json(&request)?;
    let (document, change) = read(&body, |_| false)?;
    caller.may_grant(change.permissions.as_deref())?;
    let ends_tokens =
        change.password.is_some() || change.disabled == Some(true) || change.permissions.is_some();
    let reader = state.reader.client().await?;
    records::find(&*reader, id)
        .await?
        .ok_or_else(records::no_such_user)?;
    let known = store::find(&*reader, id).await?;
    caller.may_change(&known.permissions)?;
    if known.username.is_none() && change.username.is_none() && (ends_tokens || change.disabled.is_some()) {
        return Err(Problem::invalid(vec![Invalid::new(
            "/username",
            "is needed first",
        )]));
    }
    // Hashed before the transaction begins: nobody waits for a lock during a hash.
    let credentials = state.hashed(change, known.clone()).await?;
    let patch = Patch::Merge(Value::Object(document));
    let is_record_changed = !matches!(&patch, Patch::Merge(Value::Object(members)) if members.is_empty());
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let user = records::find_for_update(&transaction, id)
        .await?
        .ok_or_else(records::no_such_user)?;
    if store::find(&transaction, id).await? != known {
        return Err(Problem::unavailable(
            "Another request changed the same person; try again.",
            1,
        ));
    }
    let now = state.clock.now();
    let mut event = None;
    if is_record_changed {
        let draft = patch
            .apply(&user, &state.allowed_services)
            .map_err(records::not_valid)?;
        event = state.event(EventKind::Patch, || patch.without_secrets(&user, &draft));
        records::update(&transaction, &state.keys, &user, &draft, event.as_ref(), now)
            .await
            .map_err(records::refused)?
            .ok_or_else(|| Problem::internal("a locked record has changed"))?;
    }
    store::upsert(&transaction, id, &credentials, now)
        .await
        .map_err(refused)?;
    if ends_tokens {
        revoke_subject(&transaction, Subject::User(id), state.revoked_until(), now).await?;
        announce(&transaction).await?;
    }
    let user = records::find(&transaction, id)
        .await?
        .ok_or_else(records::no_such_user)?;
    transaction.commit().await?;
    state.told(event.as_ref());
    if ends_tokens {
        state.learn().await?;
    }
    Ok(HttpResponse::Ok().json(Account::of(user, credentials)))
}

/// Delete a person
#[utoipa::path(delete, path = "/api/users/{id}", tag = "Users", params(("id" = i64, Path,)), responses(
    (status = 204, description = "Deleted, with everything that hung on them"),
    (status = 401, description = "Not authenticated", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not permitted", body = Document, content_type = "application/problem+json"),
    (status = 404, description = "No such user", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Cannot be done now; Retry-After tells when", body = Document, content_type = "application/problem+json"),
))]
pub(crate) async fn delete(
    caller: Permitted<WriteUsers>,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    records::delete_user(&caller, &state, &path).await
}

/// The members of a record, and those of credentials.
fn read(
    body: &[u8],
    lacks_username: impl Fn(&Map<String, Value>) -> bool,
) -> Result<(Map<String, Value>, CredentialsChange), Problem> {
    let Value::Object(mut document) = json(body)? else {
        return Err(Problem::invalid(vec![Invalid::new("", "expected an object")]));
    };
    let mut errors = Vec::new();
    if lacks_username(&document) {
        errors.push(Invalid::new("/username", "is missing"));
    }
    let change = CredentialsChange::take(&mut document, &mut errors);
    if errors.is_empty() {
        Ok((document, change))
    } else {
        Err(Problem::invalid(errors))
    }
}

fn refused(error: identity_core::db::Error) -> Problem {
    if error.violates("credentials_username_unique") {
        return Problem::conflict("username-taken", "The username belongs to another user.")
            .with_errors(vec![Invalid::new("/username", "belongs to another user")]);
    }
    error.into()
}

impl crate::state::Shared {
    /// `change` over `known`, with the password hashed.
    pub(super) async fn hashed(
        &self,
        change: CredentialsChange,
        known: Credentials,
    ) -> Result<Credentials, Problem> {
        let password_hash = match &change.password {
            Some(password) => Some(
                self.hasher
                    .hash(password)
                    .await
                    .map_err(|_| crate::login::busy())?,
            ),
            None => known.password_hash,
        };
        let permissions = change
            .permissions
            .map(|all| all.into_iter().map(|one| one.as_str().to_owned()).collect());
        Ok(Credentials {
            username: change.username.or(known.username),
            password_hash,
            permissions: permissions.unwrap_or(known.permissions),
            disabled: change.disabled.unwrap_or(known.disabled),
        })
    }

    /// Until when a revocation matters: the last token that can exist has expired.
    pub(crate) fn revoked_until(&self) -> jiff::Timestamp {
        let configuration = self.authority.snapshot().configuration.clone();
        let seconds = configuration.map_or(0, |configuration| configuration.jwt_expiration);
        self.clock.now() + SignedDuration::from_secs(seconds.into()) + SignedDuration::from_mins(1)
    }
}
