//! `GET /subject/{sssid}/audits`.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use identity_core::http::{Problem, route};

use super::model::Shown;
use super::store;
use crate::access::Caller;
use crate::answer::{Data, Refused, data};
use crate::state::State;
use crate::subjects;

/// Adds the path.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/subject/{sssid}/audits")
            .route(route::get().to(list))
            .default_service(route::only("GET, HEAD")),
    );
}

/// List the changes of a subject and its links
#[utoipa::path(get, path = "/subject/{sssid}/audits", tag = "Subjects", params(("sssid" = String, Path,)), responses(
    (status = 200, description = "The changes in `data`, the oldest first; null when there is none", body = Data<Option<Vec<Shown>>>),
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
    let changes = store::list_of_subject(&*client, &subject.sssid).await?;
    if changes.is_empty() {
        return Ok(data(&None::<()>));
    }
    Ok(data(&changes))
}
