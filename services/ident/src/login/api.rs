//! `POST /auth/login`.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::crypto::password::Verdict;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::client::address_of;
use identity_core::http::problem::{Document, Problem};
use identity_core::http::{Invalid, route};
use identity_core::throttle::Tried;
use secrecy::SecretString;
use serde_json::Value;

use crate::state::State;
use crate::tokens::api::{Token, issue_first};
use crate::tokens::{Grant, Subject};
use crate::users;

/// Adds the path.
pub fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/auth/login")
            .route(web::post().to(login))
            .default_service(route::only("POST")),
    );
}

/// What a person signs in with.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
struct Login {
    #[schema(example = "robb")]
    username: String,
    #[schema(write_only)]
    password: String,
    /// Default: this service.
    #[schema(min_length = 1, max_length = 255)]
    audience: Option<String>,
}

/// Sign in
#[utoipa::path(post, path = "/auth/login", tag = "Tokens", request_body = Login, responses(
    (status = 200, description = "A token", body = Token),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not this username and password", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 429, description = "Too many wrong passwords; Retry-After tells when", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Too much to do; Retry-After tells when", body = Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn login(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let document = json(&body)?;
    let [username, password] = required_texts(&document, ["username", "password"])?;
    let audience = state.audience_of(&document)?;
    let key = users::Username::new(&username).key;
    let tried = Tried::new(&key, address_of(&request));
    let now = state.clock.now();

    let client = state.database.client().await?;
    let found = users::find_by_username(&client, &key).await?;
    let user = found.as_ref().map(|(user, _)| *user);
    if let Some(wait) = state.throttle.wait(&client, &tried, user, now).await? {
        return Err(too_many(wait));
    }
    // Whoever does not exist or may not sign in costs the same time as a wrong password.
    let usable = found.as_ref().filter(|(_, credentials)| !credentials.disabled);
    let stored = usable.and_then(|(_, credentials)| credentials.password_hash.as_deref());
    // No connection is held while a password is hashed.
    drop(client);
    let password = SecretString::from(password);
    let verdict = state.hasher.verify(&password, stored).await.map_err(|_| busy())?;
    let client = state.database.client().await?;
    let (Verdict::Right | Verdict::RightButOutdated, Some((user, credentials))) = (verdict, usable) else {
        state.throttle.failed(&client, &tried, now).await?;
        state.counts.failed_logins.inc();
        return Err(wrong());
    };
    state.throttle.succeeded(&client, &tried, *user, now).await?;
    if let (Verdict::RightButOutdated, Some(old)) = (verdict, &credentials.password_hash) {
        let new = state.hasher.hash(&password).await.map_err(|_| busy())?;
        users::update_password_hash(&client, *user, old, &new).await?;
    }
    let email = if audience == state.audience {
        None
    } else {
        users::email_of(&client, *user).await?
    };
    let grant = Grant {
        subject: Subject::User(*user),
        audience,
        permissions: credentials.permissions.clone(),
        email,
    };
    Ok(HttpResponse::Ok().json(issue_first(&state, &grant)?))
}

/// Texts that a document must have.
///
/// # Errors
/// 400 with each that is missing.
pub(crate) fn required_texts<const N: usize>(
    document: &Value,
    names: [&str; N],
) -> Result<[String; N], Problem> {
    let read = names.map(|name| document.get(name).and_then(Value::as_str));
    let missing = names.iter().zip(&read).filter(|(_, text)| text.is_none());
    let errors: Vec<_> = missing
        .map(|(name, _)| Invalid::new(format!("/{name}"), "expected a text"))
        .collect();
    if errors.is_empty() {
        Ok(read.map(|text| text.unwrap_or_default().to_owned()))
    } else {
        Err(Problem::invalid(errors))
    }
}

/// The same for every reason.
pub(crate) fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "These credentials are not valid.").with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"ident\""),
    )
}

pub(crate) fn too_many(wait: std::time::Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "There were too many wrong tries; wait before the next.",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// As many passwords are being checked as this instance checks at once, and as many wait as may.
#[must_use]
pub fn busy() -> Problem {
    Problem::unavailable("Too many passwords are being checked; try again soon.", 1)
}
