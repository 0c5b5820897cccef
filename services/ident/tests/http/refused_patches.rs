//! Patches that are refused, and that change nothing then.

use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::json;

use crate::IDENT;
use crate::people::{Kind, expect, header, kind, make, make_from, patched, pointers, problem, record, tag};

async fn robb(ident: &TestService) -> i64 {
    let services = json!({"github": {"id": "25"}, "facebook": {"id": "75"}});
    make_from(
        ident,
        &json!({"name": "Robb", "email": "robb@north", "services": services}),
    )
    .await
}

#[tokio::test]
async fn only_patches_are_taken() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let before = tag(&ident, id).await;
    for media_type in [
        Some("application/json"),
        Some("text/plain"),
        Some("application/merge-patch"),
        Some("application/json-patch"),
        Some("application/*"),
        Some(""),
        None,
    ] {
        let request = || {
            let request = ident.patch(&format!("/{id}")).body(r#"{"name": "Bran"}"#);
            match media_type {
                Some(media_type) => request.header("content-type", media_type),
                None => request,
            }
        };
        problem(request(), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        let accepted = header(&request().send().await.unwrap(), "accept-patch");
        let mut accepted: Vec<_> = accepted.split(',').map(str::trim).collect();
        accepted.sort_unstable();
        assert_eq!(
            accepted,
            [Kind::Operations.media_type(), Kind::Merge.media_type()],
            "{media_type:?}"
        );
    }
    assert_eq!(tag(&ident, id).await, before);
    for media_type in [
        "application/merge-patch+json; charset=utf-8",
        "Application/Merge-Patch+JSON",
    ] {
        let request = ident.patch(&format!("/{id}")).header("content-type", media_type);
        let answer = request.body(r#"{"name": "Bran"}"#).send().await.unwrap();
        expect(answer, StatusCode::OK).await;
    }
}

#[tokio::test]
async fn what_is_no_patch_is_refused() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let before = tag(&ident, id).await;
    let valid = json!({"op": "replace", "path": "/name", "value": "Bran"});
    for patch in [json!({}), json!(null), json!("x"), valid.clone()] {
        let refused = problem(
            patched(&ident, id, Kind::Operations, &patch),
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(pointers(&refused), [""], "{patch}");
    }
    for patch in [
        json!([valid, null]),
        json!([valid, "remove"]),
        json!([valid, []]),
        json!([valid, {}]),
        json!([valid, {"path": "/name", "value": "x"}]),
        json!([valid, {"op": "spam", "path": "/name", "value": "x"}]),
        json!([valid, {"op": "ADD", "path": "/name", "value": "x"}]),
        json!([valid, {"op": null, "path": "/name", "value": "x"}]),
        // An operation is an object, and its name a text.
        json!([valid, {"op": 0, "path": "/name", "value": "x"}]),
        json!([valid, ["add", "/name", "x"]]),
        json!([valid, {"op": "add", "value": "x"}]),
        json!([valid, {"op": "add", "path": 1, "value": "x"}]),
        json!([valid, {"op": "add", "path": null, "value": "x"}]),
        json!([valid, {"op": "add", "path": "name", "value": "x"}]),
        json!([valid, {"op": "add", "path": "name/", "value": "x"}]),
        json!([valid, {"op": "add", "path": "#/name", "value": "x"}]),
        json!([valid, {"op": "add", "path": "/na~2me", "value": "x"}]),
        json!([valid, {"op": "add", "path": "/name~", "value": "x"}]),
        json!([valid, {"op": "add", "path": "/name"}]),
        json!([valid, {"op": "replace", "path": "/name"}]),
        json!([valid, {"op": "test", "path": "/name"}]),
        json!([valid, {"op": "move", "path": "/name"}]),
        json!([valid, {"op": "copy", "path": "/name"}]),
        json!([valid, {"op": "copy", "from": "email", "path": "/name"}]),
        json!([valid, {"op": "remove"}]),
    ] {
        let refused = problem(
            patched(&ident, id, Kind::Operations, &patch),
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(kind(&refused), "invalid", "{patch}");
        assert_eq!(pointers(&refused), ["/1"], "{patch}");
    }
    for body in [
        "",
        "{",
        "[",
        "[{]",
        "[] []",
        "{\"name\": \"a\", \"name\": \"b\"}",
        "[{\"op\": \"add\", \"op\": \"remove\", \"path\": \"/x\"}]",
    ] {
        for form in [Kind::Operations, Kind::Merge] {
            let request = ident
                .patch(&format!("/{id}"))
                .header("content-type", form.media_type());
            let refused = problem(request.body(body), StatusCode::BAD_REQUEST).await;
            assert_eq!(kind(&refused), "malformed", "{body}");
        }
    }
    assert_eq!(tag(&ident, id).await, before);
}

#[tokio::test]
async fn an_operation_that_fails_is_named_and_nothing_is_changed() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let before = tag(&ident, id).await;
    for failing in [
        json!({"op": "test", "path": "/name", "value": "robb"}),
        json!({"op": "test", "path": "/name", "value": null}),
        json!({"op": "test", "path": "/id", "value": id.to_string()}),
        json!({"op": "test", "path": "/services", "value": {"github": {"id": "25"}, "facebook": {"id": "75"}}}),
        json!({"op": "test", "path": "/nothing", "value": null}),
        json!({"op": "test", "path": "/name/", "value": "Bran"}),
        json!({"op": "remove", "path": "/nothing"}),
        json!({"op": "remove", "path": "/services/gitlab"}),
        json!({"op": "remove", "path": ""}),
        json!({"op": "replace", "path": "/nothing", "value": "x"}),
        json!({"op": "replace", "path": "/services/gitlab", "value": {"id": "1"}}),
        json!({"op": "add", "path": "/nothing/deep", "value": "x"}),
        json!({"op": "add", "path": "/name/first", "value": "x"}),
        json!({"op": "add", "path": "/name/0", "value": "x"}),
        json!({"op": "move", "from": "/nothing", "path": "/name"}),
        json!({"op": "move", "from": "/services", "path": "/services/github"}),
        json!({"op": "move", "from": "", "path": "/services/all"}),
        json!({"op": "copy", "from": "/nothing", "path": "/name"}),
        json!({"op": "copy", "from": "/name", "path": "/nothing/deep"}),
    ] {
        // What went before is undone too.
        let patch = json!([{"op": "replace", "path": "/name", "value": "Bran"},
                           {"op": "remove", "path": "/services/facebook"}, failing]);
        let refused = problem(
            patched(&ident, id, Kind::Operations, &patch),
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(kind(&refused), "patch-failed", "{patch}");
        assert_eq!(pointers(&refused), ["/2"], "{patch}");
    }
    let shown = record(&ident, id).await;
    assert_eq!(
        shown,
        json!({"id": id, "name": "Robb", "email": "robb@north", "services": {"github": {"id": "25"}, "facebook": {"id": "75"}}})
    );
    assert_eq!(tag(&ident, id).await, before);
}

#[tokio::test]
async fn a_patched_record_that_is_not_valid_is_refused() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let before = tag(&ident, id).await;
    let merges = [
        (json!({"name": 5}), "/name"),
        (json!({"name": null}), "/name"),
        (json!({"name": " "}), "/name"),
        (json!({"name": "a\u{0}b"}), "/name"),
        (json!({"name": "x".repeat(256)}), "/name"),
        (json!({"email": []}), "/email"),
        (json!({"email": null}), "/email"),
        (json!({"nick": "king"}), "/nick"),
        (json!({"id": id + 1}), "/id"),
        (json!({"id": id.to_string()}), "/id"),
        (json!({"id": null}), "/id"),
        (json!({"services": []}), "/services"),
        (json!({"services": {"github": "25"}}), "/services/github"),
        (
            json!({"services": {"github": {"id": null}}}),
            "/services/github/id",
        ),
        (
            json!({"services": {"github": {"secret": 1}}}),
            "/services/github/secret",
        ),
        (json!({"services": {"x": {}}}), "/services/x/id"),
        (json!({"services": {"X": {"id": "1"}}}), "/services/X"),
        (
            json!({"services": {"github": {"access_token": 1}}}),
            "/services/github/access_token",
        ),
        (json!([]), ""),
        (json!("x"), ""),
        (json!(null), ""),
    ];
    let operations = [
        (json!([{"op": "replace", "path": "/name", "value": 5}]), "/name"),
        (json!([{"op": "remove", "path": "/name"}]), "/name"),
        (
            json!([{"op": "move", "from": "/name", "path": "/email"}]),
            "/name",
        ),
        (json!([{"op": "add", "path": "/nick", "value": "king"}]), "/nick"),
        (json!([{"op": "add", "path": "/a~1b~0c", "value": 1}]), "/a~1b~0c"),
        (json!([{"op": "remove", "path": "/id"}]), "/id"),
        (json!([{"op": "replace", "path": "/id", "value": id + 1}]), "/id"),
        (json!([{"op": "copy", "from": "/name", "path": "/id"}]), "/id"),
        (
            json!([{"op": "replace", "path": "/services", "value": null}]),
            "/services",
        ),
        (
            json!([{"op": "copy", "from": "/services", "path": "/services/all"}]),
            "/services/all/id",
        ),
        (json!([{"op": "replace", "path": "", "value": []}]), ""),
    ];
    let merges = merges.map(|(patch, pointer)| (Kind::Merge, patch, pointer));
    let operations = operations.map(|(patch, pointer)| (Kind::Operations, patch, pointer));
    for (form, patch, pointer) in merges.into_iter().chain(operations) {
        let request = patched(&ident, id, form, &patch);
        let refused = problem(request, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(pointers(&refused).contains(&pointer), "{patch}: {refused}");
        assert_eq!(kind(&refused), "invalid");
    }
    assert_eq!(tag(&ident, id).await, before);
}

#[tokio::test]
async fn a_conflict_changes_nothing() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    make(&ident, "Jon", "jon@wall").await;
    let arya = json!({"name": "Arya", "email": "arya@north", "services": {"gitlab": {"id": "1"}}});
    make_from(&ident, &arya).await;
    let (before, record_before) = (tag(&ident, id).await, record(&ident, id).await);
    for (patch, expected) in [
        (
            json!({"name": "Bran", "email": "JON@wall", "services": {"github": null, "x": {"id": "9"}}}),
            "email-taken",
        ),
        (json!({"email": "ｊon@wall"}), "email-taken"),
        (
            json!({"name": "Bran", "email": "bran@north", "services": {"github": null, "gitlab": {"id": "1"}}}),
            "account-taken",
        ),
    ] {
        let refused = problem(patched(&ident, id, Kind::Merge, &patch), StatusCode::CONFLICT).await;
        assert_eq!(kind(&refused), expected, "{patch}");
        assert!(!pointers(&refused).is_empty());
        assert_eq!(record(&ident, id).await, record_before);
        assert_eq!(tag(&ident, id).await, before);
    }
    // What the refused patches wanted is free, and the own address no conflict.
    let bran = json!({"name": "Bran", "email": "bran@north", "services": {"x": {"id": "9"}}});
    make_from(&ident, &bran).await;
    let own = patched(&ident, id, Kind::Merge, &json!({"email": "ROBB@north"}));
    let shown = expect(own.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(shown["email"], "ROBB@north");
}
