//! `/`, and the forms of the page.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use identity_core::http::body::Body;
use identity_core::http::{Problem, route};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;
use uuid::Uuid;

use super::view::{Confirm, KeyView, Page, ProviderView, answer};
use crate::access::{Caller, query};
use crate::api_keys::api::{Made, make, revoke};
use crate::api_keys::model::NewKey;
use crate::api_keys::store;
use crate::links;
use crate::state::State;

const STYLE: &str = include_str!("../../templates/links.css");

/// The longest text of somebody else's that is shown.
const LONGEST_SHOWN: usize = 300;

/// Adds the paths.
pub fn routes(config: &mut web::ServiceConfig) {
    let get_and_post = "GET, HEAD, POST";
    config
        .service(
            web::resource("/")
                .route(route::get().to(page))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/assets/links.css")
                .route(route::get().to(style))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource(["/api", "/api/"])
                .route(route::get().to(documentation))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/links/{provider}/disconnect")
                .route(route::get().to(ask_disconnect))
                .route(web::post().to(disconnect))
                .default_service(route::only(get_and_post)),
        )
        .service(
            web::resource("/keys")
                .route(web::post().to(make_key))
                .default_service(route::only("POST")),
        )
        .service(
            web::resource("/keys/{id}/revoke")
                .route(route::get().to(ask_revoke))
                .route(web::post().to(revoke_key))
                .default_service(route::only(get_and_post)),
        );
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(STYLE)
}

async fn documentation(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, format!("{}/docs/", state.public_url)))
        .finish()
}

/// With what a link comes back that failed.
#[derive(Deserialize)]
struct Failed {
    error: Option<String>,
    error_description: Option<String>,
}

async fn page(
    caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let Failed {
        error,
        error_description,
    } = query(&request)?;
    let problem = error.map(|error| said(&error, error_description.as_deref()));
    show(&state, &caller, problem, None, StatusCode::OK).await
}

/// What somebody else's error means. Known ones get our words; of others it is shown what was said.
fn said(error: &str, description: Option<&str>) -> String {
    let known = match error {
        "access_denied" => "You did not allow the connection at the provider.",
        "temporarily_unavailable" => "The provider could not be reached. Try again in a while.",
        "invalid_grant" => "The provider did not accept its own answer. Try again.",
        "invalid_id_token" => "What the provider says of the account cannot be verified.",
        _ => {
            let text = format!(
                "The provider says: {} ({error})",
                description.unwrap_or("something went wrong")
            );
            return text
                .chars()
                .filter(|character| !character.is_control())
                .take(LONGEST_SHOWN)
                .collect();
        }
    };
    known.to_owned()
}

async fn show(
    state: &State,
    caller: &Caller,
    problem: Option<String>,
    made: Option<(String, Made)>,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let authorizations = links::api::list(state, caller).await?;
    let client = state.reader.client().await?;
    let keys = store::list(&*client, &caller.person).await?;
    let now = state.clock.now();
    let (new_key_name, new_key) = made.map(|(name, made)| (name, made.key)).unzip();
    let page = Page {
        root: "",
        name: caller.profile.called(&caller.person).to_owned(),
        email: caller.profile.email.clone(),
        form_token: caller.form_token().unwrap_or_default(),
        problem,
        new_key,
        new_key_name: new_key_name.unwrap_or_default(),
        providers: authorizations.into_iter().map(ProviderView::from).collect(),
        keys: keys.into_iter().map(|key| KeyView::new(key, now)).collect(),
    };
    let mut shown = answer(status, &page)?;
    let end = state
        .login
        .endpoints(now)
        .await
        .ok()
        .and_then(|endpoints| endpoints.end_session.clone());
    if let Some(end) = end {
        // Signing out leads to the login provider, and browsers ask the policy also about where a form's
        // answer leads.
        allow_form(&mut shown, &end.origin().ascii_serialization());
    }
    Ok(shown)
}

fn allow_form(answer: &mut HttpResponse, origin: &str) {
    let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY);
    let policy = policy.and_then(|policy| policy.to_str().ok()).unwrap_or_default();
    let wider = policy.replace("form-action 'self'", &format!("form-action 'self' {origin}"));
    if let Ok(value) = HeaderValue::from_str(&wider) {
        answer
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// The members of a form.
fn form(body: &Body) -> Vec<(String, String)> {
    form_urlencoded::parse(&body.0).into_owned().collect()
}

fn member<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .unwrap_or_default()
}

fn to_page(state: &State) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, state.page().as_str()))
        .finish()
}

async fn ask_disconnect(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let provider = state.provider(&id)?;
    let name = provider.name();
    answer(
        StatusCode::OK,
        &Confirm {
            root: "../../",
            title: format!("Disconnect {name}?"),
            text: format!(
                "Your applications will get no access to {name} any more, until you connect it again."
            ),
            yes: "Disconnect",
            form_token: caller.form_token().unwrap_or_default(),
        },
    )
}

async fn disconnect(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    caller.check_form(member(&form(&body), "form_token"))?;
    state.provider(&id)?;
    links::api::end(&state, &caller, &id).await?;
    Ok(to_page(&state))
}

async fn make_key(caller: Caller, state: web::Data<State>, body: Body) -> Result<HttpResponse, Problem> {
    let form = form(&body);
    caller.check_form(member(&form, "form_token"))?;
    let name = member(&form, "name");
    let mut asked = json!({ "name": name });
    if let (end, Some(members)) = (member(&form, "expires_in"), asked.as_object_mut())
        && !end.is_empty()
    {
        members.insert("expires_in".to_owned(), end.into());
    }
    match NewKey::parse(&asked) {
        Ok(new) => {
            let made = make(&state, &caller, new).await?;
            show(
                &state,
                &caller,
                None,
                Some((name.to_owned(), made)),
                StatusCode::CREATED,
            )
            .await
        }
        Err(wrong) => {
            let first = wrong
                .into_iter()
                .next()
                .map(|wrong| wrong.detail)
                .unwrap_or_default();
            let problem = format!("The name of a key is {}.", first.trim_start_matches("expected "));
            show(&state, &caller, Some(problem), None, StatusCode::BAD_REQUEST).await
        }
    }
}

async fn ask_revoke(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("You have no such key.");
    let id = Uuid::parse_str(&id).map_err(|_| missing())?;
    let client = state.reader.client().await?;
    let keys = store::list(&*client, &caller.person).await?;
    let key = keys.iter().find(|key| key.id == id).ok_or_else(missing)?;
    answer(
        StatusCode::OK,
        &Confirm {
            root: "../../",
            title: format!("Revoke the key “{}”?", key.name),
            text: "Programs that use it will be refused from now on. This cannot be undone.".to_owned(),
            yes: "Revoke",
            form_token: caller.form_token().unwrap_or_default(),
        },
    )
}

async fn revoke_key(
    caller: Caller,
    state: web::Data<State>,
    id: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    caller.check_form(member(&form(&body), "form_token"))?;
    let missing = || Problem::not_found("You have no such key.");
    let id = Uuid::parse_str(&id).map_err(|_| missing())?;
    if revoke(&state, &caller, id).await? {
        Ok(to_page(&state))
    } else {
        Err(missing())
    }
}
