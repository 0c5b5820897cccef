//! `/iforgot`, a page.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use identity_core::http::body::Body;
use identity_core::http::page::page;
use identity_core::http::{Problem, route};

use super::form::{Form, from_elsewhere};
use super::{reset, store};
use crate::state::{State, is_of_another_site};
use crate::users::Username;

/// The most characters of a name that is looked for.
const LONGEST_NAME: usize = 254;

/// Adds the paths.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/iforgot")
                .route(route::get().to(show))
                .route(web::post().to(ask))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/reset")
                .route(route::get().to(reset::show))
                .route(web::post().to(reset::change))
                .default_service(route::only("GET, HEAD, POST")),
        );
}

#[derive(Template)]
#[template(path = "iforgot.html")]
struct AskPage {
    wrong: bool,
}

#[derive(Template)]
#[template(path = "asked.html")]
struct AskedPage;

/// The page for who has forgotten their password
#[utoipa::path(get, path = "/iforgot", tag = "Pages", responses(
    (status = 200, description = "A form", content_type = "text/html"),
), security(()))]
pub(crate) async fn show() -> Result<HttpResponse, Problem> {
    let html = AskPage { wrong: false }.render().map_err(Problem::internal)?;
    Ok(page(StatusCode::OK, html))
}

/// Have a link mailed
///
/// The answer, and its time, are the same for a user and for nobody: the request is noted, and looked
/// at afterwards.
#[utoipa::path(post, path = "/iforgot", tag = "Pages", responses(
    (status = 200, description = "That a mail is on its way, if there is such a user", content_type = "text/html"),
    (status = 400, description = "No address", content_type = "text/html"),
    (status = 403, description = "Sent by another site's page", content_type = "application/json"),
), security(()))]
pub(crate) async fn ask(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    if is_of_another_site(&request, &state.public_url) {
        return Err(from_elsewhere());
    }
    let form = Form::read(&body);
    let username = Username::of_any(form.first(&["username", "email"]));
    if username.key.is_empty() {
        let html = AskPage { wrong: true }.render().map_err(Problem::internal)?;
        return Ok(page(StatusCode::BAD_REQUEST, html));
    }
    // Nobody has a longer name.
    if username.key.chars().count() <= LONGEST_NAME {
        let client = state.database.client().await?;
        store::request(&client, &username, state.now()).await?;
        state.asked.notify_one();
    }
    let html = AskedPage.render().map_err(Problem::internal)?;
    Ok(page(StatusCode::OK, html))
}
