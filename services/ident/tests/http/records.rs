//! Making, showing and deleting records, and the paths that they have.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{Kind, expect, header, make, make_from, patched, problem, record, tag, token};

/// What names no user: too small, too large, or not written as an id is.
const NOBODY: [&str; 22] = [
    "0",
    "-1",
    "-0",
    "77",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999",
    "01",
    "+1",
    "%2B1",
    "1.0",
    "1e0",
    "0x1",
    "%201",
    "1%20",
    "1%00",
    "%00",
    "%FF",
    "%EF%BC%91",
    "nobody",
    "1,2",
];

#[tokio::test]
async fn a_record_is_made_and_shown() {
    let ident = IDENT.start(&[]).await;
    let document = json!({"name": " Robb Stark ", "email": "\tking@deceased.north ", "services": {"github": {"id": " 25 "}, "facebook": {"id": "75"}}});
    let made = ident.post("/").json(&document).send().await.unwrap();
    let location = header(&made, "location");
    let made = expect(made, StatusCode::CREATED).await;
    let id = made["id"].as_i64().unwrap();
    assert_eq!(made, json!({"id": id}));
    assert_eq!(location, format!("/{id}"));
    let shown = ident.get(&location).send().await.unwrap();
    assert_eq!(header(&shown, "content-type"), "application/json");
    let expected = json!({"id": id, "name": "Robb Stark", "email": "king@deceased.north", "services": {"github": {"id": "25"}, "facebook": {"id": "75"}}});
    assert_eq!(expect(shown, StatusCode::OK).await, expected);
}

#[tokio::test]
async fn an_id_that_is_sent_is_ignored() {
    let ident = IDENT.start(&[]).await;
    let ids = [
        json!(4711),
        json!(-1),
        json!("x"),
        Value::Null,
        json!({"deep": []}),
        json!(1.5),
    ];
    let mut made = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        let document = json!({"id": id, "name": "Arya", "email": format!("arya{number}@north")});
        made.push(make_from(&ident, &document).await);
    }
    let text = r#"{"id": 999999999999999999999999999, "name": "Arya", "email": "far@north"}"#;
    let far = ident
        .post("/")
        .header("content-type", "application/json")
        .body(text);
    let far = expect(far.send().await.unwrap(), StatusCode::CREATED).await;
    made.push(far["id"].as_i64().unwrap());
    assert_eq!(made, (1..=7).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_record_without_services_has_none() {
    let ident = IDENT.start(&[]).await;
    let without = make(&ident, "Bran", "bran@north").await;
    let empty = make_from(
        &ident,
        &json!({"name": "Rickon", "email": "rickon@north", "services": {}}),
    )
    .await;
    for id in [without, empty] {
        assert_eq!(record(&ident, id).await["services"], json!({}));
    }
}

#[tokio::test]
async fn texts_of_any_script_come_back_as_they_were_sent() {
    let ident = IDENT.start(&[]).await;
    let name = "Ｊｏ\u{301}n 冰 \u{1F43A} ß\u{200D}' \"\\ <b>&amp;</b> %00 ${x}";
    let email = "Ｊон+Ünï\u{1F43A}@wall.例え";
    let account = "§ ' \\ \u{1F43A}";
    let document = json!({"name": name, "email": email, "services": {"x-y_9": {"id": account}}});
    let id = make_from(&ident, &document).await;
    let expected = json!({"id": id, "name": name, "email": email, "services": {"x-y_9": {"id": account}}});
    assert_eq!(record(&ident, id).await, expected);
}

#[tokio::test]
async fn what_is_no_id_of_a_user_is_not_found_in_any_way() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    assert_eq!(id, 1, "so that other ways to write 1 could be taken for it");
    for nobody in NOBODY {
        let path = format!("/{nobody}");
        let shown = problem(ident.get(&path), StatusCode::NOT_FOUND).await;
        assert!(shown.get("errors").is_none(), "{shown}");
        let renamed = ident
            .patch(&path)
            .header("content-type", Kind::Merge.media_type());
        problem(renamed.body(r#"{"name": "X"}"#), StatusCode::NOT_FOUND).await;
        problem(ident.delete(&path), StatusCode::NOT_FOUND).await;
        problem(
            ident.get(&format!("{path}/services/github/token")),
            StatusCode::NOT_FOUND,
        )
        .await;
        let head = ident.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::NOT_FOUND, "{nobody}");
    }
    assert_eq!(record(&ident, 1).await["name"], "Robb");
}

/// The status for a GET with this `If-None-Match`.
async fn if_none_match(ident: &TestService, id: i64, known: &str) -> StatusCode {
    let request = ident.get(&format!("/{id}")).header("if-none-match", known);
    let answer = request.send().await.unwrap();
    if answer.status() == StatusCode::NOT_MODIFIED {
        assert_eq!(header(&answer, "etag"), tag(ident, id).await);
        assert_eq!(answer.headers().get("content-type"), None);
    }
    answer.status()
}

#[tokio::test]
async fn a_record_that_the_client_knows_is_not_sent_again() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let other = make(&ident, "Jon", "jon@wall").await;
    let known = tag(&ident, id).await;
    assert!(
        known.len() > 2 && known.starts_with('"') && known.ends_with('"'),
        "strong: {known}"
    );
    assert_eq!(
        known,
        tag(&ident, id).await,
        "the same as long as nothing changes"
    );
    assert_ne!(known, tag(&ident, other).await);

    for same in [
        known.clone(),
        format!("W/{known}"),
        format!("\"a\", {known} , \"b\""),
        format!("W/\"a,b\", W/{known}"),
        "*".to_owned(),
    ] {
        assert_eq!(
            if_none_match(&ident, id, &same).await,
            StatusCode::NOT_MODIFIED,
            "{same}"
        );
    }
    let unquoted = known.trim_matches('"').to_owned();
    for different in ["\"a\"", "W/\"a\"", "\"a\", \"b\"", "", &unquoted, "\"*\""] {
        assert_eq!(
            if_none_match(&ident, id, different).await,
            StatusCode::OK,
            "{different}"
        );
    }

    let renamed = patched(&ident, id, Kind::Merge, &json!({"name": "Bran"}));
    expect(renamed.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(if_none_match(&ident, id, &known).await, StatusCode::OK, "changed");
    assert_eq!(if_none_match(&ident, 77, "*").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_record_may_be_kept_by_its_client_only_and_must_be_asked_for_again() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let shown = ident.get(&format!("/{id}")).send().await.unwrap();
    assert_eq!(header(&shown, "cache-control"), "private, no-cache");
    let list = ident.get("/").send().await.unwrap();
    assert_eq!(header(&list, "cache-control"), "no-store");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let ident = IDENT.start(&[]).await;
    let document =
        json!({"name": "Robb", "email": "r@n", "services": {"a": {"id": "1", "access_token": "t"}}});
    let id = make_from(&ident, &document).await;
    make(&ident, "Jon", "j@w").await;
    for path in [
        format!("/{id}"),
        "/?page_size=1".to_owned(),
        format!("/{id}/services/a/token"),
    ] {
        let get = ident.get(&path).send().await.unwrap();
        let head = ident.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        for name in [
            "content-type",
            "content-length",
            "etag",
            "link",
            "vary",
            "cache-control",
        ] {
            assert_eq!(header(&head, name), header(&get, name), "{path}: {name}");
        }
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
    }
    let known = ident.request(Method::HEAD, &format!("/{id}"));
    let known = known.header("if-none-match", tag(&ident, id).await);
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_deleted_record_is_gone_and_what_it_had_is_free() {
    let ident = IDENT.start(&[]).await;
    let document = json!({"name": "Ned", "email": "ned@north", "services": {"github": {"id": "1", "access_token": "t"}, "x": {"id": "2"}}});
    let ned = make_from(&ident, &document).await;
    let jon = make(&ident, "Jon", "jon@wall").await;

    let deleted = ident.delete(&format!("/{ned}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(deleted.bytes().await.unwrap().len(), 0);

    let path = format!("/{ned}");
    problem(ident.get(&path), StatusCode::NOT_FOUND).await;
    problem(ident.delete(&path), StatusCode::NOT_FOUND).await;
    let (status, _) = token(&ident, ned, "github").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    problem(
        patched(&ident, ned, Kind::Merge, &json!({})),
        StatusCode::NOT_FOUND,
    )
    .await;
    let left = ident.get("/").send().await.unwrap();
    let left = expect(left, StatusCode::OK).await;
    assert_eq!(
        left,
        json!([{"id": jon, "name": "Jon", "email": "jon@wall", "services": {}}])
    );
    let owner = ident.get("/?service=github&service_id=1").send().await.unwrap();
    assert_eq!(expect(owner, StatusCode::OK).await, json!([]));

    let again = make_from(&ident, &document).await;
    assert!(again > jon, "an id is never used again");
    assert_eq!(
        record(&ident, again).await["services"],
        json!({"github": {"id": "1"}, "x": {"id": "2"}})
    );
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let (one, two) = (format!("/{id}"), format!("/{id}/services/github/token"));
    for (path, allowed) in [
        ("/", "GET, HEAD, POST"),
        (&one, "GET, HEAD, PATCH, DELETE"),
        (&two, "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let request = || ident.request(method.parse().unwrap(), path);
            let refused = request().send().await.unwrap();
            assert_eq!(header(&refused, "allow"), allowed, "{method} {path}");
            problem(request(), StatusCode::METHOD_NOT_ALLOWED).await;
        }
    }
    assert_eq!(record(&ident, id).await["name"], "Robb");
}

#[tokio::test]
async fn a_literal_path_wins_over_an_id() {
    let ident = IDENT.start(&[]).await;
    for (path, media_type) in [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ] {
        let answer = ident.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&answer, "content-type"), media_type, "{path}");
    }
    let docs = ident.get("/docs").send().await.unwrap();
    assert!(docs.status().is_redirection(), "{}", docs.status());
    assert_eq!(header(&docs, "location"), "docs/");
    // Also for methods that only records have.
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs"] {
        problem(ident.delete(path), StatusCode::METHOD_NOT_ALLOWED).await;
    }
}

#[tokio::test]
async fn there_is_nothing_at_other_paths() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    for path in [
        format!("/{id}/"),
        format!("//{id}"),
        format!("/{id}/services"),
        format!("/{id}/services/github"),
        format!("/{id}/services/github/token/"),
        format!("/{id}/services//token"),
        "/users/1".to_owned(),
    ] {
        problem(ident.get(&path), StatusCode::NOT_FOUND).await;
    }
}
