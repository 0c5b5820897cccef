//! The forms of a list, as the client asks for them with Accept.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::json;

use crate::IDENT;
use crate::people::{expect, header, make, problem};

const RECORDS: &str = "application/json";
const PATHS: &str = "application/vnd.glotpod.resource-url+json";

/// The media type of the list for these Accept headers; none where it is refused.
async fn form(ident: &TestService, accept: &[&str]) -> Option<String> {
    let mut request = ident.get("/");
    for value in accept {
        request = request.header("accept", *value);
    }
    let answer = request.send().await.unwrap();
    match answer.status() {
        StatusCode::OK => {
            assert_eq!(header(&answer, "vary").to_lowercase(), "accept", "{accept:?}");
            Some(header(&answer, "content-type"))
        }
        StatusCode::NOT_ACCEPTABLE => {
            assert_eq!(header(&answer, "content-type"), "application/problem+json");
            None
        }
        other => panic!("{accept:?}: {other}"),
    }
}

#[tokio::test]
async fn the_first_form_is_of_records_the_second_of_their_paths() {
    let ident = IDENT.start(&[]).await;
    let robb = make(&ident, "Robb", "robb@north").await;
    let jon = make(&ident, "Jon", "jon@wall").await;
    let records = expect(ident.get("/").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        records,
        json!([{"id": robb, "name": "Robb", "email": "robb@north", "services": {}},
               {"id": jon, "name": "Jon", "email": "jon@wall", "services": {}}])
    );
    let paths = ident.get("/").header("accept", PATHS).send().await.unwrap();
    assert_eq!(header(&paths, "content-type"), PATHS);
    let paths = expect(paths, StatusCode::OK).await;
    assert_eq!(paths, json!([format!("/{robb}"), format!("/{jon}")]));

    let page = ident.get("/?page_size=1&name=r").header("accept", PATHS);
    let page = expect(page.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        page,
        json!([format!("/{robb}")]),
        "filters and pages are the same for both forms"
    );
    let nothing = ident.get("/?name=x").header("accept", PATHS);
    assert_eq!(
        expect(nothing.send().await.unwrap(), StatusCode::OK).await,
        json!([])
    );
    let next = ident.get("/?page_size=1").header("accept", PATHS);
    assert_eq!(
        header(&next.send().await.unwrap(), "link"),
        format!("</?page_size=1&after_id={robb}>; rel=next")
    );
}

#[tokio::test]
async fn what_is_accepted_is_given() {
    let ident = IDENT.start(&[]).await;
    let both = format!("{PATHS}, {RECORDS}");
    let cases: &[(&[&str], &str)] = &[
        (&[], RECORDS),
        (&[RECORDS], RECORDS),
        (&[PATHS], PATHS),
        (&["APPLICATION/JSON"], RECORDS),
        (&["Application/Vnd.Glotpod.Resource-Url+JSON"], PATHS),
        // Wildcards, and ours where the client likes several alike.
        (&["*/*"], RECORDS),
        (&["application/*"], RECORDS),
        (&[&both], RECORDS),
        (&["text/html, application/xhtml+xml, */*;q=0.8"], RECORDS),
        // Charsets say nothing about JSON.
        (&["application/json; charset=utf-8"], RECORDS),
        (&["application/json;q=0.3;charset=utf-8"], RECORDS),
        // Blanks and empty members of the list.
        (&["  application/json  "], RECORDS),
        (&[", ,application/json,,"], RECORDS),
        (&["application/json ; q=1"], RECORDS),
        (&["application/json\t;\tcharset=utf-8 ;; q=1 ;"], RECORDS),
        (&["application/json;"], RECORDS),
    ];
    for (accept, expected) in cases {
        assert_eq!(
            form(&ident, accept).await.as_deref(),
            Some(*expected),
            "{accept:?}"
        );
    }
}

#[tokio::test]
async fn weights_decide_and_the_most_exact_range_gives_them() {
    let ident = IDENT.start(&[]).await;
    let cases = [
        (format!("{RECORDS};q=0.5, {PATHS};q=0.6"), Some(PATHS)),
        (format!("{RECORDS};q=0.5, {PATHS}"), Some(PATHS)),
        (format!("{RECORDS};q=0.501, {PATHS};q=0.5"), Some(RECORDS)),
        (format!("{RECORDS};q=0.500, {PATHS};q=0.5"), Some(RECORDS)),
        (format!("{RECORDS};Q=0.1, {PATHS};q=0.2"), Some(PATHS)),
        // The exact range wins over the wildcard, whatever the order.
        (format!("*/*, {RECORDS};q=0.1"), Some(PATHS)),
        (format!("{RECORDS};q=0.1, */*"), Some(PATHS)),
        (
            format!("application/*;q=0.1, {RECORDS};q=0.2, */*"),
            Some(RECORDS),
        ),
        (
            format!("*/*;q=0.9, application/*;q=0.1, {PATHS};q=0.2"),
            Some(PATHS),
        ),
        // Zero excludes.
        (format!("{RECORDS};q=0"), None),
        (format!("{RECORDS};q=0.000"), None),
        (format!("{RECORDS};q=0, */*"), Some(PATHS)),
        (format!("*/*, {RECORDS};q=0"), Some(PATHS)),
        (format!("*/*, {PATHS};q=0"), Some(RECORDS)),
        (format!("{RECORDS};q=0, {PATHS};q=0, */*"), None),
        ("application/*;q=0, */*".to_owned(), None),
        ("*/*;q=0".to_owned(), None),
        (format!("*/*;q=0, {PATHS};q=0.001"), Some(PATHS)),
    ];
    for (accept, expected) in cases {
        assert_eq!(form(&ident, &[&accept]).await.as_deref(), expected, "{accept}");
    }
}

#[tokio::test]
async fn several_headers_are_one_list() {
    let ident = IDENT.start(&[]).await;
    let low = format!("{RECORDS};q=0.1");
    assert_eq!(form(&ident, &[&low, PATHS]).await.as_deref(), Some(PATHS));
    assert_eq!(form(&ident, &[PATHS, &low]).await.as_deref(), Some(PATHS));
    assert_eq!(
        form(&ident, &["text/html", RECORDS]).await.as_deref(),
        Some(RECORDS)
    );
    assert_eq!(form(&ident, &["text/html", "image/png"]).await, None);
}

#[tokio::test]
async fn everything_else_is_not_acceptable() {
    let ident = IDENT.start(&[]).await;
    make(&ident, "Robb", "robb@north").await;
    for accept in [
        "text/json",
        "text/html",
        "text/*",
        "application/xml",
        "application/problem+json",
        "application/vnd.glotpod.resource-url",
        "application/jsonx",
        "application/jso",
        // Another form of JSON than ours.
        "application/json;profile=x",
        "application/json;version=2",
        // What is no range at all accepts nothing.
        "json",
        "/",
        "application/",
        "*/json",
        "application/json;q=2",
        "application/json;q=-1",
        "application/json;q=0.1234",
        "application/json;q=high",
        "application/json;q=",
        "",
        ",",
    ] {
        assert_eq!(form(&ident, &[accept]).await, None, "{accept:?}");
    }
    let refused = problem(
        ident.get("/").header("accept", "text/json"),
        StatusCode::NOT_ACCEPTABLE,
    )
    .await;
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains(RECORDS) && detail.contains(PATHS),
        "it says what is to be had: {detail}"
    );
}

#[tokio::test]
async fn a_range_that_cannot_be_read_does_not_hide_the_others() {
    let ident = IDENT.start(&[]).await;
    for accept in ["json, application/json", "application/json, */json;q=7", "@, */*"] {
        assert_eq!(
            form(&ident, &[accept]).await.as_deref(),
            Some(RECORDS),
            "{accept:?}"
        );
    }
    let unreadable = reqwest::header::HeaderValue::from_bytes(b"application/json, \xff").unwrap();
    let answer = ident.get("/").header("accept", unreadable).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE, "not even text");
}

#[tokio::test]
async fn only_the_list_has_two_forms() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let answer = ident.get(&format!("/{id}")).header("accept", "text/html");
    let answer = answer.send().await.unwrap();
    assert_eq!(
        (answer.status(), header(&answer, "content-type").as_str()),
        (StatusCode::OK, RECORDS)
    );
}
