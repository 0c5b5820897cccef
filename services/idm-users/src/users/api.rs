//! `/user` and `/user/{username}`.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::db::GenericClient;
use identity_core::http::body::{Body, json};
use identity_core::http::client::address_of;
use identity_core::http::{Invalid, Problem, route};
use identity_core::throttle::Tried;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::model::{NewUser, User, UserChange, Username, flag, secret};
use super::passwords::PasswordRules;
use super::store;
use crate::access::{Admin, Caller, forbidden};
use crate::answer::{Data, Refused, data};
use crate::audit::{self, Entry};
use crate::sign_in::{busy, check_password};
use crate::state::{Shared, State};

/// Adds the paths.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/user")
                .route(web::post().to(create))
                .route(web::delete().to(delete))
                .default_service(route::only("POST, DELETE")),
        )
        .service(
            web::resource("/user/{username}")
                .route(route::get().to(show))
                .route(web::put().to(change))
                .default_service(route::only("GET, HEAD, PUT")),
        );
}

/// A new user.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
struct UserWish {
    #[schema(example = "mei@example.org")]
    username: String,
    #[schema(write_only, min_length = 8, max_length = 128)]
    password: String,
    admin: Option<bool>,
}

/// A change of a user.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
struct UserChangeWish {
    #[schema(write_only, min_length = 8, max_length = 128)]
    password: Option<String>,
    /// Needed for one's own password, except of an administrator.
    #[schema(write_only)]
    current_password: Option<String>,
    /// For administrators to change.
    admin: Option<bool>,
}

/// Whom to delete.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
struct UserNamed {
    #[schema(example = "mei@example.org")]
    username: String,
}

/// Make a user
#[utoipa::path(post, path = "/user", tag = "Users", request_body = UserWish, responses(
    (status = 200, description = "The user, in `data`", body = Data<super::model::Shown<'static>>),
    (status = 400, description = "Not valid", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 403, description = "Not an administrator", body = Refused),
    (status = 409, description = "The username is taken", body = Refused),
))]
pub(crate) async fn create(
    Admin(caller): Admin,
    state: web::Data<State>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let wish = new_user(&object(&body)?, state.rules()).map_err(Problem::invalid)?;
    let user = make(&state, Some(&caller.username), &wish).await?;
    let user = user.ok_or_else(|| Problem::conflict("taken", "There is a user of this name already."))?;
    Ok(data(&user.shown()))
}

/// Makes a user, with its row of the audit trail; none where the name is taken.
pub(super) async fn make(
    state: &Shared,
    actor: Option<&str>,
    wish: &NewUser,
) -> Result<Option<User>, Problem> {
    let hash = state.hasher.hash(&wish.password).await.map_err(|_| busy())?;
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let Some(user) = store::insert(&transaction, &wish.username, &hash, wish.admin, now).await? else {
        return Ok(None);
    };
    let what = if wish.admin {
        "created, an administrator"
    } else {
        "created"
    };
    audit::append(
        &transaction,
        now,
        &[Entry::of_user(&user.username, what).by(actor)],
    )
    .await?;
    transaction.commit().await?;
    Ok(Some(user))
}

/// Show a user
#[utoipa::path(get, path = "/user/{username}", tag = "Users", params(("username" = String, Path,)), responses(
    (status = 200, description = "The user, in `data`", body = Data<super::model::Shown<'static>>),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 403, description = "Neither oneself nor an administrator", body = Refused),
    (status = 404, description = "No such user", body = Refused),
))]
pub(crate) async fn show(
    Caller(caller): Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let client = state.reader.client().await?;
    let user = find_permitted(&*client, &caller, &path).await?;
    Ok(data(&user.shown()))
}

/// Change a user's password, or make an administrator of them
#[utoipa::path(put, path = "/user/{username}", tag = "Users", params(("username" = String, Path,)),
    request_body = UserChangeWish, responses(
    (status = 204, description = "Changed; a new password ends the user's tokens"),
    (status = 400, description = "Not valid", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 403, description = "Neither oneself nor an administrator; or not the current password", body = Refused),
    (status = 404, description = "No such user", body = Refused),
    (status = 409, description = "It is the last administrator", body = Refused),
))]
pub(crate) async fn change(
    Caller(caller): Caller,
    state: web::Data<State>,
    request: HttpRequest,
    path: web::Path<String>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let client = state.database.client().await?;
    let user = find_permitted(&client, &caller, &path).await?;
    drop(client);
    let change = UserChange::read(&object(&body)?).map_err(Problem::invalid)?;
    if change.admin.is_some() && !caller.admin {
        return Err(forbidden());
    }
    if let Some(password) = &change.password {
        check_new_password(state.rules(), password, "/password")?;
        prove_current(&state, &request, &caller, &user, change.current_password.as_ref()).await?;
    }
    apply(&state, &caller.username, &user, &change).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whoever changes their own password knows the old one, so that an open browser is not enough.
async fn prove_current(
    state: &State,
    request: &HttpRequest,
    caller: &User,
    user: &User,
    current: Option<&SecretString>,
) -> Result<(), Problem> {
    let Some(current) = current else {
        if caller.admin {
            return Ok(());
        }
        let missing = Invalid::new("/current_password", "is needed to change one's own password");
        return Err(Problem::invalid(vec![missing]));
    };
    let tried = Tried::new(&Username::of_any(&user.username).key, address_of(request));
    if check_password(state, &tried, Some(user), current).await? {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "This is not the current password.",
    ))
}

/// Changes a user, with the rows of the audit trail.
pub(super) async fn apply(
    state: &Shared,
    actor: &str,
    user: &User,
    change: &UserChange,
) -> Result<(), Problem> {
    let hash = match &change.password {
        Some(password) => Some(state.hasher.hash(password).await.map_err(|_| busy())?),
        None => None,
    };
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    store::lock(&transaction).await?;
    let user = store::find_by_id(&transaction, user.id)
        .await?
        .ok_or_else(unknown)?;
    let mut entries = Vec::new();
    if let Some(hash) = hash {
        store::set_password(&transaction, &user, &hash, now).await?;
        entries.push(Entry::of_user(&user.username, "changed the password").by(Some(actor)));
    }
    if let Some(admin) = change.admin.filter(|admin| *admin != user.admin) {
        if !admin {
            keep_one_admin(&transaction).await?;
        }
        store::set_admin(&transaction, &user, admin, now).await?;
        let action = format!("changed admin: {} → {admin}", user.admin);
        entries.push(Entry::of_user(&user.username, action).by(Some(actor)));
    }
    audit::append(&transaction, now, &entries).await?;
    transaction.commit().await?;
    Ok(())
}

/// Delete a user
#[utoipa::path(delete, path = "/user", tag = "Users", request_body = UserNamed, responses(
    (status = 204, description = "Deleted, and their tokens are not valid any more"),
    (status = 400, description = "No username", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 403, description = "Not an administrator", body = Refused),
    (status = 404, description = "No such user", body = Refused),
    (status = 409, description = "It is the last administrator", body = Refused),
))]
pub(crate) async fn delete(
    Admin(caller): Admin,
    state: web::Data<State>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let document = object(&body)?;
    let username = document.get("username").and_then(Value::as_str);
    let username = username
        .ok_or_else(|| Problem::invalid(vec![Invalid::new("/username", "expected an email address")]))?;
    remove(&state, Some(&caller.username), &Username::of_any(username)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes a user, with the row of the audit trail.
pub(super) async fn remove(state: &Shared, actor: Option<&str>, username: &Username) -> Result<(), Problem> {
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    store::lock(&transaction).await?;
    let user = store::find(&transaction, username).await?.ok_or_else(unknown)?;
    if user.admin {
        keep_one_admin(&transaction).await?;
    }
    store::delete(&transaction, &user).await?;
    audit::append(
        &transaction,
        now,
        &[Entry::of_user(&user.username, "deleted").by(actor)],
    )
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Without an administrator nobody could make one, and `/init` would be open again.
async fn keep_one_admin(transaction: &impl GenericClient) -> Result<(), Problem> {
    if store::count_admins(transaction).await? > 1 {
        return Ok(());
    }
    Err(Problem::conflict("last", "This is the last administrator."))
}

/// Oneself, or for an administrator anybody: to others it is not told who exists.
async fn find_permitted(client: &impl GenericClient, caller: &User, username: &str) -> Result<User, Problem> {
    let username = Username::of_any(username);
    if !caller.admin && Username::of_any(&caller.username).key != username.key {
        return Err(forbidden());
    }
    store::find(client, &username).await?.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("There is no user of this name.")
}

/// The body as a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match json(body)? {
        Value::Object(members) => Ok(members),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The body must be a JSON object.",
        )),
    }
}

/// Reads the members of a new user.
///
/// # Errors
/// All that is wrong.
pub(super) fn new_user(document: &Map<String, Value>, rules: PasswordRules) -> Result<NewUser, Vec<Invalid>> {
    let mut errors = Vec::new();
    let username = match document
        .get("username")
        .and_then(Value::as_str)
        .map(Username::parse)
    {
        Some(Ok(username)) => Some(username),
        Some(Err(detail)) => {
            errors.push(Invalid::new("/username", detail));
            None
        }
        None => {
            errors.push(Invalid::new("/username", "is missing: expected an email address"));
            None
        }
    };
    let password = secret(document, "password", &mut errors);
    match &password {
        Some(password) => {
            let unusable = rules.check(password).err();
            errors.extend(unusable.map(|error| Invalid::new("/password", error.to_string())));
        }
        None if errors.iter().any(|error| error.pointer == "/password") => {}
        None => errors.push(Invalid::new("/password", "is missing")),
    }
    let admin = flag(document, "admin", &mut errors).unwrap_or(false);
    match (username, password) {
        (Some(username), Some(password)) if errors.is_empty() => Ok(NewUser {
            username,
            password,
            admin,
        }),
        _ => Err(errors),
    }
}

fn check_new_password(rules: PasswordRules, password: &SecretString, pointer: &str) -> Result<(), Problem> {
    rules
        .check(password)
        .map_err(|error| Problem::invalid(vec![Invalid::new(pointer, error.to_string())]))
}

impl Shared {
    /// What is asked of a password.
    pub(crate) fn rules(&self) -> PasswordRules {
        PasswordRules {
            shortest: self.shortest_password,
        }
    }
}
