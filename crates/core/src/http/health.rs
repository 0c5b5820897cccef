//! `/healthz`: the process is alive. `/readyz`: it can do its work, a line for each thing it needs.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::route;
use crate::db::Database;
use crate::runtime::Stop;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Health {
    /// The service's database.
    pub database: Database,
    /// Databases beside it, by their names.
    pub others: Vec<(&'static str, Database)>,
    /// Turns readiness off when the service is about to stop, so that a proxy looks elsewhere.
    pub stop: Stop,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/healthz")
                .route(route::get().to(alive))
                .default_service(route::only("GET, HEAD")),
        )
        .service(
            web::resource("/readyz")
                .route(route::get().to(ready))
                .default_service(route::only("GET, HEAD")),
        );
}

async fn alive() -> &'static str {
    "alive\n"
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let databases = std::iter::once(("database", &health.database));
    let others = health.others.iter().map(|(name, other)| (*name, other));
    let databases: Vec<_> = databases
        .chain(others)
        .map(|(name, database)| (name, database.is_reachable()))
        .collect();
    let going_on = !health.stop.is_said();
    let line =
        |name: &str, ok: bool, otherwise: &str| format!("{name}: {}\n", if ok { "ok" } else { otherwise });
    let mut lines: String = databases
        .iter()
        .map(|(name, reachable)| line(name, *reachable, "out of reach"))
        .collect();
    lines += &line("service", going_on, "stopping");
    let status = if databases.iter().all(|(_, reachable)| *reachable) && going_on {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut answer = HttpResponse::build(status);
    if status != StatusCode::OK {
        answer.insert_header((header::RETRY_AFTER, "5"));
    }
    answer.content_type("text/plain; charset=utf-8").body(lines)
}
