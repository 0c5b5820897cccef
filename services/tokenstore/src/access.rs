//! Who is calling: a handler gets its caller only through this check.
//!
//! In this order: `Authorization: Bearer` with an API key (`tsk_…`) or a JWT of the login provider;
//! `Authorization: Basic` with an API key as the password; the session's cookie. A request that changes
//! something by the power of the cookie must come from one of our own pages.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{FromRequest, HttpRequest, web};
use data_encoding::{BASE64, HEXLOWER};
use futures_util::future::LocalBoxFuture;
use identity_core::crypto::token::PlainToken;
use identity_core::http::Problem;
use identity_core::http::authorization::{bearer, credentials};
use identity_core::http::client::address_of;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cookies::Cookie;
use crate::state::State;
use crate::{api_keys, login};

/// A person, as the login provider knows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
}

/// What is known of a person beside that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Profile {
    pub name: Option<String>,
    pub email: Option<String>,
    pub email_verified: Option<bool>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    #[schema(value_type = Object)]
    pub claims: Value,
}

/// By what a caller is known.
#[derive(Debug, Clone)]
pub enum By {
    /// A browser that is signed in; with the cookie's secret.
    Session(PlainToken),
    /// A JWT of the login provider.
    Bearer,
    /// An API key; with its end.
    ApiKey(Option<Timestamp>),
}

impl By {
    /// Its name in the audit log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Bearer => "bearer",
            Self::ApiKey(_) => "api_key",
        }
    }
}

/// Who is calling.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub person: Person,
    /// What is known of them.
    pub profile: Arc<Profile>,
    /// How we know.
    pub by: By,
    /// From where.
    pub address: Option<IpAddr>,
}

impl Profile {
    /// What a provider's claims say.
    #[must_use]
    pub fn of_claims(claims: Value, scopes: Option<&[String]>) -> Self {
        let claims = storable(claims);
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let texts = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.split_whitespace().map(ToOwned::to_owned).collect(),
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let mut roles: Vec<String> = texts(claims.get("roles"));
        roles.extend(texts(claims.pointer("/realm_access/roles")));
        roles.dedup();
        let said = claims.get("scope").or_else(|| claims.get("scp"));
        Self {
            name: text("name").or_else(|| text("preferred_username")),
            email: text("email"),
            email_verified: claims.get("email_verified").and_then(Value::as_bool),
            roles,
            scopes: scopes.map_or_else(|| texts(said), <[String]>::to_vec),
            claims,
        }
    }

    /// What a person is called.
    #[must_use]
    pub fn called<'a>(&'a self, person: &'a Person) -> &'a str {
        let known = self.name.as_deref().or(self.email.as_deref());
        known.unwrap_or(&person.subject)
    }
}

/// The most characters of a subject (OpenID Connect Core 1.0, 2).
const LONGEST_SUBJECT: usize = 255;

/// Whether a text can be a subject: neither empty, nor too long, nor with control characters.
#[must_use]
pub fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST_SUBJECT && !text.chars().any(char::is_control)
}

/// Postgres takes no NUL, neither in a text nor in JSON.
fn storable(claims: Value) -> Value {
    let text = |text: String| text.replace('\0', "\u{FFFD}");
    match claims {
        Value::String(said) => Value::String(text(said)),
        Value::Array(items) => items.into_iter().map(storable).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (text(name), storable(value)))
            .collect(),
        other => other,
    }
}

impl Caller {
    /// The token that forms of this session carry; none where there is no session.
    #[must_use]
    pub fn form_token(&self) -> Option<String> {
        let By::Session(secret) = &self.by else {
            return None;
        };
        let digest = Sha256::new()
            .chain_update(b"tokenstore form ")
            .chain_update(secret.expose())
            .finalize();
        Some(HEXLOWER.encode(&digest))
    }

    /// Refuses a form that is none of ours.
    ///
    /// # Errors
    /// 403.
    pub fn check_form(&self, token: &str) -> Result<(), Problem> {
        match self.form_token() {
            Some(expected) if bool::from(expected.as_bytes().ct_eq(token.as_bytes())) => Ok(()),
            _ => Err(foreign()),
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = identify(&request).await?;
            caller.ok_or_else(|| unauthenticated(&request, false))
        })
    }
}

/// Who is calling; none where nobody says so.
///
/// # Errors
/// 401 for credentials that are not good, 403 where a page of somebody else uses the cookie.
pub async fn identify(request: &HttpRequest) -> Result<Option<Caller>, Problem> {
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or_else(|| Problem::internal("no state"))?;
    let address = address_of(request);
    if request.headers().contains_key(header::AUTHORIZATION) {
        let known = by_header(request, state).await?;
        let (person, profile, by) = known.ok_or_else(|| unauthenticated(request, true))?;
        return Ok(Some(Caller {
            person,
            profile,
            by,
            address,
        }));
    }
    let Some(secret) = state.cookies.find(request, Cookie::Session) else {
        return Ok(None);
    };
    let Some((person, profile)) = login::sessions::find(state, &secret).await? else {
        return Ok(None);
    };
    if !request.method().is_safe() && !is_from_own_page(request.headers(), &state.origin) {
        return Err(foreign());
    }
    Ok(Some(Caller {
        person,
        profile,
        by: By::Session(secret),
        address,
    }))
}

/// What a request presents as an API key: a bearer that looks like one, or the password of HTTP Basic (RFC 7617). The
/// name there does not matter: the key knows whose it is.
#[must_use]
pub fn api_key(request: &HttpRequest) -> Option<Cow<'_, str>> {
    let (scheme, text) = credentials(request)?;
    if scheme.eq_ignore_ascii_case("Basic") {
        let pair = String::from_utf8(BASE64.decode(text.as_bytes()).ok()?).ok()?;
        return pair.split_once(':').map(|(_, key)| Cow::Owned(key.to_owned()));
    }
    bearer(request)
        .filter(|token| token.starts_with(api_keys::PREFIX))
        .map(Cow::Borrowed)
}

async fn by_header(
    request: &HttpRequest,
    state: &State,
) -> Result<Option<(Person, Arc<Profile>, By)>, Problem> {
    if let Some(key) = api_key(request) {
        return Ok(api_keys::verify(state, &key).await?);
    }
    let Some(token) = bearer(request) else {
        return Ok(None);
    };
    let verified = login::bearer::verify(state, token).await?;
    Ok(verified.map(|(person, profile)| (person, profile, By::Bearer)))
}

/// The query, read by the handler and not before it: nobody is told what is wrong with a query before they are
/// known.
///
/// # Errors
/// 400.
pub fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let read = web::Query::<T>::from_query(request.query_string());
    read.map(web::Query::into_inner).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("The query cannot be read: {error}."),
        )
    })
}

/// 401. What can be presented is told to programs; a browser would ask for a password, which there is not.
#[must_use]
pub fn unauthenticated(request: &HttpRequest, presented: bool) -> Problem {
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "Sign in, or present a token of the login provider or an API key.",
    );
    let bearer = if presented {
        "Bearer realm=\"tokenstore\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"tokenstore\""
    };
    let problem = problem.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(bearer));
    if wants_page(request) {
        return problem;
    }
    let basic = HeaderValue::from_static("Basic realm=\"tokenstore\", charset=\"UTF-8\"");
    problem.with_header(header::WWW_AUTHENTICATE, basic)
}

fn foreign() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "The request did not come from a page of this service.",
    )
    .of_kind("foreign-origin")
}

/// Whether a person is looking at the answer.
#[must_use]
pub fn wants_page(request: &HttpRequest) -> bool {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whether the browser says that one of our pages sent the request. `Sec-Fetch-Site` no page can write;
/// `Origin` is `null` where the page hides its address, and missing in no browser of this decade.
pub(crate) fn is_from_own_page(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (origin, site) = (text("origin"), text("sec-fetch-site"));
    match (origin, site) {
        (Some(origin), Some("same-origin")) => origin == own || origin == "null",
        (None, Some("same-origin")) => true,
        (Some(origin), None) => origin == own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    #[test]
    fn only_our_own_pages_change_anything_by_the_cookie() {
        for (origin, site, ours) in [
            (Some("https://store.example"), Some("same-origin"), true),
            (Some("https://store.example"), None, true),
            (None, Some("same-origin"), true),
            (Some("null"), Some("same-origin"), true),
            (None, None, false),
            (Some("null"), None, false),
            (Some("https://evil.example"), None, false),
            (Some("https://evil.example"), Some("cross-site"), false),
            (Some("https://store.example"), Some("cross-site"), false),
            (Some("https://sub.store.example"), Some("same-site"), false),
            (Some("https://store.example.evil.example"), None, false),
            (Some("http://store.example"), None, false),
            (Some("https://store.example:8443"), None, false),
            (None, Some("none"), false),
            (None, Some("cross-site"), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
                }
            }
            assert_eq!(
                is_from_own_page(&headers, "https://store.example"),
                ours,
                "{origin:?} {site:?}"
            );
        }
    }
}
