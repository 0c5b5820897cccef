//! `/subject/{sssid}/links` and `/link/{_id}`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use identity_core::crypto::random;
use identity_core::http::body::{Body, json};
use identity_core::http::{Invalid, Problem, route};
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use super::model::{Link, Refused as Why, link_id};
use super::{establish, jwt, store};
use crate::access::Caller;
use crate::answer::{Data, Refused, data};
use crate::audit::{self, Entry};
use crate::state::State;
use crate::subjects;

/// Adds the paths.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/subject/{sssid}/links")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/link/{id}")
                .route(route::get().to(show))
                .route(web::put().to(change))
                .default_service(route::only("GET, HEAD, PUT")),
        )
        .service(
            web::resource("/link/{id}/jwt")
                .route(route::get().to(jwt::jwt))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/link/{id}/qrcode")
                .route(route::get().to(jwt::code))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/establish")
                .route(web::post().to(establish::establish))
                .default_service(route::only("POST")),
        );
}

/// A link between a subject and an app.
#[derive(Debug, utoipa::ToSchema)]
#[schema(as = Link)]
#[expect(dead_code, reason = "it describes what is written and read by hand")]
pub(crate) struct Described {
    #[schema(read_only)]
    _id: Uuid,
    /// The subject's SSSID.
    #[schema(example = "SCC-0042")]
    sub: String,
    iss: String,
    aud: String,
    #[schema(example = "HS256")]
    algorithm: String,
    /// When the JWT expires, in Unix seconds; once it was made.
    exp: Option<i64>,
    /// Signs the JWT instead of the service's; never shown.
    #[schema(write_only)]
    secret: Option<String>,
    linked_to: Option<String>,
    linked_system: Option<String>,
    linked_on: Option<String>,
    withdrawn_on: Option<String>,
    #[schema(read_only)]
    created: String,
    #[schema(read_only)]
    changed: String,
}

/// Make a link for a subject who has consented
#[utoipa::path(post, path = "/subject/{sssid}/links", tag = "Links", params(("sssid" = String, Path,)), responses(
    (status = 201, description = "The link, in `data`", body = Data<Described>),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such subject", body = Refused),
    (status = 412, description = "The subject has not consented", body = Refused),
))]
pub(crate) async fn create(
    Caller(caller): Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let subject = subjects::lock(&transaction, &path)
        .await?
        .ok_or_else(subjects::unknown)?;
    if !subject.has_consented() {
        return Err(not_consented());
    }
    let link = Link {
        id: random::uuid(),
        sssid: subject.sssid,
        iss: state.signing.issuer.clone(),
        aud: state.signing.audience.clone(),
        algorithm: state.signing.algorithm,
        secret: None,
        exp: None,
        claims: None,
        linked_to: None,
        linked_system: None,
        linked_on: None,
        withdrawn_on: None,
        created: now,
        changed: now,
    };
    store::insert(&transaction, &link).await?;
    let entry = Entry::of_link(link.id, &link.sssid, "created").by(Some(&caller.username));
    audit::append(&transaction, now, &[entry]).await?;
    transaction.commit().await?;
    Ok(HttpResponse::Created().json(Data {
        data: link.document(),
    }))
}

/// List the links of a subject
#[utoipa::path(get, path = "/subject/{sssid}/links", tag = "Links", params(("sssid" = String, Path,)), responses(
    (status = 200, description = "The links in `data`, the oldest first; null when there is none", body = Data<Option<Vec<Described>>>),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such subject", body = Refused),
))]
pub(crate) async fn list(
    _caller: Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let client = state.reader.client().await?;
    let subject = subjects::find(&*client, &path)
        .await?
        .ok_or_else(subjects::unknown)?;
    let links = store::list(&*client, &subject.sssid).await?;
    if links.is_empty() {
        return Ok(data(&None::<()>));
    }
    Ok(data(&links.iter().map(Link::document).collect::<Vec<_>>()))
}

/// Show a link
#[utoipa::path(get, path = "/link/{id}", tag = "Links", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "The link, in `data`", body = Data<Described>),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such link", body = Refused),
))]
pub(crate) async fn show(
    _caller: Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&path)?;
    let client = state.reader.client().await?;
    let link = store::find(&*client, id).await?.ok_or_else(unknown)?;
    Ok(data(&link.document()))
}

/// Change a link
#[utoipa::path(put, path = "/link/{id}", tag = "Links", params(("id" = Uuid, Path,)),
    request_body = Described, responses(
    (status = 204, description = "Changed; what was not given is as it was"),
    (status = 400, description = "Not valid, or linked_system without linked_to", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such link", body = Refused),
    (status = 409, description = "A member that cannot change any more", body = Refused),
    (status = 412, description = "The subject in `sub` has not consented", body = Refused),
))]
pub(crate) async fn change(
    Caller(caller): Caller,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&path)?;
    let Value::Object(members) = json(&body)? else {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The body must be a JSON object.",
        ));
    };
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let known = store::find(&transaction, id).await?.ok_or_else(unknown)?;
    subjects::lock(&transaction, &known.sssid).await?;
    let mut link = store::find(&transaction, id).await?.ok_or_else(unknown)?;
    let change = link.change(&members, now).map_err(|why| match why {
        Why::Invalid(errors) => Problem::invalid(errors),
        Why::Fixed(name) => Problem::conflict(
            "fixed",
            format!("{name} of this link cannot be changed any more."),
        ),
    })?;
    if change.lines.is_empty() {
        return Ok(HttpResponse::NoContent().finish());
    }
    if change.moved_from.is_some() {
        let other = subjects::lock(&transaction, &link.sssid).await?.ok_or_else(|| {
            Problem::invalid(vec![Invalid::new("/sub", "there is no subject with this SSSID")])
        })?;
        if !other.has_consented() {
            return Err(not_consented());
        }
    }
    if let Some(secret) = &change.secret {
        let sealed = state
            .signing
            .at_rest
            .seal(&secret_place(id), secret.expose_secret().as_bytes());
        link.secret = Some(sealed);
    }
    if link.claims.is_none() && jwt::key(&state, &link)?.is_none() {
        let detail = "needs a longer secret than the one that signs this link's JWT";
        return Err(Problem::invalid(vec![Invalid::new("/algorithm", detail)]));
    }
    store::update(&transaction, &link).await?;
    let mut entries = Vec::new();
    for sssid in change.moved_from.iter().chain([&link.sssid]) {
        subjects::follow_links(&transaction, sssid, now).await?;
        let entry = |line: &String| Entry::of_link(id, sssid, line.as_str()).by(Some(&caller.username));
        entries.extend(change.lines.iter().map(entry));
    }
    audit::append(&transaction, now, &entries).await?;
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A link's id; what is none names no link.
pub(super) fn parse_id(text: &str) -> Result<Uuid, Problem> {
    link_id(text).ok_or_else(unknown)
}

/// Where a link's own secret is kept.
pub(crate) fn secret_place(link: Uuid) -> String {
    format!("links.secret.{link}")
}

/// 404 for an id that no link has.
pub(super) fn unknown() -> Problem {
    Problem::not_found("There is no link with this id.")
}

fn not_consented() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "The subject has not consented.")
}
