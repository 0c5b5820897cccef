//! `/subject` and `/subject/{sssid}`.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use identity_core::http::body::{Body, json};
use identity_core::http::{Invalid, Problem, route};
use serde_json::{Map, Value, json};

use super::model::{Refused as Why, Subject};
use super::query::ListQuery;
use super::store;
use crate::access::Caller;
use crate::answer::{Data, Refused, data};
use crate::audit::{self, Entry};
use crate::state::State;

/// Tells how many subjects there are on all pages.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Adds the paths.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/subject")
                .route(route::get().to(list))
                .route(web::post().to(create))
                .default_service(route::only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/subject/{sssid}")
                .route(route::get().to(show))
                .route(web::put().to(change))
                .default_service(route::only("GET, HEAD, PUT")),
        );
}

/// A study subject; members that are not named here are kept as they come.
#[derive(Debug, utoipa::ToSchema)]
#[schema(as = Subject)]
#[expect(
    dead_code,
    reason = "it describes what is read by hand, to tell all that is wrong"
)]
pub(crate) struct Described {
    #[schema(example = "SCC-0042", max_length = 255)]
    sssid: String,
    #[schema(example = "Mei Tanimoto", max_length = 255)]
    name: String,
    #[schema(example = "1976-04-12")]
    bday: String,
    email: Option<String>,
    #[schema(example = "2026-11-24")]
    date_invited: Option<String>,
    date_consented: Option<String>,
    /// The first `linked_on` of links that are not withdrawn, unless set by hand.
    date_enrolled: Option<String>,
    /// The last `withdrawn_on` of links, unless set by hand.
    date_withdrawn: Option<String>,
    #[schema(read_only)]
    created: String,
    #[schema(read_only)]
    changed: String,
}

/// Make a subject
#[utoipa::path(post, path = "/subject", tag = "Subjects", request_body = Described, responses(
    (status = 201, description = "The subject, in `data`", body = Data<Described>),
    (status = 400, description = "What is missing, empty or malformed", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 409, description = "The SSSID is taken", body = Refused),
))]
pub(crate) async fn create(
    Caller(caller): Caller,
    state: web::Data<State>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let now = state.now();
    let subject = Subject::read(object(&body)?, now).map_err(Problem::invalid)?;
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    if !store::insert(&transaction, &subject).await? {
        return Err(Problem::conflict(
            "taken",
            "There is a subject with this SSSID already.",
        ));
    }
    let entry = Entry::of_subject(&subject.sssid, "created").by(Some(&caller.username));
    audit::append(&transaction, now, &[entry]).await?;
    transaction.commit().await?;
    Ok(HttpResponse::Created().json(Data {
        data: subject.document(),
    }))
}

/// List and search subjects
#[utoipa::path(get, path = "/subject", tag = "Subjects", params(
    ("search" = Option<String>, Query, description = "How the SSSID or the birthday begins, or part of the name, in any case"),
    ("offset" = Option<i64>, Query, minimum = 0, description = "How many to leave out; default 0"),
    ("perpage" = Option<i64>, Query, minimum = 1, maximum = 500, description = "How many to show; default 50"),
    ("ordercol" = Option<String>, Query, description = "By which member; default sssid"),
    ("orderdir" = Option<String>, Query, description = "asc (default) or desc"),
    ("status" = Option<i64>, Query, minimum = 0, maximum = 3, description = "0 pending, 1 invited or consented, 2 enrolled, 3 withdrawn"),
), responses(
    (status = 200, description = "The subjects, in `data`; X-Total-Count tells how many there are", body = Data<Vec<Described>>),
    (status = 400, description = "A parameter is malformed", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
))]
pub(crate) async fn list(
    _caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string()).map_err(Problem::invalid)?;
    let client = state.database.client().await?;
    let (subjects, total) = store::list(&client, &query).await?;
    let documents: Vec<Value> = subjects.iter().map(Subject::document).collect();
    let mut answer = data(&documents);
    answer.headers_mut().insert(TOTAL_COUNT, total.into());
    Ok(answer)
}

/// Show a subject
#[utoipa::path(get, path = "/subject/{sssid}", tag = "Subjects", params(("sssid" = String, Path,)), responses(
    (status = 200, description = "The subject, in `data`", body = Data<Described>),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such subject", body = Refused),
))]
pub(crate) async fn show(
    _caller: Caller,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let client = state.reader.client().await?;
    let subject = store::find(&*client, &path).await?.ok_or_else(unknown)?;
    Ok(data(&subject.document()))
}

/// Change a subject
#[utoipa::path(put, path = "/subject/{sssid}", tag = "Subjects", params(("sssid" = String, Path,)),
    request_body = Described, responses(
    (status = 204, description = "Changed; what was not given is as it was"),
    (status = 400, description = "Not valid, or without the SSSID", body = Refused),
    (status = 401, description = "Not signed in", body = Refused),
    (status = 404, description = "No such subject", body = Refused),
    (status = 409, description = "Another SSSID, or another date where one is set", body = Refused),
))]
pub(crate) async fn change(
    Caller(caller): Caller,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let members = object(&body)?;
    let now = state.now();
    let mut client = state.database.client().await?;
    let transaction = client.transaction().await?;
    let mut subject = store::lock(&transaction, &path).await?.ok_or_else(unknown)?;
    match members.get("sssid") {
        None | Some(Value::Null) => {
            return Err(Problem::invalid(vec![Invalid::new("/sssid", "is missing")]));
        }
        Some(sssid) if *sssid != json!(subject.sssid) => {
            return Err(Problem::conflict(
                "sssid",
                "The sssid of a subject cannot be changed.",
            ));
        }
        Some(_) => {}
    }
    let changes = subject.change(members, now).map_err(|why| match why {
        Why::Invalid(errors) => Problem::invalid(errors),
        Why::DateIsSet(name) => {
            Problem::conflict("set", format!("{name} is set already, and cannot be changed."))
        }
    })?;
    if !changes.is_empty() {
        store::update(&transaction, &subject).await?;
        let entry = |change| Entry::of_subject(&subject.sssid, change).by(Some(&caller.username));
        let entries: Vec<_> = changes.into_iter().map(entry).collect();
        audit::append(&transaction, now, &entries).await?;
    }
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// 404 for an SSSID that nobody has.
pub(crate) fn unknown() -> Problem {
    Problem::not_found("There is no subject with this SSSID.")
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match json(body)? {
        Value::Object(members) => Ok(members),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The body must be a JSON object.",
        )),
    }
}
