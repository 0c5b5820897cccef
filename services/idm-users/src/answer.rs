//! The forms of the answers: `{"data": …}`, and `{"error": {"status": …, "message": …}}`.

use actix_web::HttpResponse;
use identity_core::http::{Invalid, Problem};
use serde::Serialize;
use serde_json::json;

/// The form of what succeeds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
}

/// 200 with `{"data": …}`.
pub(crate) fn data(data: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(Data { data })
}

/// The form of errors, for all paths and for what actix refuses itself.
#[must_use]
pub(crate) fn form(problem: &Problem, request_id: &str) -> (String, &'static str) {
    let mut message = match problem.errors() {
        [] => problem.detail().to_owned(),
        errors => errors.iter().map(sentence).collect::<Vec<_>>().join("; "),
    };
    if problem.status().is_server_error() {
        message = format!("{message} (request {request_id})");
    }
    let error = json!({"error": {"status": problem.status().as_u16(), "message": message}});
    (error.to_string(), "application/json")
}

fn sentence(error: &Invalid) -> String {
    match error.pointer.trim_start_matches('/') {
        "" => error.detail.clone(),
        member => format!("{member}: {}", error.detail),
    }
}

/// An error's form, for the description of the interface.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Refused {
    error: RefusedBecause,
}

#[derive(Serialize, utoipa::ToSchema)]
struct RefusedBecause {
    /// The HTTP status.
    #[schema(example = 409)]
    status: u16,
    /// What is wrong.
    message: String,
}
