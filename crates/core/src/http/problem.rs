//! Errors as answers: one type for every service, shown in the form that the service's users know.
//!
//! The default form is RFC 9457, `application/problem+json`.

use std::borrow::Cow;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::db;

/// The most that is told to be wrong at once: an answer is not many times as large as its request.
const MOST_ERRORS: usize = 100;

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: Option<&'static str>,
    detail: Cow<'static, str>,
    errors: Vec<Invalid>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Invalid {
    /// Where: an RFC 6901 pointer into the body, or `/` and the name of a query parameter.
    pub pointer: String,
    /// What is expected there.
    pub detail: String,
}

impl Invalid {
    /// What is wrong at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// How a service shows a problem: the answer's body and its media type.
pub type Form = fn(&Problem, request_id: &str) -> (String, &'static str);

impl Problem {
    /// A problem of `status` and nothing special, which the status itself explains.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind: None,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// 400, with everything that is wrong, as far as anybody would read it.
    #[must_use]
    pub fn invalid(mut errors: Vec<Invalid>) -> Self {
        errors.truncate(MOST_ERRORS);
        Self {
            errors,
            ..Self::new(StatusCode::BAD_REQUEST, "The request is not valid.").of_kind("invalid")
        }
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it is in conflict with what is there, in the way that `kind` names.
    #[must_use]
    pub fn conflict(kind: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail).of_kind(kind)
    }

    /// 503, to be tried again after `seconds`.
    #[must_use]
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 500: a fault of ours, whose cause only the log tells.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The service failed; its log tells why.",
            )
        }
    }

    /// Names the kind of problem, for programs: the last part of its `type`.
    #[must_use]
    pub fn of_kind(mut self, kind: &'static str) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Lists what is wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Invalid>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the user is told.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// All that is wrong with the input.
    #[must_use]
    pub fn errors(&self) -> &[Invalid] {
        &self.errors
    }

    /// What only the log is told.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer in `form`, for the request of this id.
    #[must_use]
    pub fn answer(&self, form: Form, request_id: &str) -> HttpResponse {
        let (body, media_type) = form(self, request_id);
        let mut answer = HttpResponse::build(self.status);
        answer.content_type(media_type);
        for (name, value) in &self.headers {
            answer.append_header((name.clone(), value.clone()));
        }
        answer.body(body)
    }
}

/// The form of RFC 9457.
#[must_use]
pub fn rfc9457(problem: &Problem, request_id: &str) -> (String, &'static str) {
    let document = Document::of(problem, request_id);
    // A document of texts and numbers can always be written.
    (
        serde_json::to_string(&document).unwrap_or_default(),
        "application/problem+json",
    )
}

/// The detail as a line of text, with the request's id where the fault is ours.
#[must_use]
pub fn plain_text(problem: &Problem, request_id: &str) -> (String, &'static str) {
    let ours = problem.status.is_server_error();
    let line = if ours {
        format!("{} Request {request_id}.\n", problem.detail)
    } else {
        format!("{}\n", problem.detail)
    };
    (line, "text/plain; charset=utf-8")
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// A URI that names the kind of problem.
    #[schema(example = "urn:identity-services:problem:invalid")]
    r#type: Cow<'a, str>,
    /// The kind of problem for a person.
    #[schema(example = "Bad Request")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// What is wrong with the input.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Invalid],
    /// By which the log can be searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn of(problem: &'a Problem, request_id: &'a str) -> Self {
        Self {
            r#type: problem.kind.map_or("about:blank".into(), |kind| {
                format!("urn:identity-services:problem:{kind}").into()
            }),
            title: problem.status.canonical_reason().unwrap_or("Error"),
            status: problem.status.as_u16(),
            detail: &problem.detail,
            errors: &problem.errors,
            request_id: problem.status.is_server_error().then_some(request_id),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Only the status: [`super::guard`] knows the service's form and fills in the rest.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.status)
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        let cause = error.to_string();
        let problem = match error.kind() {
            db::ErrorKind::Unavailable => {
                Self::unavailable("The database cannot be reached; try again soon.", 5)
            }
            db::ErrorKind::Timeout => Self::unavailable("The database took too long; try again later.", 10),
            db::ErrorKind::Conflict => Self::unavailable("Another request changed the same; try again.", 1),
            db::ErrorKind::Unique(_) | db::ErrorKind::ForeignKey(_) | db::ErrorKind::Other => {
                return Self::internal(cause);
            }
        };
        Self {
            cause: Some(cause),
            ..problem
        }
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        db::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_more_is_told_than_anybody_would_read() {
        let wrong = (0..5000).map(|number| Invalid::new(format!("/{number}"), "is not known"));
        let problem = Problem::invalid(wrong.collect());
        assert_eq!(problem.errors().len(), MOST_ERRORS);
        assert!(rfc9457(&problem, "id").0.len() < 10_000);
    }
}
