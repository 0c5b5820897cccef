//! `POST /establish`: an app shows a link's JWT and who its user is there.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::crypto::jwt::unverified_id;
use identity_core::http::Problem;
use identity_core::http::authorization::credentials;
use identity_core::http::body::{Body, json};
use serde_json::Value;

use super::model::{Change, Link, LinkClaims, OBJECT_ID, link_id, text};
use super::{jwt, store};
use crate::access::{is_ours, unauthorized};
use crate::answer::Refused;
use crate::audit::{self, Entry};
use crate::state::State;
use crate::subjects::{self, Moment};

/// Establish a link, with its JWT as the bearer
#[utoipa::path(post, path = "/establish", tag = "Links", request_body(content = Object, description = "A FHIR Patient"), responses(
    (status = 204, description = "Established"),
    (status = 401, description = "No authorization", body = Refused),
    (status = 403, description = "Not a JWT of ours; or it has expired, or the link or the subject is withdrawn", body = Refused),
    (status = 406, description = "Another scheme than Bearer or JWT; or no Patient with an identifier", body = Refused),
    (status = 409, description = "Established already", body = Refused),
), security(("link" = [])))]
pub(crate) async fn establish(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let token = presented(&request)?;
    let (link, claims) = link_of(&state, token)
        .await?
        .ok_or_else(|| refused("This is no JWT of ours."))?;
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let subject = subjects::lock(&transaction, &link.sssid).await?;
    let link = store::find(&transaction, link.id).await?;
    let (Some(subject), Some(mut link)) = (subject, link) else {
        return Err(refused("This is no JWT of ours."));
    };
    if link.linked_to.is_some() {
        return Err(Problem::conflict(
            "established",
            "This link is established already.",
        ));
    }
    if claims.exp <= now.as_second() {
        return Err(refused("The JWT has expired."));
    }
    if link.withdrawn_on.is_some() || subject.is_withdrawn() {
        return Err(refused("The link, or its subject, is withdrawn."));
    }
    let (value, system) = identifier(&body)?;
    let mut change = Change::default();
    link.connect(value, system, Moment::of(now), &mut change);
    link.changed = now;
    store::update(&transaction, &link).await?;
    subjects::follow_links(&transaction, &link.sssid, now).await?;
    let lines = change.lines.into_iter();
    let entries: Vec<_> = lines
        .map(|line| Entry::of_link(link.id, &link.sssid, line))
        .collect();
    audit::append(&transaction, now, &entries).await?;
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

fn presented(request: &HttpRequest) -> Result<&str, Problem> {
    if !request.headers().contains_key(AUTHORIZATION) {
        return Err(unauthorized("Show the JWT of the link as the bearer."));
    }
    match credentials(request) {
        Some((scheme, token)) if is_ours(scheme) => Ok(token),
        Some(_) => Err(not_acceptable("Only the schemes Bearer and JWT are known here.")),
        None => Err(unauthorized("Show the JWT of the link as the bearer.")),
    }
}

/// The link whose JWT it is, and what that says, whether or not it has expired.
async fn link_of(state: &State, token: &str) -> Result<Option<(Link, LinkClaims)>, Problem> {
    let Some(id) = unverified_id(token).and_then(|id| link_id(&id)) else {
        return Ok(None);
    };
    let client = state.database.client().await?;
    let Some(link) = store::find(&client, id).await? else {
        return Ok(None);
    };
    let key = match jwt::key(state, &link) {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(None),
        // Whoever shows something here is not to be told about our secrets.
        Err(problem) => {
            tracing::warn!(cause = problem.cause(), link = %link.id, "the link's own secret cannot be read");
            return Ok(None);
        }
    };
    let claims = key.claims::<LinkClaims>(token).ok();
    let claims = claims.filter(|claims| {
        // As this service writes an id, or as the original did, whose are shorter.
        let ours = claims.jti == link.id.to_string();
        let original = claims.jti.len() == OBJECT_ID && link_id(&claims.jti) == Some(link.id);
        (ours || original) && claims.iss == link.iss && claims.aud == link.aud
    });
    Ok(claims.map(|claims| (link, claims)))
}

/// Value and system of a Patient's first identifier.
pub(crate) fn identifier(body: &[u8]) -> Result<(String, Option<String>), Problem> {
    let patient = json(body)
        .ok()
        .filter(|patient| patient.get("resourceType").and_then(Value::as_str) == Some("Patient"));
    let patient = patient.ok_or_else(|| not_acceptable("The body must be a FHIR Patient."))?;
    let first = patient.pointer("/identifier/0");
    let member = |name: &str| first.and_then(|identifier| identifier.get(name));
    let value = member("value").and_then(|value| text(value).ok());
    let value = value.ok_or_else(|| not_acceptable("The Patient's first identifier must have a value."))?;
    let system = match member("system") {
        None | Some(Value::Null) => None,
        Some(system) => {
            let system =
                text(system).map_err(|_| not_acceptable("The identifier's system must be a text."))?;
            Some(system)
        }
    };
    Ok((value, system))
}

fn refused(message: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, message)
}

fn not_acceptable(message: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_ACCEPTABLE, message)
}
