//! `/api/v1.0`: what is linked, a fresh token, an end to a link.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::http::{Invalid, Problem, route};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::asking::Asking;
use super::authorize::{authorize, authorize_post, redirect_uri_of_provider};
use super::model::{Fit, Link, LinkKey, Status, Token};
use super::refresh::NoToken;
use super::store;
use crate::access::{Caller, query};
use crate::audit::{self, Action, Entry};
use crate::outbox::{self, Message};
use crate::providers::{Metadata, Provider};
use crate::state::State;

/// The longest life of a token that can be asked for, in seconds.
const LONGEST_TTL: u64 = 100 * 366 * 24 * 3600;

/// Adds the paths.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        // First, since paths are tried in turn, and nothing is asked for as often.
        .service(
            web::resource("/api/v1.0/{provider}/token")
                .route(route::get().to(token))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/api/v1.0/authorizations")
                .route(route::get().to(authorizations))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/api/v1.0/{provider}/authorize")
                .route(route::get().to(authorize))
                .route(web::post().to(authorize_post))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/v1.0/{provider}/redirect_uri")
                .route(route::get().to(redirect_uri_of_provider))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/api/v1.0/{provider}/revoke")
                .route(web::post().to(revoke))
                .default_service(route::only("POST")),
        );
}

/// A provider, and how its link stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Authorization {
    /// Its id.
    pub provider: String,
    /// Whether a token can be had.
    pub active: bool,
    /// Where to go on.
    pub actions: Actions,
    /// What is shown of it.
    pub metadata: Metadata,
    /// How the link stands.
    pub status: Status,
    /// Whether the provider answers, as far as is known.
    pub available: bool,
    /// Since when there is a link.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub linked_at: Option<Timestamp>,
    /// When it ends, where the provider says so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Who the person is at the provider, if that is known.
    pub account: Option<String>,
    /// What the link permits.
    pub scopes: Vec<String>,
}

/// Absolute URLs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Actions {
    authorize: String,
    token: String,
    revoke: String,
}

impl Authorization {
    /// How the link of a caller to `provider` stands.
    #[must_use]
    pub fn of(state: &State, provider: &Provider, link: Option<&Link>, now: Timestamp) -> Self {
        let status = Status::of(link, now);
        let action = |name: &str| format!("{}/api/v1.0/{}/{name}", state.public_url, provider.id());
        let end = |link: &Link| match link.refresh_token {
            Some(_) => link.refresh_expires_at,
            None => link.access_expires_at,
        };
        Self {
            provider: provider.id().to_owned(),
            active: status == Status::Active,
            actions: Actions {
                authorize: action("authorize"),
                token: action("token"),
                revoke: action("revoke"),
            },
            metadata: provider.settings.metadata.clone(),
            status,
            available: provider.is_available(),
            linked_at: link.map(|link| link.linked_at),
            expires_at: link.and_then(end),
            account: link.and_then(|link| link.account.clone()),
            scopes: link.map(|link| link.scopes.clone()).unwrap_or_default(),
        }
    }
}

/// All providers in configured order, and how the caller's links stand.
///
/// # Errors
/// What Postgres says.
pub async fn list(state: &State, caller: &Caller) -> Result<Vec<Authorization>, Problem> {
    let client = state.reader.client().await?;
    let links = store::list(&*client, &caller.person).await?;
    let now = state.clock.now();
    let of = |provider: &std::sync::Arc<Provider>| {
        let link = links.iter().find(|link| link.key.provider == provider.id());
        Authorization::of(state, provider, link, now)
    };
    Ok(state.providers.iter().map(of).collect())
}

/// All providers, and how the caller's links stand.
#[utoipa::path(get, path = "/api/v1.0/authorizations", tag = "Links", responses(
    (status = 200, description = "In configured order", body = [Authorization]),
    (status = 401, description = "Nobody is signed in"),
))]
pub async fn authorizations(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(list(&state, &caller).await?))
}

/// The query of a token.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// How many seconds the token shall be valid at least, as far as the provider goes along.
    #[param(value_type = Option<u64>)]
    min_ttl: Option<String>,
}

/// A token as it is answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Granted {
    access_token: String,
    token_type: String,
    /// Seconds from now; null where the provider does not say.
    expires_in: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl Granted {
    fn new(token: &Token, now: Timestamp) -> Self {
        Self {
            access_token: token.access.expose_secret().to_owned(),
            token_type: token.kind.clone(),
            expires_in: token
                .expires_at
                .map(|end| end.duration_since(now).as_secs().max(0)),
            expires_at: token.expires_at,
            scope: (!token.scopes.is_empty()).then(|| token.scopes.join(" ")),
        }
    }
}

/// A fresh access token of the caller's account.
#[utoipa::path(get, path = "/api/v1.0/{provider}/token", tag = "Links",
    params(("provider" = String, Path, description = "The provider's id"), Wanted), responses(
    (status = 200, description = "A token that is valid", body = Granted),
    (status = 400, description = "`not_linked`: the account is not linked"),
    (status = 401, description = "Nobody is signed in"),
    (status = 404, description = "There is no such provider"),
    (status = 409, description = "`reauthorization_required`: the account has to be linked again"),
    (status = 503, description = "The provider does not answer; the link is kept"),
))]
pub async fn token(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let Asking {
        caller,
        provider,
        link,
    } = Asking::of(&request, &state, &id).await?;
    let query: Wanted = query(&request)?;
    let wanted = match &query.min_ttl {
        None => state.refresh_margin,
        Some(text) => {
            let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= LONGEST_TTL);
            let wrong = || Problem::invalid(vec![Invalid::new("/min_ttl", "expected a number of seconds")]);
            Duration::from_secs(seconds.ok_or_else(wrong)?).max(state.refresh_margin)
        }
    };
    let Some(link) = link else {
        return Err(refused(NoToken::NotLinked));
    };
    let token = match link.fit(state.clock.now(), wanted) {
        Fit::Fresh => link.token(&state.keys).map_err(Problem::internal)?,
        Fit::Broken => return Err(refused(NoToken::ReauthorizationRequired)),
        Fit::Stale => {
            let fresh = state
                .refresher
                .refresh(&provider, &link.key, link.generation, wanted)
                .await;
            fresh.map_err(refused)?
        }
    };
    let now = state.clock.now();
    state.recorder.used(&caller, &id, now);
    state.counts.handed_out.inc();
    Ok(HttpResponse::Ok().json(Granted::new(&token, now)))
}

fn refused(reason: NoToken) -> Problem {
    match reason {
        NoToken::NotLinked => {
            Problem::new(StatusCode::BAD_REQUEST, "The account is not linked.").of_kind("not_linked")
        }
        NoToken::ReauthorizationRequired => Problem::conflict(
            "reauthorization_required",
            "The provider does not accept the link any more; the account has to be linked again.",
        ),
        NoToken::ProviderDown(wait) => {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
            let detail = "The provider gives no token at present; the link is kept.";
            Problem::unavailable(detail, seconds).of_kind("provider-unavailable")
        }
        NoToken::Unavailable => Problem::unavailable("The database cannot be reached; try again soon.", 5),
        NoToken::Failed(cause) => Problem::internal(cause),
    }
}

/// Ends a link, and has its token revoked at the provider.
///
/// # Errors
/// What Postgres says.
pub async fn end(state: &State, caller: &Caller, provider: &str) -> Result<bool, Problem> {
    let now = state.clock.now();
    let key = LinkKey::new(&caller.person, provider);
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let Some(link) = store::delete(&transaction, &key).await? else {
        return Ok(false);
    };
    // The refresh token ends all that came of it; without one, the access token is all there is.
    let (column, sealed) = match &link.refresh_token {
        Some(sealed) => ("refresh_token", sealed),
        None => ("access_token", &link.access_token),
    };
    match state.keys.open_text(&key.place(column), sealed) {
        Ok(token) => {
            let message = Message::revocation(&state.keys, &key, &token, column, now);
            outbox::store::insert(&transaction, &message).await?;
        }
        // What cannot be read cannot be revoked there; here it shall go all the same.
        Err(error) => tracing::error!(provider, %error, "a token cannot be revoked at its provider"),
    }
    let entry = Entry::of(caller, Action::Revoked, Some(provider), now);
    audit::store::insert(&transaction, &entry).await?;
    transaction.commit().await?;
    state.outbox.written();
    state.counts.revoked.inc();
    Ok(true)
}

/// Ends the caller's link.
#[utoipa::path(post, path = "/api/v1.0/{provider}/revoke", tag = "Links",
    params(("provider" = String, Path, description = "The provider's id")), responses(
    (status = 200, description = "There is no link any more", body = String, content_type = "application/json"),
    (status = 401, description = "Nobody is signed in"),
    (status = 403, description = "The request did not come from a page of this service"),
    (status = 404, description = "There is no such provider"),
))]
pub async fn revoke(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.provider(&id)?;
    end(&state, &caller, &id).await?;
    Ok(HttpResponse::Ok().json("Token revoked"))
}
