//! `/` and `/status`.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use identity_core::http::route;
use serde::Serialize;
use serde_json::json;

use crate::answer::{Data, data};
use crate::state::State;

/// Adds the paths.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/")
                .route(route::get().to(root))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/status")
                .route(route::get().to(status))
                .default_service(route::only("GET, HEAD")),
        );
}

/// What the service stands on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Standing {
    /// `ok`, or why mails cannot be sent.
    #[schema(example = "ok")]
    mail: String,
    /// `ok`, or that the database is out of reach.
    #[schema(example = "ok")]
    db: &'static str,
}

/// That the service is there
#[utoipa::path(get, path = "/", tag = "Status", responses(
    (status = 200, description = "`{\"status\": \"ready\"}`"),
), security(()))]
pub(crate) async fn root() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ready"}))
}

/// Whether mail and database work
#[utoipa::path(get, path = "/status", tag = "Status", responses(
    (status = 200, description = "What works, in `data`", body = Data<Standing>),
), security(()))]
pub(crate) async fn status(state: web::Data<State>) -> HttpResponse {
    let asked = async {
        let client = state.database.client().await?;
        client.query_one("SELECT 1", &[]).await?;
        Ok::<_, identity_core::db::Error>(())
    };
    let (mail, asked) = tokio::join!(state.postbox.condition(), asked);
    let db = if asked.is_ok() { "ok" } else { "out of reach" };
    data(&Standing { mail, db })
}
