//! What the templates show.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use askama::Template;
use identity_core::http::{Problem, page};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api_keys::model::Listed;
use crate::links::Status;
use crate::links::api::Authorization;

/// A moment, for machines and for people.
#[derive(Debug)]
pub struct Moment {
    pub exact: String,
    pub shown: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        let utc = at.to_zoned(TimeZone::UTC);
        Self {
            exact: utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            shown: utc.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        }
    }
}

/// A provider as it is shown.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of the template")]
pub struct ProviderView {
    pub id: String,
    pub name: String,
    pub initial: String,
    pub logo: Option<String>,
    pub url: Option<String>,
    pub description: Option<String>,
    pub active: bool,
    pub broken: bool,
    pub linked: bool,
    pub available: bool,
    pub account: Option<String>,
    pub linked_at: Option<Moment>,
    pub expires_at: Option<Moment>,
    pub scopes: String,
}

impl From<Authorization> for ProviderView {
    fn from(authorization: Authorization) -> Self {
        let metadata = authorization.metadata;
        let name = metadata.name.unwrap_or_else(|| authorization.provider.clone());
        // The page loads nothing from elsewhere: a picture that is not ours is a letter.
        let is_ours = |picture: &String| {
            picture.starts_with("data:image/") || (picture.starts_with('/') && !picture.starts_with("//"))
        };
        let is_link = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        Self {
            initial: name.chars().next().unwrap_or('?').to_uppercase().to_string(),
            logo: [metadata.logo, metadata.icon].into_iter().flatten().find(is_ours),
            url: metadata.url.filter(is_link),
            description: metadata.description,
            active: authorization.status == Status::Active,
            broken: authorization.status == Status::ReauthorizationRequired,
            linked: authorization.status != Status::Inactive,
            available: authorization.available,
            account: authorization.account,
            linked_at: authorization.linked_at.map(Moment::from),
            expires_at: authorization.expires_at.map(Moment::from),
            scopes: authorization.scopes.join(", "),
            id: authorization.provider,
            name,
        }
    }
}

/// An API key as it is shown.
#[derive(Debug)]
pub struct KeyView {
    pub id: String,
    pub name: String,
    pub made: Moment,
    pub used: Option<Moment>,
    pub ends: Option<Moment>,
    pub over: bool,
}

impl KeyView {
    pub fn new(key: Listed, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            made: key.created_at.into(),
            used: key.last_used_at.map(Moment::from),
            over: key.expires_at.is_some_and(|end| end <= now),
            ends: key.expires_at.map(Moment::from),
        }
    }
}

/// The page itself.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub struct Page {
    pub root: &'static str,
    pub name: String,
    pub email: Option<String>,
    pub form_token: String,
    pub problem: Option<String>,
    pub new_key: Option<String>,
    pub new_key_name: String,
    pub providers: Vec<ProviderView>,
    pub keys: Vec<KeyView>,
}

/// A question before something is taken away.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub struct Confirm {
    pub root: &'static str,
    pub title: String,
    pub text: String,
    pub yes: &'static str,
    pub form_token: String,
}

#[derive(Debug, Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    root: String,
    title: &'a str,
    detail: &'a str,
    sign_in: bool,
    request_id: Option<&'a str>,
}

/// A template as an answer. The page's own address is told to itself only: a form that is sent from it says
/// where it comes from.
pub fn answer(status: StatusCode, template: &impl Template) -> Result<HttpResponse, Problem> {
    let html = template.render().map_err(Problem::internal)?;
    let mut answer = page::page(status, html);
    let policy = HeaderValue::from_static("same-origin");
    answer.headers_mut().insert(header::REFERRER_POLICY, policy);
    Ok(answer)
}

/// A problem as a page, for who asked for `path`.
#[must_use]
pub fn error(problem: &Problem, request_id: &str, path: &str) -> HttpResponse {
    let depth = path.matches('/').count().saturating_sub(1);
    let status = problem.status();
    let sign_in = status == StatusCode::UNAUTHORIZED;
    let html = ErrorPage {
        root: "../".repeat(depth),
        title: if sign_in {
            "Your linked accounts"
        } else {
            status.canonical_reason().unwrap_or("Error")
        },
        detail: if sign_in {
            "Sign in to connect accounts at other services, once, and to see what your applications may use."
        } else {
            problem.detail()
        },
        sign_in,
        request_id: status.is_server_error().then_some(request_id),
    };
    let html = html.render().unwrap_or_else(|_| status.to_string());
    let mut shown = page::page(status, html);
    // The problem's own headers, as WWW-Authenticate and Retry-After.
    let own = problem.answer(|_, _| (String::new(), "text/html"), request_id);
    for (name, value) in own.headers() {
        if name != header::CONTENT_TYPE {
            shown.headers_mut().append(name.clone(), value.clone());
        }
    }
    shown
}
