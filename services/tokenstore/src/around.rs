//! Around every request of this service: pages of other origins that the configuration allows (CORS), and
//! errors as pages where a person is looking.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use identity_core::http::Problem;
use identity_core::http::client::Client;

use crate::access::wants_page;
use crate::page;
use crate::state::State;

/// For how long a browser may remember what is allowed, in seconds.
const REMEMBER: &str = "600";

/// The middleware.
///
/// # Errors
/// What is within gives.
pub async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let allowed = allowed_origin(&request);
    let is_api = request.path().starts_with("/api/");
    let preflight = request.method() == Method::OPTIONS
        && is_api
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut answer = if preflight {
        request.into_response(HttpResponse::NoContent().finish())
    } else {
        as_page(next.call(request).await?.map_into_boxed_body())
    };
    if is_api {
        let headers = answer.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = allowed {
            allow(headers, origin, preflight);
        }
    }
    Ok(answer)
}

/// The origin of the page that asks, where the configuration allows it.
fn allowed_origin(request: &ServiceRequest) -> Option<HeaderValue> {
    let state = request.app_data::<web::Data<State>>()?;
    let origin = request.headers().get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    state
        .allowed_origins
        .iter()
        .any(|allowed| allowed.trim_end_matches('/') == text)
        .then(|| origin.clone())
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    let set = HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, set("true"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        set("Location, Retry-After, WWW-Authenticate, X-Request-Id"),
    );
    if preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            set("GET, HEAD, POST, DELETE"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            set("Authorization, Content-Type"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, set(REMEMBER));
    }
}

/// An error as a page, where a person is looking.
fn as_page(answer: ServiceResponse) -> ServiceResponse {
    let shown = {
        let problem = answer
            .response()
            .error()
            .and_then(|error| error.as_error::<Problem>());
        let Some(problem) = problem.filter(|_| wants_page(answer.request())) else {
            return answer;
        };
        let id = answer
            .request()
            .extensions()
            .get::<Client>()
            .map(|client| client.request_id.clone())
            .unwrap_or_default();
        if let Some(cause) = problem.cause() {
            // The guard logs what it shows itself; this it does not see.
            tracing::error!(cause, request_id = id, "a request failed");
        }
        page::error(problem, &id, answer.request().path())
    };
    answer.into_response(shown)
}
