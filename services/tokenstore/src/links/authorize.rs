//! Linking an account: the browser goes to the provider, and comes back.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::crypto::token::PlainToken;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::{Invalid, Problem};
use serde_json::Value;
use url::Url;

use super::model::{LinkKey, NewLink, Sealed};
use super::states::{self, LinkState};
use super::store;
use crate::access::{By, Caller, identify, query, unauthenticated};
use crate::audit::{self, Action, Entry};
use crate::cookies::{Cookie, FLOW_LIFETIME};
use crate::flow::Flow;
use crate::login::api::{Return, browser_of, refused_return_url};
use crate::providers::{Callback, Identity, Obtained, Provider, ProviderError};
use crate::state::State;

/// Begins a link: the browser goes to the provider.
#[utoipa::path(get, path = "/api/v1.0/{provider}/authorize", tag = "Links",
    params(("provider" = String, Path, description = "The provider's id"), Return), responses(
    (status = 302, description = "To the provider"),
    (status = 400, description = "The return URL is not allowed"),
    (status = 401, description = "Nobody is signed in"),
    (status = 404, description = "There is no such provider"),
    (status = 503, description = "The provider does not answer"),
))]
pub async fn authorize(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
    provider: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let query: Return = query(&request)?;
    let (location, cookie) = begin(&caller, &request, &state, &provider, query.return_url.as_deref()).await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, location.as_str()))
        .insert_header((header::SET_COOKIE, cookie))
        .finish())
}

/// Begins a link for a program that opens the window itself.
#[utoipa::path(post, path = "/api/v1.0/{provider}/authorize", tag = "Links",
    params(("provider" = String, Path, description = "The provider's id")),
    request_body(content = Option<Object>, description = "`return_url`: where the browser goes at the end"), responses(
    (status = 201, description = "`Location` is where the browser has to go"),
    (status = 400, description = "The return URL is not allowed"),
    (status = 401, description = "Nobody is signed in"),
    (status = 403, description = "The request did not come from a page of this service"),
    (status = 404, description = "There is no such provider"),
    (status = 413, description = "The body is too large"),
    (status = 415, description = "The body is no JSON"),
    (status = 503, description = "The provider does not answer"),
))]
pub async fn authorize_post(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
    provider: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    state.provider(&provider)?;
    let mut return_url = None;
    if !body.0.is_empty() {
        expect_json(&request)?;
        return_url = match json(&body.0)?.get("return_url") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                return Err(Problem::invalid(vec![Invalid::new(
                    "/return_url",
                    "expected a text",
                )]));
            }
        };
    }
    let (location, cookie) = begin(&caller, &request, &state, &provider, return_url.as_deref()).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location.as_str()))
        .insert_header((header::SET_COOKIE, cookie))
        .json(serde_json::json!({"location": location})))
}

async fn begin(
    caller: &Caller,
    request: &HttpRequest,
    state: &State,
    id: &str,
    return_url: Option<&str>,
) -> Result<(Url, HeaderValue), Problem> {
    let provider = state.provider(id)?;
    let now = state.clock.now();
    let return_url = state
        .return_urls
        .check(return_url)
        .ok_or_else(refused_return_url)?;
    let begun = provider.begin(&redirect_uri(state, id), now).await;
    let begun = begun.map_err(|error| {
        tracing::warn!(provider = id, %error, "a link could not be begun");
        Problem::unavailable("The provider cannot be reached; try again soon.", 5)
    })?;
    let browser = browser_of(state, request);
    let noted = LinkState {
        key: LinkKey::new(&caller.person, id),
        browser: browser.digest(),
        by_session: matches!(caller.by, By::Session(_)),
        secrets: Flow::Link.seal(&state.keys, &begun, &return_url),
    };
    let client = state.database.client().await?;
    states::insert(&client, &begun.state, &noted, now + FLOW_LIFETIME).await?;
    let cookie = state.cookies.set(Cookie::Browser, &browser, FLOW_LIFETIME);
    Ok((begun.location, cookie))
}

fn redirect_uri(state: &State, provider: &str) -> String {
    format!("{}/api/v1.0/{provider}/redirect_uri", state.public_url)
}

/// Ends a link: the browser comes back from the provider.
///
/// It must be the browser that began it, by its cookie. A link that a program began with a token has no
/// browser yet: then the same person's token or session will do.
#[utoipa::path(get, path = "/api/v1.0/{provider}/redirect_uri", tag = "Links",
    params(("provider" = String, Path, description = "The provider's id")), responses(
    (status = 302, description = "To the return URL, with `error` and `error_description` where it failed"),
    (status = 400, description = "No such link is under way"),
    (status = 401, description = "Nobody is signed in"),
    (status = 403, description = "Another person or another browser began it, or the account is not the person's own"),
))]
pub async fn redirect_uri_of_provider(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let now = state.clock.now();
    let caller = identify(&request).await?;
    let browser = state.cookies.find(&request, Cookie::Browser);
    if caller.is_none() && browser.is_none() {
        return Err(unauthenticated(&request, false));
    }
    let unknown = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "No such link is under way, it was ended already, or it took too long. Begin it again.",
        )
        .of_kind("unknown-state")
    };
    let query: Callback = query(&request)?;
    let client = state.database.client().await?;
    let presented = query
        .state
        .as_deref()
        .map(PlainToken::presented)
        .ok_or_else(unknown)?;
    let begun = states::find(&client, &presented, &id, now).await?;
    // Who has nothing but a cookie that anybody can invent is told nothing about states.
    let begun = match (begun, &caller) {
        (Some(begun), _) => begun,
        (None, Some(_)) => return Err(unknown()),
        (None, None) => return Err(unauthenticated(&request, false)),
    };
    let same_browser = browser.is_some_and(|browser| browser.digest().matches(&begun.browser));
    check_owner(&request, caller.as_ref(), &begun, same_browser)?;
    let provider = state.provider(&id)?;
    if !states::take(&client, &presented).await? {
        return Err(unknown());
    }
    drop(client);
    let secrets = Flow::Link
        .open(&state.keys, &presented, &begun.secrets)
        .map_err(Problem::internal)?;
    let exchanged = provider
        .exchange(&query, &secrets.verifier, &redirect_uri(&state, &id), now)
        .await;
    let linked = match exchanged {
        Ok(obtained) => match provider.identity(&obtained, &secrets.nonce, now).await {
            Ok(identity) => {
                check_subject(&state, &provider, &begun, &obtained, &identity).await?;
                keep(&state, &request, caller.as_ref(), &begun, &obtained, identity).await?;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    back(&secrets.return_url, &id, linked)
}

/// 403 where somebody else comes back: another person, or a browser that began nothing.
fn check_owner(
    request: &HttpRequest,
    caller: Option<&Caller>,
    begun: &LinkState,
    same_browser: bool,
) -> Result<(), Problem> {
    let refused =
        |detail: &'static str| Err(Problem::new(StatusCode::FORBIDDEN, detail).of_kind("not-yours"));
    match caller {
        Some(caller) if caller.person != begun.key.person => {
            refused("Another person began this link. Sign in as that person, or begin it again.")
        }
        _ if same_browser => Ok(()),
        Some(_) if !begun.by_session => Ok(()),
        Some(_) => refused("Another browser began this link. Begin it again in this one."),
        None => Err(unauthenticated(request, false)),
    }
}

/// 403 for an account of somebody else, where the provider shares our user base. Its tokens are revoked.
async fn check_subject(
    state: &State,
    provider: &Provider,
    begun: &LinkState,
    obtained: &Obtained,
    identity: &Identity,
) -> Result<(), Problem> {
    if !provider.settings.require_same_subject || identity.subject.as_ref() == Some(&begun.key.person.subject)
    {
        return Ok(());
    }
    state.outbox.revoke_orphans(&begun.key, obtained).await?;
    let detail = "The account at the provider is not your own; only your own can be linked there.";
    Err(Problem::new(StatusCode::FORBIDDEN, detail).of_kind("other-subject"))
}

/// Stores the link with its line in the audit log.
async fn keep(
    state: &State,
    request: &HttpRequest,
    caller: Option<&Caller>,
    begun: &LinkState,
    obtained: &Obtained,
    identity: Identity,
) -> Result<(), Problem> {
    let now = state.clock.now();
    let mut entry = Entry::of_service(Action::Linked, &begun.key, now);
    entry.by = caller.map_or("browser", |caller| caller.by.as_str());
    entry.address = identity_core::http::client::address_of(request);
    let link = NewLink {
        key: begun.key.clone(),
        sealed: Sealed::new(&state.keys, &begun.key, obtained, now),
        identity,
    };
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    store::insert(&transaction, &link).await?;
    audit::store::insert(&transaction, &entry).await?;
    transaction.commit().await?;
    state.counts.linked.inc();
    Ok(())
}

/// To the return URL, with what went wrong.
fn back(
    return_url: &str,
    provider: &str,
    linked: Result<(), ProviderError>,
) -> Result<HttpResponse, Problem> {
    let mut url = Url::parse(return_url).map_err(Problem::internal)?;
    if let Err(error) = linked {
        tracing::warn!(provider, %error, "an account was not linked");
        let (code, description) = error.shown();
        let mut query = url.query_pairs_mut();
        query.append_pair("error", &code);
        if !description.is_empty() {
            query.append_pair("error_description", &description);
        }
    }
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, url.as_str()))
        .finish())
}
