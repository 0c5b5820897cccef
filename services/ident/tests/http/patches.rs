//! Patches of a record: all operations, and both forms.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{Kind, expect, header, make_from, patched, record, tag};

async fn robb(ident: &TestService) -> i64 {
    let services = json!({"github": {"id": "25"}, "facebook": {"id": "75"}});
    make_from(
        ident,
        &json!({"name": "Robb", "email": "robb@north", "services": services}),
    )
    .await
}

/// The record after a patch, which must succeed; the answer must show what is stored.
async fn after(ident: &TestService, id: i64, kind: Kind, patch: &Value) -> Value {
    let before = tag(ident, id).await;
    let answer = patched(ident, id, kind, patch).send().await.unwrap();
    let (new, media_type) = (header(&answer, "etag"), header(&answer, "content-type"));
    let shown = expect(answer, StatusCode::OK).await;
    assert_eq!(media_type, "application/json");
    assert_eq!(shown, record(ident, id).await, "{patch}");
    assert_eq!(new, tag(ident, id).await, "{patch}");
    assert_ne!(new, before, "{patch}");
    assert_eq!(shown["id"], id);
    shown
}

/// The record after some operations on a fresh Robb, who is deleted again.
async fn robb_after(ident: &TestService, kind: Kind, patch: &Value) -> Value {
    let id = robb(ident).await;
    let mut shown = after(ident, id, kind, patch).await;
    let deleted = ident.delete(&format!("/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    shown.as_object_mut().unwrap().remove("id");
    shown
}

fn document(name: &str, email: &str, services: &Value) -> Value {
    json!({"name": name, "email": email, "services": services})
}

#[tokio::test]
async fn every_operation_of_a_json_patch_works() {
    let ident = IDENT.start(&[]).await;
    let (github, facebook) = (json!({"id": "25"}), json!({"id": "75"}));
    let both = json!({"github": github, "facebook": facebook});
    let cases = [
        (json!([]), document("Robb", "robb@north", &both)),
        (
            json!([{"op": "replace", "path": "/name", "value": " Bran \t"}]),
            document("Bran", "robb@north", &both),
        ),
        (
            json!([{"op": "add", "path": "/name", "value": "Bran"}]),
            document("Bran", "robb@north", &both),
        ),
        (
            json!([{"op": "add", "path": "/services/gitlab", "value": {"id": "1"}}]),
            document(
                "Robb",
                "robb@north",
                &json!({"github": github, "facebook": facebook, "gitlab": {"id": "1"}}),
            ),
        ),
        (
            json!([{"op": "remove", "path": "/services/github"}]),
            document("Robb", "robb@north", &json!({ "facebook": facebook })),
        ),
        (
            json!([{"op": "move", "from": "/services/github", "path": "/services/github2"}]),
            document(
                "Robb",
                "robb@north",
                &json!({"facebook": facebook, "github2": github}),
            ),
        ),
        (
            json!([{"op": "move", "from": "/services/facebook", "path": "/services/github"}]),
            document("Robb", "robb@north", &json!({ "github": facebook })),
        ),
        (
            json!([{"op": "copy", "from": "/services/github", "path": "/services/x"}]),
            document(
                "Robb",
                "robb@north",
                &json!({"github": github, "facebook": facebook, "x": github}),
            ),
        ),
        (
            json!([{"op": "copy", "from": "/name", "path": "/services/github/id"}]),
            document(
                "Robb",
                "robb@north",
                &json!({"github": {"id": "Robb"}, "facebook": facebook}),
            ),
        ),
        (
            json!([{"op": "test", "path": "/email", "value": "robb@north"},
                   {"op": "test", "path": "/services", "value": {"facebook": {"id": "75"}, "github": {"id": "25"}}},
                   {"op": "replace", "path": "/email", "value": "king@north"},
                   {"op": "test", "path": "/email", "value": "king@north"}]),
            document("Robb", "king@north", &both),
        ),
        (
            json!([{"op": "remove", "path": "/name"}, {"op": "add", "path": "/name", "value": "Bran"}]),
            document("Bran", "robb@north", &both),
        ),
        (
            json!([{"op": "add", "path": "/for-now", "value": {"deep": ["x"]}}, {"op": "remove", "path": "/for-now"}]),
            document("Robb", "robb@north", &both),
        ),
        (
            json!([{"op": "remove", "path": "/services"}]),
            document("Robb", "robb@north", &json!({})),
        ),
        // Members that no operation has are ignored (RFC 6902, 4).
        (
            json!([{"op": "replace", "path": "/name", "value": "Bran", "from": "/nowhere", "xyz": 1}]),
            document("Bran", "robb@north", &both),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            robb_after(&ident, Kind::Operations, &patch).await,
            expected,
            "{patch}"
        );
    }
    let id = robb(&ident).await;
    let whole =
        json!([{"op": "replace", "path": "", "value": {"id": id, "name": "Bran", "email": "bran@north"}}]);
    let shown = after(&ident, id, Kind::Operations, &whole).await;
    assert_eq!(
        shown,
        json!({"id": id, "name": "Bran", "email": "bran@north", "services": {}})
    );
}

#[tokio::test]
async fn a_merge_patch_replaces_adds_and_removes() {
    let ident = IDENT.start(&[]).await;
    let (github, facebook) = (json!({"id": "25"}), json!({"id": "75"}));
    let both = json!({"github": github, "facebook": facebook});
    let cases = [
        (json!({}), document("Robb", "robb@north", &both)),
        (json!({"name": " Bran "}), document("Bran", "robb@north", &both)),
        (json!({"nobody": null}), document("Robb", "robb@north", &both)),
        (
            json!({"services": {"github": null, "x": {"id": "1"}}}),
            document(
                "Robb",
                "robb@north",
                &json!({"facebook": facebook, "x": {"id": "1"}}),
            ),
        ),
        (
            json!({"services": {"github": {"id": "26"}, "nothing": null}}),
            document(
                "Robb",
                "robb@north",
                &json!({"github": {"id": "26"}, "facebook": facebook}),
            ),
        ),
        (json!({"services": {}}), document("Robb", "robb@north", &both)),
        (
            json!({"services": null}),
            document("Robb", "robb@north", &json!({})),
        ),
        (
            json!({"name": "Bran", "email": "ROBB@NORTH", "services": {"facebook": null}}),
            document("Bran", "ROBB@NORTH", &json!({ "github": github })),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(robb_after(&ident, Kind::Merge, &patch).await, expected, "{patch}");
    }
    let id = robb(&ident).await;
    let shown = after(&ident, id, Kind::Merge, &json!({"id": id, "name": "Bran"})).await;
    assert_eq!(shown["name"], "Bran", "the id that it has may be sent");
}

#[tokio::test]
async fn what_is_patched_is_found_by_what_it_is_now() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let patch = json!({"name": "Bran Stark", "email": "bran@tree", "services": {"github": {"id": "26"}}});
    after(&ident, id, Kind::Merge, &patch).await;
    for (query, found) in [
        ("name=bran", true),
        ("name=robb", false),
        ("email=BRAN@tree", true),
        ("email=robb@north", false),
        ("service=github&service_id=26", true),
        ("service=github&service_id=25", false),
        ("service=facebook&service_id=75", true),
    ] {
        let list = ident.get(&format!("/?{query}")).send().await.unwrap();
        let list = expect(list, StatusCode::OK).await;
        assert_eq!(list.as_array().unwrap().len(), usize::from(found), "{query}");
    }
}
