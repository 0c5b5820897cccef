//! What the OAuth endpoints have in common: a form, a client that authenticates, errors as RFC 6749
//! has them.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use data_encoding::BASE64;
use identity_core::crypto::jwt;
use identity_core::http::Problem;
use identity_core::http::body::media_type;
use identity_core::http::client::address_of;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use serde::Serialize;
use url::form_urlencoded;

use crate::clients::{Client, Presented, authenticate};
use crate::state::State;

/// The `client_assertion_type` of RFC 7523, 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An error of RFC 6749, 5.2, or a problem of ours.
pub(crate) enum Refusal {
    OAuth(StatusCode, &'static str, &'static str),
    /// The client is another; whether it tried by the header Basic.
    Client {
        basic: bool,
    },
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

pub(crate) fn invalid_request(description: &'static str) -> Refusal {
    Refusal::OAuth(StatusCode::BAD_REQUEST, "invalid_request", description)
}

/// An error document (RFC 6749, 5.2).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct OAuthError {
    #[schema(example = "invalid_grant")]
    error: &'static str,
    error_description: &'static str,
}

pub(crate) fn answered(result: Result<HttpResponse, Refusal>) -> Result<HttpResponse, Problem> {
    match result {
        Ok(answer) => Ok(answer),
        Err(Refusal::Problem(problem)) => Err(problem),
        Err(Refusal::OAuth(status, error, error_description)) => {
            Ok(HttpResponse::build(status).json(OAuthError {
                error,
                error_description,
            }))
        }
        Err(Refusal::Client { basic }) => {
            let mut answer = HttpResponse::Unauthorized();
            if basic {
                answer.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"ident\""));
            }
            let error_description = "the client is not the one it says it is";
            Ok(answer.json(OAuthError {
                error: "invalid_client",
                error_description,
            }))
        }
    }
}

pub(crate) type Form = BTreeMap<String, String>;

pub(crate) fn form(request: &HttpRequest, body: &[u8]) -> Result<Form, Refusal> {
    if media_type(request).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(invalid_request(
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    let mut form = Form::new();
    for (name, value) in form_urlencoded::parse(body) {
        // A parameter without a value counts as omitted; none may be sent twice (RFC 6749, 3.2).
        if !value.is_empty() && form.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(invalid_request("a parameter is given twice"));
        }
    }
    Ok(form)
}

/// The client that makes the request.
pub(crate) async fn authenticated(
    state: &State,
    request: &HttpRequest,
    form: &Form,
) -> Result<Client, Refusal> {
    let (presented, basic) = presented(request, form)?;
    let client = authenticate(state, &presented, address_of(request)).await?;
    client.ok_or(Refusal::Client { basic })
}

/// What the client authenticates with, in one of the ways and not in two (RFC 6749, 2.3), and
/// whether it is the header Basic.
pub(crate) fn presented(request: &HttpRequest, form: &Form) -> Result<(Presented, bool), Refusal> {
    let posted = form.get("client_secret").cloned().map(SecretString::from);
    let signature = match (
        form.get("client_assertion_type").map(String::as_str),
        form.get("client_assertion"),
    ) {
        (Some(JWT_BEARER), Some(assertion)) => Some(assertion.clone()),
        (None, None) => None,
        _ => {
            return Err(invalid_request(
                "client_assertion and client_assertion_type do not fit",
            ));
        }
    };
    let Some(credentials) = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        // An assertion says itself whose it is (RFC 7521, 4.2).
        let client_id = form
            .get("client_id")
            .cloned()
            .or_else(|| signature.as_deref().and_then(jwt::unverified_issuer));
        return Ok((
            Presented {
                client_id,
                secret: posted,
                signature,
            },
            false,
        ));
    };
    if posted.is_some() || signature.is_some() {
        return Err(invalid_request("the client authenticates in two ways"));
    }
    let (client_id, secret) = basic(credentials).ok_or(Refusal::Client { basic: true })?;
    Ok((
        Presented {
            client_id: Some(client_id),
            secret: Some(secret),
            signature: None,
        },
        true,
    ))
}

/// Both halves are encoded as in a form before they are joined (RFC 6749, 2.3.1).
pub(crate) fn basic(credentials: &str) -> Option<(String, SecretString)> {
    let (scheme, encoded) = credentials.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, SecretString::from(decode(secret)?)))
}
