//! `POST /auth`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::crypto::password::Verdict;
use identity_core::http::body::{Body, json};
use identity_core::http::client::address_of;
use identity_core::http::{Problem, route};
use identity_core::throttle::Tried;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use super::token;
use crate::access::unauthorized;
use crate::answer::Refused;
use crate::state::{Shared, State};
use crate::users::{self, User, Username};

/// Adds the path.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/auth")
            .route(web::post().to(sign_in))
            .default_service(route::only("POST")),
    );
}

/// What a user signs in with.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, so that all that is wrong is 401"
)]
struct SignIn {
    #[schema(example = "mei@example.org")]
    username: String,
    #[schema(write_only)]
    password: String,
}

/// A token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Token {
    access_token: String,
}

/// Sign in
#[utoipa::path(post, path = "/auth", tag = "Users", request_body = SignIn, responses(
    (status = 200, description = "A token", body = Token),
    (status = 400, description = "Not JSON", body = Refused),
    (status = 401, description = "Not this username and password", body = Refused),
    (status = 429, description = "Too many wrong passwords; Retry-After tells when", body = Refused),
    (status = 503, description = "Too much to do; Retry-After tells when", body = Refused),
), security(()))]
pub(crate) async fn sign_in(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let document = json(&body)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    // What is missing is as wrong as any other.
    let (Some(username), Some(password)) = (text("username"), text("password")) else {
        return Err(wrong());
    };
    let username = Username::of_any(username);
    let client = state.database.client().await?;
    let found = users::find(&client, &username).await?;
    // No connection is held while a password is hashed.
    drop(client);
    let tried = Tried::new(&username.key, address_of(&request));
    let password = SecretString::from(password.to_owned());
    let right = check_password(&state, &tried, found.as_ref(), &password).await?;
    let Some(user) = found.filter(|_| right) else {
        return Err(wrong());
    };
    state.counts.signed_in.inc();
    let access_token = token::issue(&state, &user).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(json!(Token { access_token })))
}

/// The same for every reason.
fn wrong() -> Problem {
    unauthorized("This is not the username and password of a user.")
}

/// Whether it is the user's password; of nobody it is none, and takes as long. Wrong ones are
/// counted.
///
/// # Errors
/// 429 where there were too many wrong ones, 503 where too many are being checked.
pub(crate) async fn check_password(
    state: &Shared,
    tried: &Tried,
    user: Option<&User>,
    password: &SecretString,
) -> Result<bool, Problem> {
    let now = state.now();
    let client = state.database.client().await?;
    let id = user.map(|user| user.id);
    if let Some(wait) = state.throttle.wait(&client, tried, id, now).await? {
        return Err(too_many(wait));
    }
    drop(client);
    let stored = user.map(|user| user.password_hash.as_str());
    let verdict = state.hasher.verify(password, stored).await.map_err(|_| busy())?;
    let client = state.database.client().await?;
    let (Verdict::Right | Verdict::RightButOutdated, Some(user)) = (verdict, user) else {
        state.throttle.failed(&client, tried, now).await?;
        state.counts.failed_logins.inc();
        return Ok(false);
    };
    state.throttle.succeeded(&client, tried, user.id, now).await?;
    if verdict == Verdict::RightButOutdated {
        let new = state.hasher.hash(password).await.map_err(|_| busy())?;
        users::update_hash(&client, user, &new).await?;
    }
    Ok(true)
}

/// 429, to be tried again after `wait`.
pub(crate) fn too_many(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "There were too many wrong tries; wait before the next.",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// As many passwords are being checked as this instance checks at once, and as many wait as may.
pub(crate) fn busy() -> Problem {
    Problem::unavailable("Too many passwords are being checked; try again soon.", 1)
}
