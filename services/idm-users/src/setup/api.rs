//! `/init`, a page.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use identity_core::http::body::Body;
use identity_core::http::client::address_of;
use identity_core::http::page::page;
use identity_core::http::{Problem, route};
use identity_core::throttle::Tried;
use secrecy::SecretString;

use crate::audit::{self, Entry};
use crate::forgotten::{Form, from_elsewhere};
use crate::sign_in::{busy, too_many};
use crate::state::{State, is_of_another_site};
use crate::users::{self, Username};

/// Adds the path.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/init")
            .route(route::get().to(show))
            .route(web::post().to(make))
            .default_service(route::only("GET, HEAD, POST")),
    );
}

#[derive(Template, Default)]
#[template(path = "init.html")]
struct InitPage<'a> {
    username: &'a str,
    /// As it was typed, once it is known to be right.
    code: &'a str,
    asks_code: bool,
    shortest: usize,
    wrong_username: Option<String>,
    wrong_password: Option<String>,
    wrong_code: Option<String>,
}

impl InitPage<'_> {
    fn is_wrong(&self) -> bool {
        self.wrong_username.is_some() || self.wrong_password.is_some() || self.wrong_code.is_some()
    }
}

#[derive(Template)]
#[template(path = "ready.html")]
struct ReadyPage<'a> {
    /// Whom this request has made the administrator.
    made: Option<&'a str>,
}

/// The page for the first administrator
#[utoipa::path(get, path = "/init", tag = "Pages", responses(
    (status = 200, description = "A form; or, once there is an administrator, that the system is ready", content_type = "text/html"),
), security(()))]
pub(crate) async fn show(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let client = state.reader.client().await?;
    if users::count_admins(&*client).await? > 0 {
        return ready(None);
    }
    shown(
        StatusCode::OK,
        &InitPage {
            asks_code: state.setup.asks(),
            shortest: state.shortest_password,
            ..InitPage::default()
        },
    )
}

/// Make the first administrator
#[utoipa::path(post, path = "/init", tag = "Pages", responses(
    (status = 200, description = "The system is ready", content_type = "text/html"),
    (status = 400, description = "The form, with what is wrong", content_type = "text/html"),
    (status = 403, description = "Not the setup code; or sent by another site's page", content_type = "text/html"),
    (status = 429, description = "Too many wrong setup codes", content_type = "application/json"),
), security(()))]
pub(crate) async fn make(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    if is_of_another_site(&request, &state.public_url) {
        return Err(from_elsewhere());
    }
    let form = Form::read(&body);
    let client = state.database.client().await?;
    if users::count_admins(&client).await? > 0 {
        return ready(None);
    }
    let given = form.first(&["username", "email"]);
    let mut page = InitPage {
        username: given,
        asks_code: state.setup.asks(),
        shortest: state.shortest_password,
        ..InitPage::default()
    };
    if state.setup.asks() {
        let now = state.now();
        let tried = Tried::new("\u{1}init", address_of(&request));
        if let Some(wait) = state.throttle.wait(&client, &tried, None, now).await? {
            return Err(too_many(wait));
        }
        if !state.setup.accepts(&client, form.first(&["code"])).await? {
            state.throttle.failed(&client, &tried, now).await?;
            page.wrong_code = Some("This is not the setup code.".to_owned());
            return shown(StatusCode::FORBIDDEN, &page);
        }
        page.code = form.first(&["code"]);
    }
    drop(client);
    let username = Username::parse(given);
    page.wrong_username = username
        .as_ref()
        .err()
        .map(|_| "Enter an email address.".to_owned());
    let password = form.password();
    page.wrong_password = form.wrong_password(state.rules());
    let (Ok(username), false) = (username, page.is_wrong()) else {
        return shown(StatusCode::BAD_REQUEST, &page);
    };
    match first(&state, &username, &password).await? {
        Outcome::Made => ready(Some(&username.text)),
        Outcome::Late => ready(None),
        Outcome::Taken => {
            page.wrong_username = Some("There is a user of this name, who is no administrator.".to_owned());
            shown(StatusCode::CONFLICT, &page)
        }
    }
}

enum Outcome {
    Made,
    /// Somebody else was first.
    Late,
    /// The name is another user's.
    Taken,
}

/// Makes the administrator, unless there is one by now.
async fn first(state: &State, username: &Username, password: &SecretString) -> Result<Outcome, Problem> {
    let hash = state.hasher.hash(password).await.map_err(|_| busy())?;
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    users::lock(&transaction).await?;
    if users::count_admins(&transaction).await? > 0 {
        return Ok(Outcome::Late);
    }
    let Some(user) = users::insert(&transaction, username, &hash, true, now).await? else {
        return Ok(Outcome::Taken);
    };
    transaction.execute("DELETE FROM setup_code", &[]).await?;
    let entry = Entry::of_user(&user.username, "created, the first administrator");
    audit::append(&transaction, now, &[entry]).await?;
    transaction.commit().await?;
    Ok(Outcome::Made)
}

fn ready(made: Option<&str>) -> Result<HttpResponse, Problem> {
    let html = ReadyPage { made }.render().map_err(Problem::internal)?;
    Ok(page(StatusCode::OK, html))
}

fn shown(status: StatusCode, template: &InitPage<'_>) -> Result<HttpResponse, Problem> {
    let html = template.render().map_err(Problem::internal)?;
    Ok(page(status, html))
}
