//! Patches that meet others, come too late, or are made to do harm.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{Kind, expect, header, kind, make, make_from, patched, pointers, problem, record, tag};

/// What is refused at once, is refused within this time on a busy machine and without optimisation.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn status_if(ident: &TestService, id: i64, expected: &str, patch: &Value) -> StatusCode {
    let request = patched(ident, id, Kind::Merge, patch).header("if-match", expected);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    if status == StatusCode::OK {
        assert_eq!(header(&answer, "etag"), tag(ident, id).await);
    }
    status
}

#[tokio::test]
async fn a_patch_of_another_version_is_refused() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let first = tag(&ident, id).await;
    let patch = json!({"name": "Bran"});
    let unquoted = first.trim_matches('"').to_owned();
    for other in [
        "\"other\"".to_owned(),
        "\"a\", \"b\"".to_owned(),
        // Only the strong comparison counts (RFC 9110, 13.1.1).
        format!("W/{first}"),
        format!("W/{first}, \"a\""),
        unquoted,
        String::new(),
    ] {
        let status = status_if(&ident, id, &other, &patch).await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{other}");
        let request = patched(&ident, id, Kind::Merge, &patch).header("if-match", &other);
        problem(request, StatusCode::PRECONDITION_FAILED).await;
    }
    assert_eq!(record(&ident, id).await["name"], "Robb");
    assert_eq!(tag(&ident, id).await, first);

    assert_eq!(status_if(&ident, id, &first, &patch).await, StatusCode::OK);
    let second = tag(&ident, id).await;
    assert_ne!(first, second);
    let stale = status_if(&ident, id, &first, &json!({"name": "Rickon"})).await;
    assert_eq!(stale, StatusCode::PRECONDITION_FAILED);
    assert_eq!(record(&ident, id).await["name"], "Bran");

    let list = format!("\"a\", {second} , W/\"b\"");
    assert_eq!(status_if(&ident, id, &list, &patch).await, StatusCode::OK);
    assert_eq!(status_if(&ident, id, "*", &patch).await, StatusCode::OK);
    assert_eq!(status_if(&ident, 77, "*", &patch).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_tag_is_never_given_to_two_versions() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let mut tags = vec![tag(&ident, id).await];
    for name in ["Bran", "Robb", "Bran", "Robb"] {
        let request = patched(&ident, id, Kind::Merge, &json!({ "name": name }));
        tags.push(header(&request.send().await.unwrap(), "etag"));
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 5);
}

#[tokio::test]
async fn of_many_patches_of_one_version_one_succeeds() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let first = tag(&ident, id).await;
    let patches = (0..20).map(|number| {
        let patch = json!({"name": format!("Robb {number}")});
        patched(&ident, id, Kind::Merge, &patch)
            .header("if-match", &first)
            .send()
    });
    let statuses: Vec<_> = join_all(patches)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().status())
        .collect();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(
        (count(StatusCode::OK), count(StatusCode::PRECONDITION_FAILED)),
        (1, 19),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn patches_at_the_same_time_are_all_visible() {
    let first = IDENT.start(&[]).await;
    let second = IDENT.start_on(first.database.clone(), &first.clock, &[]).await;
    let id = make(&first, "Robb", "robb@north").await;
    let patches = (0..20).map(|number| {
        let ident = if number % 3 == 0 { &second } else { &first };
        let name = format!("service{number}");
        if number % 2 == 0 {
            let patch = json!([{"op": "add", "path": format!("/services/{name}"), "value": {"id": number.to_string()}}]);
            patched(ident, id, Kind::Operations, &patch).send()
        } else {
            let patch = json!({"services": {name: {"id": number.to_string()}}});
            patched(ident, id, Kind::Merge, &patch).send()
        }
    });
    let mut tags = Vec::new();
    for answer in join_all(patches).await {
        let answer = answer.unwrap();
        tags.push(header(&answer, "etag"));
        expect(answer, StatusCode::OK).await;
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 20, "each made a version of its own");
    let expected: serde_json::Map<_, _> = (0..20)
        .map(|number| (format!("service{number}"), json!({"id": number.to_string()})))
        .collect();
    assert_eq!(record(&first, id).await["services"], Value::Object(expected));
}

#[tokio::test]
async fn a_patch_and_a_deletion_at_the_same_time_leave_no_half_record() {
    let ident = IDENT.start(&[]).await;
    for number in 0..10 {
        let id = make(&ident, "Robb", &format!("robb{number}@north")).await;
        let patch = json!({"services": {"github": {"id": "1"}}});
        let (patched, deleted) = tokio::join!(
            patched(&ident, id, Kind::Merge, &patch).send(),
            ident.delete(&format!("/{id}")).send()
        );
        let status = patched.unwrap().status();
        assert!(matches!(status.as_u16(), 200 | 404), "{status}");
        assert_eq!(deleted.unwrap().status(), StatusCode::NO_CONTENT);
        problem(ident.get(&format!("/{id}")), StatusCode::NOT_FOUND).await;
    }
    let owner = ident.get("/?service=github&service_id=1").send().await.unwrap();
    assert_eq!(expect(owner, StatusCode::OK).await, json!([]));
}

#[tokio::test]
async fn two_services_exchange_their_accounts_in_one_patch() {
    let ident = IDENT.start(&[]).await;
    let document =
        json!({"name": "Robb", "email": "robb@north", "services": {"a": {"id": "1"}, "b": {"id": "2"}}});
    let id = make_from(&ident, &document).await;
    let swapped = json!({"a": {"id": "2"}, "b": {"id": "1"}});
    let merge = json!({ "services": swapped });
    let answer = patched(&ident, id, Kind::Merge, &merge).send().await.unwrap();
    assert_eq!(expect(answer, StatusCode::OK).await["services"], swapped);
    let moves = json!([{"op": "move", "from": "/services/a", "path": "/services/c"},
                       {"op": "move", "from": "/services/b", "path": "/services/a"},
                       {"op": "move", "from": "/services/c", "path": "/services/b"}]);
    let answer = patched(&ident, id, Kind::Operations, &moves)
        .send()
        .await
        .unwrap();
    assert_eq!(
        expect(answer, StatusCode::OK).await["services"],
        json!({"a": {"id": "1"}, "b": {"id": "2"}})
    );
    assert_eq!(
        record(&ident, id).await["services"],
        json!({"a": {"id": "1"}, "b": {"id": "2"}})
    );
}

#[tokio::test]
async fn services_that_are_no_longer_allowed_stay_but_no_more_are_linked() {
    let ident = IDENT.start(&[]).await;
    let document = json!({"name": "Robb", "email": "robb@north", "services": {"myspace": {"id": "1"}}});
    let id = make_from(&ident, &document).await;
    let strict = IDENT
        .start_on(ident.database.clone(), &ident.clock, &["services.allowed=github"])
        .await;
    let patch = json!({"name": "Bran", "services": {"github": {"id": "2"}}});
    let answer = patched(&strict, id, Kind::Merge, &patch).send().await.unwrap();
    assert_eq!(
        expect(answer, StatusCode::OK).await["services"],
        json!({"github": {"id": "2"}, "myspace": {"id": "1"}})
    );
    let patch = json!({"services": {"gitlab": {"id": "2"}}});
    let request = patched(&strict, id, Kind::Merge, &patch);
    let refused = problem(request, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(pointers(&refused), ["/services/gitlab"]);
    let patch = json!({"services": {"myspace": null}});
    expect(
        patched(&strict, id, Kind::Merge, &patch).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let patch = json!({"services": {"myspace": {"id": "1"}}});
    problem(
        patched(&strict, id, Kind::Merge, &patch),
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
}

/// Refused at once, and the record is as before.
async fn is_refused_at_once(ident: &TestService, id: i64, patch: &Value) {
    let before = record(ident, id).await;
    let began = Instant::now();
    let refused = problem(
        patched(ident, id, Kind::Operations, patch),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(kind(&refused), "patch-failed", "{refused}");
    assert_eq!(record(ident, id).await, before);
}

#[tokio::test]
async fn copies_of_copies_do_not_fill_the_memory() {
    let ident = IDENT.start(&[]).await;
    let document = json!({"name": "Robb", "email": "robb@north", "services": {"github": {"id": "25"}}});
    let id = make_from(&ident, &document).await;
    let doubling: Value = (0..500)
        .map(|number| json!({"op": "copy", "from": "/services", "path": format!("/services/x{number}")}))
        .collect();
    is_refused_at_once(&ident, id, &doubling).await;
    let mut list = vec![json!({"op": "add", "path": "/x", "value": ["x".repeat(100)]})];
    list.extend((0..500).map(|_| json!({"op": "copy", "from": "/x", "path": "/x/-"})));
    is_refused_at_once(&ident, id, &list.into()).await;
    let mut long = vec![json!({"op": "add", "path": "/x", "value": "x".repeat(30_000)})];
    long.extend((0..500).map(|number| json!({"op": "copy", "from": "/x", "path": format!("/x{number}")})));
    is_refused_at_once(&ident, id, &long.into()).await;
}

/// JSON that is read nests at most 128 deep, but patches can build what nests deeper than the stack is.
#[tokio::test]
async fn patches_do_not_build_what_nests_without_end() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, "Robb", "robb@north").await;
    let nested = |levels| -> Value { (1..levels).fold(json!([]), |inner, _| json!([inner])) };
    // Each copy into its own innermost list doubles the depth.
    let mut doubling = vec![json!({"op": "add", "path": "/x", "value": nested(100)})];
    doubling.extend((0..8).map(
        |number| json!({"op": "copy", "from": "/x", "path": format!("/x{}", "/0".repeat(100 << number))}),
    ));
    is_refused_at_once(&ident, id, &doubling.into()).await;
    // Each move puts the old below the new, with short paths.
    let mut moving = vec![json!({"op": "add", "path": "/x", "value": []})];
    for _ in 0..60 {
        moving.extend([
            json!({"op": "add", "path": "/y", "value": nested(120)}),
            json!({"op": "move", "from": "/x", "path": format!("/y{}", "/0".repeat(120))}),
            json!({"op": "move", "from": "/y", "path": "/x"}),
        ]);
    }
    is_refused_at_once(&ident, id, &moving.into()).await;
    // Each addition lies at the end of the one before.
    let adding: Value = (0..20)
        .map(|number| json!({"op": "add", "path": format!("/x{}", "/0".repeat(120 * number)), "value": nested(121)}))
        .collect();
    is_refused_at_once(&ident, id, &adding).await;
    let deep = json!([{"op": "add", "path": "/x", "value": nested(200)}]);
    let refused = problem(
        patched(&ident, id, Kind::Operations, &deep),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert_eq!(kind(&refused), "malformed");
}

#[tokio::test]
async fn ten_thousand_operations_are_done_in_bounded_time() {
    let ident = IDENT.start(&["server.body_limit=2MiB"]).await;
    let document = json!({"name": "Robb", "email": "robb@north", "services": {"github": {"id": "25"}}});
    let id = make_from(&ident, &document).await;
    let operations = |make: &dyn Fn(usize) -> Value| (0..10_000).map(make).collect::<Value>();
    let began = Instant::now();
    let replacing =
        operations(&|number| json!({"op": "replace", "path": "/name", "value": format!("Robb {number}")}));
    let answer = patched(&ident, id, Kind::Operations, &replacing)
        .send()
        .await
        .unwrap();
    assert_eq!(expect(answer, StatusCode::OK).await["name"], "Robb 9999");
    let moving = operations(&|number| {
        let (from, to) = if number % 2 == 0 {
            ("github", "x")
        } else {
            ("x", "github")
        };
        json!({"op": "move", "from": format!("/services/{from}"), "path": format!("/services/{to}")})
    });
    let answer = patched(&ident, id, Kind::Operations, &moving)
        .send()
        .await
        .unwrap();
    expect(answer, StatusCode::OK).await;
    let adding = operations(
        &|number| json!({"op": "add", "path": format!("/services/s{number}"), "value": {"id": "1"}}),
    );
    let refused = problem(
        patched(&ident, id, Kind::Operations, &adding),
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    assert_eq!(pointers(&refused), ["/services"]);
    let mut front = vec![json!({"op": "add", "path": "/x", "value": []})];
    front.extend((0..9999).map(|_| json!({"op": "add", "path": "/x/0", "value": 1})));
    problem(
        patched(&ident, id, Kind::Operations, &front.into()),
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    assert!(began.elapsed() < 4 * AT_ONCE, "{:?}", began.elapsed());
}
