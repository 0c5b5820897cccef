//! `POST /auth/token`, where machine clients get their tokens.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::http::Invalid;
use identity_core::http::body::{Body, expect_json, json};
use identity_core::http::client::address_of;
use identity_core::http::problem::{Document, Problem};
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

use super::authenticate::{Presented, authenticate};
use super::model::Client;
use crate::login::api::wrong;
use crate::state::State;
use crate::tokens::api::{Token, issue_first};
use crate::tokens::{Grant, Subject};

/// What a client authenticates with.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
struct TokenRequest {
    client_id: Uuid,
    #[schema(write_only)]
    client_secret: Option<String>,
    /// A client assertion (RFC 7523), or the original's base64 of an RSA-PSS signature.
    #[schema(write_only)]
    signature: Option<String>,
    #[schema(min_length = 1, max_length = 255)]
    audience: Option<String>,
}

/// Get a token as a machine client
#[utoipa::path(post, path = "/auth/token", tag = "Tokens", request_body = TokenRequest, responses(
    (status = 200, description = "A token", body = Token),
    (status = 400, description = "Not valid", body = Document, content_type = "application/problem+json"),
    (status = 401, description = "Not this client", body = Document, content_type = "application/problem+json"),
    (status = 403, description = "Not for this audience", body = Document, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Document, content_type = "application/problem+json"),
    (status = 415, description = "Not JSON", body = Document, content_type = "application/problem+json"),
    (status = 429, description = "Too many wrong tries; Retry-After tells when", body = Document, content_type = "application/problem+json"),
    (status = 503, description = "Too much to do; Retry-After tells when", body = Document, content_type = "application/problem+json"),
), security(()))]
pub(crate) async fn token(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    expect_json(&request)?;
    let document = json(&body)?;
    let presented = presented(&document)?;
    let audience = state.audience_of(&document)?;
    let client = authenticate(&state, &presented, address_of(&request))
        .await?
        .ok_or_else(wrong)?;
    if !may_ask(&client, &audience) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "This client may not ask tokens for this audience.",
        )
        .of_kind("audience-not-allowed"));
    }
    let grant = Grant {
        subject: Subject::Client(client.id),
        audience,
        permissions: client.permissions,
        email: None,
    };
    Ok(HttpResponse::Ok().json(issue_first(&state, &grant)?))
}

/// Whether a client may ask tokens for this audience.
pub(crate) fn may_ask(client: &Client, audience: &str) -> bool {
    client.audiences.is_empty() || client.audiences.iter().any(|allowed| allowed == audience)
}

fn presented(document: &Value) -> Result<Presented, Problem> {
    let mut errors = Vec::new();
    let mut text = |name: &str, needed: bool| match document.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        None | Some(Value::Null) if !needed => None,
        _ => {
            errors.push(Invalid::new(format!("/{name}"), "expected a text"));
            None
        }
    };
    let client_id = text("client_id", true);
    let (secret, signature) = (text("client_secret", false), text("signature", false));
    if errors.is_empty() {
        Ok(Presented {
            client_id,
            secret: secret.map(SecretString::from),
            signature,
        })
    } else {
        Err(Problem::invalid(errors))
    }
}
