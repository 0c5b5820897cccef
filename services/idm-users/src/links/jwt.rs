//! `GET /link/{_id}/jwt` and its QR code: made at the first call, the same again until it has expired.

use actix_web::http::StatusCode;
use actix_web::http::header::{Accept, Header};
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::crypto::jwt::SharedKey;
use identity_core::http::Problem;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::code::{self, Picture};
use super::model::{Link, LinkClaims};
use super::{api, store};
use crate::access::Caller;
use crate::answer::Refused;
use crate::audit::{self, Entry};
use crate::state::{Shared, State};
use crate::subjects::{self, Subject};

/// How long a link's JWT is valid.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// The JWT of a link
#[utoipa::path(get, path = "/link/{id}/jwt", tag = "Links", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "The JWT, the same until it expires", body = String, content_type = "application/jwt"),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such link", body = Refused),
))]
pub(crate) async fn jwt(
    Caller(caller): Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let token = token(&state, &caller.username, &path).await?;
    Ok(HttpResponse::Ok().content_type("application/jwt").body(token))
}

/// The JWT of a link as a QR code
#[utoipa::path(get, path = "/link/{id}/qrcode", tag = "Links", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "A picture, as Accept prefers", content((Vec<u8> = "image/png"), (String = "image/svg+xml"))),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such link", body = Refused),
    (status = 406, description = "Accept allows neither", body = Refused),
))]
pub(crate) async fn code(
    Caller(caller): Caller,
    state: web::Data<State>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let picture = wanted(&request).ok_or_else(|| {
        let detail = "The code can be had as image/png and image/svg+xml.";
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
    })?;
    let token = token(&state, &caller.username, &path).await?;
    let drawn = code::draw(&token, picture).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type(picture.media_type()).body(drawn))
}

/// The picture that `Accept` prefers.
fn wanted(request: &HttpRequest) -> Option<Picture> {
    let Ok(accept) = Accept::parse(request) else {
        return Some(Picture::Png);
    };
    if accept.is_empty() {
        return Some(Picture::Png);
    }
    accept
        .ranked()
        .into_iter()
        .find_map(|range| match range.essence_str() {
            "image/svg+xml" => Some(Picture::Svg),
            "image/png" | "image/*" | "*/*" => Some(Picture::Png),
            _ => None,
        })
}

/// The link's JWT: the one that was made and is still valid, or a new one.
async fn token(state: &State, actor: &str, id: &str) -> Result<String, Problem> {
    let id = api::parse_id(id)?;
    let now = state.now();
    let mut client = state.database.client().await?;
    let link = store::find(&client, id).await?.ok_or_else(api::unknown)?;
    if let Some(claims) = valid(&link, now) {
        return sign(state, &link, claims);
    }
    let transaction = client.transaction().await?;
    let subject = subjects::lock(&transaction, &link.sssid)
        .await?
        .ok_or_else(api::unknown)?;
    let mut link = store::find(&transaction, id).await?.ok_or_else(api::unknown)?;
    if valid(&link, now).is_none() {
        make(&mut link, &subject, now);
        store::update(&transaction, &link).await?;
        let entry = Entry::of_link(id, &link.sssid, "made the JWT").by(Some(actor));
        audit::append(&transaction, now, &[entry]).await?;
        transaction.commit().await?;
    }
    let claims = link.claims.as_ref().ok_or_else(api::unknown)?;
    sign(state, &link, claims)
}

fn valid(link: &Link, now: Timestamp) -> Option<&LinkClaims> {
    link.claims.as_ref().filter(|claims| now.as_second() < claims.exp)
}

fn make(link: &mut Link, subject: &Subject, now: Timestamp) {
    // A time that was chosen before holds, unless it is over. To the second, as it is shown.
    let exp = link.exp.filter(|exp| *exp > now).unwrap_or(now + LIFETIME);
    let exp = Timestamp::from_second(exp.as_second()).unwrap_or(exp);
    link.exp = Some(exp);
    link.changed = now;
    link.claims = Some(LinkClaims {
        jti: link.id.to_string(),
        iss: link.iss.clone(),
        aud: link.aud.clone(),
        exp: exp.as_second(),
        sub: subject.name.clone(),
        birthdate: subject.bday.text.clone(),
    });
}

fn sign(state: &Shared, link: &Link, claims: &LinkClaims) -> Result<String, Problem> {
    let key = key(state, link)?
        .ok_or_else(|| Problem::internal("the secret is too short for the link's algorithm"))?;
    key.sign(claims).map_err(Problem::internal)
}

/// The key of a link: its own secret's, or the service's; none where that is too short for the link's
/// algorithm.
///
/// # Errors
/// 500 where its secret was kept under another `jwt.secret`.
pub(super) fn key(state: &Shared, link: &Link) -> Result<Option<SharedKey>, Problem> {
    let signing = &state.signing;
    let secret = match &link.secret {
        Some(sealed) => signing
            .at_rest
            .open_text(&api::secret_place(link.id), sealed)
            .map_err(Problem::internal)?,
        None => signing.secret.clone(),
    };
    Ok(SharedKey::new(link.algorithm, secret.expose_secret().as_bytes()))
}
