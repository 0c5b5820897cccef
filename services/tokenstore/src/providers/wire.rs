//! How openidconnect reaches providers: through the core's outgoing client, which bounds and guards every
//! request. Here the ways in which providers depart from the standard are straightened, once for all.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use identity_core::failure::causes;
use identity_core::outgoing::Outgoing;
use openidconnect::http::{self, StatusCode};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use url::Url;

use super::model::Settings;

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 256 * 1024;

/// The longest wait that a provider can ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The provider did not answer, or not with anything that can be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Unreachable {
    /// For the log.
    pub reason: String,
    /// How long it asked to be left alone.
    pub wait: Option<Duration>,
}

impl Unreachable {
    /// For `reason`.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            wait: None,
        }
    }
}

/// One conversation with a provider's token endpoint.
pub struct Wire<'a> {
    outgoing: &'a Outgoing,
    settings: &'a Settings,
    /// Whether an ID token is wanted; otherwise it is left out, so that a strange one harms nobody.
    id_token: bool,
    /// The answer, straightened.
    seen: Mutex<Option<Map<String, Value>>>,
}

impl<'a> Wire<'a> {
    /// To the provider of `settings`.
    pub fn new(outgoing: &'a Outgoing, settings: &'a Settings, id_token: bool) -> Self {
        Self {
            outgoing,
            settings,
            id_token,
            seen: Mutex::default(),
        }
    }

    /// A member of the last answer, beyond what the standard knows.
    pub fn seconds(&self, names: &[&str]) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref()?;
        names.iter().find_map(|name| whole_seconds(seen.get(*name)?))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Unreachable> {
        let (head, body) = request.into_parts();
        let url =
            Url::parse(&head.uri.to_string()).map_err(|error| Unreachable::because(error.to_string()))?;
        let request = self
            .outgoing
            .request(head.method, url)
            .map_err(|error| Unreachable::because(error.to_string()))?;
        let (status, body) = receive(request.headers(head.headers).body(body)).await?;
        let (status, body) = self.straighten(status, &body);
        http::Response::builder()
            .status(status)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| Unreachable::because(error.to_string()))
    }

    /// What providers do differently: errors with status 200, numbers as texts, commas between scopes,
    /// empty members, a missing token type.
    pub(crate) fn straighten(&self, status: StatusCode, body: &[u8]) -> (StatusCode, Vec<u8>) {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
            // The library would take an object with something behind it, as it stands.
            return (status, b"null".to_vec());
        };
        members.retain(|_, value| !value.is_null() && value != "");
        if let Some(error) = members.get("error").and_then(Value::as_str) {
            if self
                .settings
                .preset
                .invalid_grant
                .iter()
                .any(|known| known == error)
            {
                members.insert("error".to_owned(), "invalid_grant".into());
            }
            let status = if status.is_success() {
                StatusCode::BAD_REQUEST
            } else {
                status
            };
            return (status, Value::Object(members).to_string().into_bytes());
        }
        let lifetime = members.get("expires_in").and_then(whole_seconds);
        match lifetime.filter(|seconds| *seconds > 0) {
            Some(seconds) => members.insert("expires_in".to_owned(), seconds.into()),
            None => members.remove("expires_in"),
        };
        if let Some(scope) = members.get("scope") {
            match joined(scope) {
                Some(scope) => members.insert("scope".to_owned(), scope.into()),
                None => members.remove("scope"),
            };
        }
        members
            .entry("token_type")
            .or_insert_with(|| Value::String("Bearer".to_owned()));
        if !self.id_token {
            members.remove("id_token");
        }
        let text = Value::Object(members.clone()).to_string().into_bytes();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(members);
        (status, text)
    }
}

impl<'c> AsyncHttpClient<'c> for Wire<'_> {
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Unreachable>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// Sends a request and reads its answer, bounded; an answer that asks to be left alone is none.
///
/// # Errors
/// [`Unreachable`]
pub async fn receive(request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Unreachable> {
    // A URL may hold what only the two of us should know.
    let failed = |error: reqwest::Error| Unreachable::because(causes(&error.without_url()));
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let asked = answer.headers().get(http::header::RETRY_AFTER);
        let seconds = asked.and_then(|wait| wait.to_str().ok()?.parse().ok());
        return Err(Unreachable {
            reason: format!("it answered {status}"),
            wait: seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Unreachable::because("its answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// A number of seconds, written as a number or as a text.
fn whole_seconds(value: &Value) -> Option<u64> {
    let number = value.as_u64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a second does not matter, and it is in the range"
    )]
    let fraction = || {
        value
            .as_f64()
            .filter(|seconds| (0.0..1e12).contains(seconds))
            .map(|seconds| seconds as u64)
    };
    number
        .or_else(fraction)
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// Scopes with single blanks between them, however they were written.
fn joined(scope: &Value) -> Option<String> {
    let texts: Vec<&str> = match scope {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let texts = texts.into_iter().flat_map(|text| text.split([' ', ',']));
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lifetimes_and_scopes_are_read_in_every_form() {
        for (written, read) in [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(59.9), Some(59)),
            (json!(-1), None),
            (json!("soon"), None),
            (json!([1]), None),
        ] {
            assert_eq!(whole_seconds(&written), read, "{written}");
        }
        for (written, read) in [
            (json!("a b"), Some("a b")),
            (json!("a,b"), Some("a b")),
            (json!("a, b"), Some("a b")),
            (json!(["a", "b"]), Some("a b")),
            (json!(["a,b", " ", "c d"]), Some("a b c d")),
            (json!(""), None),
            (json!(7), None),
        ] {
            assert_eq!(joined(&written).as_deref(), read, "{written}");
        }
    }
}
