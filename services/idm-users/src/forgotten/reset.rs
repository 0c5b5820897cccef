//! `/reset`, a page: a GET never spends the link, since mail scanners follow links.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use identity_core::crypto::token::PlainToken;
use identity_core::http::Problem;
use identity_core::http::body::Body;
use identity_core::http::page::page;
use secrecy::SecretString;

use super::form::{Form, from_elsewhere};
use super::store::{self, Standing};
use crate::audit::{self, Entry};
use crate::mail::Mail;
use crate::sign_in::busy;
use crate::state::{State, is_of_another_site};
use crate::users;

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage<'a> {
    key: &'a str,
    shortest: usize,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "reset_done.html")]
struct DonePage;

#[derive(Template)]
#[template(path = "reset_broken.html")]
struct BrokenPage {
    why: &'static str,
}

/// The page for a new password
#[utoipa::path(get, path = "/reset", tag = "Pages", params(("k" = String, Query, description = "The key of the mailed link")), responses(
    (status = 200, description = "A form", content_type = "text/html"),
    (status = 400, description = "No link of ours", content_type = "text/html"),
    (status = 410, description = "The link has expired, was used, or was replaced by a newer one", content_type = "text/html"),
), security(()))]
pub(crate) async fn show(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let key = query.into_iter().find(|(name, _)| name == "k");
    let key = key.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let client = state.database.client().await?;
    let standing = store::find(
        &client,
        &PlainToken::presented(key.as_str()).digest(),
        state.now(),
    )
    .await?;
    match standing {
        Standing::Good(_) => form(StatusCode::OK, &state, &key, None),
        standing => broken(standing),
    }
}

/// Set a new password
#[utoipa::path(post, path = "/reset", tag = "Pages", responses(
    (status = 200, description = "The password is set, and the user's tokens are not valid any more", content_type = "text/html"),
    (status = 400, description = "The form, with what is wrong; or no link of ours", content_type = "text/html"),
    (status = 403, description = "Sent by another site's page", content_type = "application/json"),
    (status = 410, description = "The link has expired, was used, or was replaced by a newer one", content_type = "text/html"),
), security(()))]
pub(crate) async fn change(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    if is_of_another_site(&request, &state.public_url) {
        return Err(from_elsewhere());
    }
    let fields = Form::read(&body);
    let key = fields.first(&["key"]);
    let presented = PlainToken::presented(key);
    let client = state.database.client().await?;
    let standing = store::find(&client, &presented.digest(), state.now()).await?;
    drop(client);
    if !matches!(standing, Standing::Good(_)) {
        return broken(standing);
    }
    if let Some(wrong) = fields.wrong_password(state.rules()) {
        return form(StatusCode::BAD_REQUEST, &state, key, Some(wrong));
    }
    match set(&state, &presented, &fields.password()).await? {
        Standing::Good(_) => {
            let html = DonePage.render().map_err(Problem::internal)?;
            Ok(page(StatusCode::OK, html))
        }
        standing => broken(standing),
    }
}

/// Sets the password, unless the link has been used meanwhile.
async fn set(state: &State, key: &PlainToken, password: &SecretString) -> Result<Standing, Problem> {
    let hash = state.hasher.hash(password).await.map_err(|_| busy())?;
    let (now, digest) = (state.now(), key.digest());
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let standing = store::find(&transaction, &digest, now).await?;
    let Standing::Good(user) = standing else {
        return Ok(standing);
    };
    let Some(user) = users::find_by_id(&transaction, user).await? else {
        return Ok(Standing::Unknown);
    };
    store::spend(&transaction, &digest, now).await?;
    users::set_password(&transaction, &user, &hash, now).await?;
    let mail = Mail::changed(&user.username, &state.public_url, now).map_err(Problem::internal)?;
    state.postbox.put(&transaction, &mail, now).await?;
    let entry = Entry::of_user(&user.username, "changed the password, with a mailed link");
    audit::append(&transaction, now, &[entry]).await?;
    transaction.commit().await?;
    state.postbox.told();
    Ok(standing)
}

fn form(
    status: StatusCode,
    state: &State,
    key: &str,
    wrong: Option<String>,
) -> Result<HttpResponse, Problem> {
    let shortest = state.shortest_password;
    let html = ResetPage { key, shortest, wrong }
        .render()
        .map_err(Problem::internal)?;
    Ok(page(status, html))
}

fn broken(standing: Standing) -> Result<HttpResponse, Problem> {
    let (status, why) = match standing {
        Standing::Expired => (
            StatusCode::GONE,
            "This link has expired: it could be used for two hours.",
        ),
        Standing::Used => (StatusCode::GONE, "This link was used already; it works once."),
        Standing::Ended => (
            StatusCode::GONE,
            "This link is not valid any more: a newer one took its place, or the password was changed since.",
        ),
        Standing::Good(_) | Standing::Unknown => (
            StatusCode::BAD_REQUEST,
            "This link is not valid. Perhaps it was not copied to its end.",
        ),
    };
    let html = BrokenPage { why }.render().map_err(Problem::internal)?;
    Ok(page(status, html))
}
