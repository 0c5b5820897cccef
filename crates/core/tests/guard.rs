//! What happens around a request of any service, shown by one that does little but fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use identity_core::config::{Base, Schema, Settings};
use identity_core::db::Database;
use identity_core::failure::Failure;
use identity_core::http::body::Body;
use identity_core::http::{Problem, problem, server};
use identity_core::metrics::Metrics;
use identity_core::runtime::Runtime;
use identity_testkit::Service;
use reqwest::{Method, Response};
use serde_json::Value;
use utoipa::openapi::{Info, OpenApi, Paths};

static SCHEMA: Schema = Schema {
    service: "failing",
    defaults: "[database.postgres]\nschema = \"public\"\n",
    secrets: &[],
    open: &[],
    file_variables: &[],
    originals: |_| Ok(Vec::new()),
};

static FAILING: Service = Service {
    schema: &SCHEMA,
    settings: &["server.request_timeout=400ms", "server.body_limit=100"],
    run: |settings, runtime| Box::pin(serve(settings, runtime)),
};

async fn serve(settings: Settings, runtime: Runtime) -> Result<(), Failure> {
    let base = Base::read(&settings)?;
    let service = server::Service {
        form: problem::rfc9457,
        openapi: OpenApi::new(Info::new("failing", "1"), Paths::new()),
        database: Database::open("failing", &base.database.postgres).await?,
        metrics: Metrics::new("failing"),
        hasher: None,
    };
    server::serve(&base, service, runtime, routes).await
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/panic", web::get().to(panic))
        .route("/later-panic", web::get().to(later_panic))
        .route(
            "/internal",
            web::get().to(async || Err::<&str, _>(Problem::internal("the secret cause"))),
        )
        .route(
            "/io",
            web::get().to(async || Err::<&str, _>(io::Error::other("the secret cause"))),
        )
        .route("/slow", web::get().to(slow))
        .route("/number/{number}", web::get().to(number))
        .route(
            "/form",
            web::post().to(async |_: web::Form<Vec<(String, String)>>| "form"),
        )
        .route(
            "/body",
            web::post().to(async |Body(body): Body| HttpResponse::Ok().body(body)),
        );
}

async fn panic() -> HttpResponse {
    panic!("the secret cause")
}

async fn later_panic() -> HttpResponse {
    tokio::task::yield_now().await;
    panic().await
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_hours(1)).await;
    "never"
}

async fn number(number: web::Path<u8>) -> impl Responder {
    number.to_string()
}

async fn assert_problem(answer: Response, status: StatusCode) {
    let headers = answer.headers().clone();
    assert_eq!(answer.status().as_u16(), status.as_u16());
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let id = headers["x-request-id"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("secret"), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["status"], status.as_u16());
    let shown = document.get("request_id").and_then(Value::as_str);
    assert_eq!(shown, status.is_server_error().then_some(id.as_str()), "{text}");
}

#[tokio::test]
async fn whatever_fails_is_shown_in_the_service_s_form_and_nothing_more_is_told() {
    let failing = FAILING.start(&[]).await;
    let get = |path: &str| failing.get(path);
    for (request, status) in [
        (get("/panic"), StatusCode::INTERNAL_SERVER_ERROR),
        (get("/later-panic"), StatusCode::INTERNAL_SERVER_ERROR),
        (get("/internal"), StatusCode::INTERNAL_SERVER_ERROR),
        (get("/io"), StatusCode::INTERNAL_SERVER_ERROR),
        (get("/slow"), StatusCode::SERVICE_UNAVAILABLE),
        (get("/number/300"), StatusCode::NOT_FOUND),
        (get("/nothing"), StatusCode::NOT_FOUND),
        (
            failing.post("/form").body("x"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            failing.post("/body").body("x".repeat(101)),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (failing.delete("/healthz"), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let name = format!("{request:?}");
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.status().as_u16(), status.as_u16(), "{name}");
        assert_problem(answer, status).await;
    }
    assert_eq!(get("/number/7").send().await.unwrap().text().await.unwrap(), "7");
    let body = failing.post("/body").body("x".repeat(100)).send().await.unwrap();
    assert_eq!(body.text().await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_worker_goes_on_after_a_panic() {
    let failing = FAILING.start(&[]).await;
    for _ in 0..20 {
        assert_eq!(failing.get("/panic").send().await.unwrap().status(), 500);
    }
    assert_eq!(failing.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn health_and_documentation_are_there_and_say_which_methods_they_know() {
    let failing = FAILING.start(&[]).await;
    for (path, media_type, text) in [
        ("/healthz", "text/plain", "alive"),
        ("/readyz", "text/plain", "database: ok\nservice: ok\n"),
        ("/openapi.json", "application/json", "\"failing\""),
        // Compressed as it is stored.
        ("/docs/", "text/html", ""),
    ] {
        let shown = failing.get(path).send().await.unwrap();
        assert_eq!(shown.status(), 200, "{path}");
        let found = shown.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(found.starts_with(media_type), "{path}: {found}");
        let body = shown.bytes().await.unwrap();
        assert!(
            !body.is_empty() && String::from_utf8_lossy(&body).contains(text),
            "{path}"
        );
        let head = failing.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), head.text().await.unwrap().len()),
            (200, 0),
            "{path}"
        );
        if path != "/docs/" {
            let refused = failing.post(path).send().await.unwrap();
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()["allow"]),
                (405, &"GET, HEAD".parse().unwrap())
            );
        }
    }
    let redirected = failing.get("/docs").send().await.unwrap();
    assert_eq!(
        (redirected.status().as_u16(), &redirected.headers()["location"]),
        (308, &"docs/".parse().unwrap())
    );
}
