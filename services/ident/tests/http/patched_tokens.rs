//! What patches do to access tokens, and that they cannot read them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{Kind, expect, make_from, patched, problem, tag, token};

const SECRET: &str = "gho_s3cret-of-robb";
/// Where a patch can write the token of github.
const TOKEN: &str = "/services/github/access_token";

async fn robb(ident: &TestService) -> i64 {
    let services = json!({"github": {"id": "25", "access_token": SECRET}, "facebook": {"id": "75"}, "x": {"id": "1", "access_token": null}});
    make_from(
        ident,
        &json!({"name": "Robb", "email": "robb@north", "services": services}),
    )
    .await
}

/// What becomes of the tokens of github and facebook by a patch.
async fn after(ident: &TestService, kind: Kind, patch: Value) -> [Option<String>; 2] {
    let id = make_from(
        ident,
        &json!({"name": "Robb", "email": "robb@north", "services": {
            "github": {"id": "25", "access_token": "first"}, "facebook": {"id": "75", "access_token": "second"}}}),
    )
    .await;
    let request = patched(ident, id, kind, &patch);
    expect(request.send().await.unwrap(), StatusCode::OK).await;
    let of = async |service| {
        let (_, body) = token(ident, id, service).await;
        body["access_token"].as_str().map(ToOwned::to_owned)
    };
    let tokens = [of("github").await, of("facebook").await];
    let deleted = ident.delete(&format!("/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    tokens
}

#[tokio::test]
async fn a_token_is_kept_as_long_as_its_account_is_the_same() {
    let ident = IDENT.start(&[]).await;

    let kept: &[(Kind, Value)] = &[
        (Kind::Merge, json!({})),
        (Kind::Merge, json!({"name": "Bran", "email": "bran@north"})),
        (Kind::Merge, json!({"services": {"github": {"id": "25"}}})),
        (
            Kind::Merge,
            json!({"services": {"github": {"id": " 25 "}, "x": {"id": "1"}}}),
        ),
        (Kind::Operations, json!([])),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services/github", "value": {"id": "25"}}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services", "value": {"github": {"id": "25"}, "facebook": {"id": "75"}}}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "move", "from": "/services/github", "path": "/services/x"},
                   {"op": "move", "from": "/services/x", "path": "/services/github"}]),
        ),
    ];
    for (kind, patch) in kept {
        let tokens = after(&ident, *kind, patch.clone()).await;
        assert_eq!(
            tokens,
            [Some("first".to_owned()), Some("second".to_owned())],
            "{patch}"
        );
    }
}

#[tokio::test]
async fn a_token_is_replaced() {
    let ident = IDENT.start(&[]).await;
    let replaced: &[(Kind, Value)] = &[
        (
            Kind::Merge,
            json!({"services": {"github": {"access_token": "new"}}}),
        ),
        (
            Kind::Merge,
            json!({"services": {"github": {"id": "26", "access_token": "new"}}}),
        ),
        (
            Kind::Operations,
            json!([{"op": "add", "path": TOKEN, "value": "new"}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "add", "path": TOKEN, "value": "old"}, {"op": "test", "path": TOKEN, "value": "old"},
                   {"op": "replace", "path": TOKEN, "value": "new"}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services/github", "value": {"id": "26", "access_token": "new"}}]),
        ),
    ];
    for (kind, patch) in replaced {
        let tokens = after(&ident, *kind, patch.clone()).await;
        assert_eq!(
            tokens,
            [Some("new".to_owned()), Some("second".to_owned())],
            "{patch}"
        );
    }
}

#[tokio::test]
async fn a_token_is_removed_by_null_or_with_its_account() {
    let ident = IDENT.start(&[]).await;
    let removed: &[(Kind, Value)] = &[
        (
            Kind::Merge,
            json!({"services": {"github": {"access_token": null}}}),
        ),
        (
            Kind::Merge,
            json!({"services": {"github": {"id": "25", "access_token": null}}}),
        ),
        (
            Kind::Operations,
            json!([{"op": "add", "path": TOKEN, "value": null}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services/github", "value": {"id": "25", "access_token": null}}]),
        ),
        // Of another account, the token is not this one's.
        (Kind::Merge, json!({"services": {"github": {"id": "26"}}})),
        (
            Kind::Merge,
            json!({"services": {"github": {"id": "26", "access_token": null}}}),
        ),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services/github/id", "value": "26"}]),
        ),
        (Kind::Merge, json!({"services": {"github": null}})),
        (
            Kind::Operations,
            json!([{"op": "remove", "path": "/services/github"}]),
        ),
        (
            Kind::Operations,
            json!([{"op": "move", "from": "/services/github", "path": "/services/x"}]),
        ),
    ];
    for (kind, patch) in removed {
        let tokens = after(&ident, *kind, patch.clone()).await;
        assert_eq!(tokens, [None, Some("second".to_owned())], "{patch}");
    }
}

#[tokio::test]
async fn all_tokens_go_where_all_accounts_do() {
    let ident = IDENT.start(&[]).await;
    // Where all go, by whichever way.
    for (kind, patch) in [
        (Kind::Merge, json!({"services": null})),
        (Kind::Operations, json!([{"op": "remove", "path": "/services"}])),
        (
            Kind::Operations,
            json!([{"op": "replace", "path": "/services/github/id", "value": "75"}, {"op": "replace", "path": "/services/facebook/id", "value": "25"}]),
        ),
    ] {
        assert_eq!(after(&ident, kind, patch.clone()).await, [None, None], "{patch}");
    }
}

#[tokio::test]
async fn a_token_does_not_come_back_with_its_account() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    for account in ["26", "25"] {
        let patch = json!({"services": {"github": {"id": account}}});
        let request = patched(&ident, id, Kind::Merge, &patch);
        expect(request.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(token(&ident, id, "github").await.0, StatusCode::NOT_FOUND);
    }
}

/// A guess that is tested must not be told from another one.
#[tokio::test]
async fn a_patch_cannot_read_a_token() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let before = tag(&ident, id).await;

    let mut answers = Vec::new();
    for guess in [json!(SECRET), json!("wrong"), Value::Null] {
        let patch = json!([{"op": "test", "path": TOKEN, "value": guess}]);
        answers.push(
            problem(
                patched(&ident, id, Kind::Operations, &patch),
                StatusCode::BAD_REQUEST,
            )
            .await,
        );
        let patch =
            json!([{"op": "test", "path": "/services/github", "value": {"id": "25", "access_token": guess}}]);
        answers.push(
            problem(
                patched(&ident, id, Kind::Operations, &patch),
                StatusCode::BAD_REQUEST,
            )
            .await,
        );
    }
    for window in answers.windows(3) {
        assert_eq!(window[0], window[2], "right or wrong, it is the same answer");
    }
    for patch in [
        json!([{"op": "copy", "from": TOKEN, "path": "/name"}]),
        json!([{"op": "move", "from": TOKEN, "path": "/name"}]),
        json!([{"op": "copy", "from": TOKEN, "path": "/services/facebook/id"}]),
        json!([{"op": "remove", "path": TOKEN}]),
        json!([{"op": "replace", "path": TOKEN, "value": "new"}]),
    ] {
        problem(
            patched(&ident, id, Kind::Operations, &patch),
            StatusCode::BAD_REQUEST,
        )
        .await;
    }
    assert_eq!(tag(&ident, id).await, before);
    assert_eq!(token(&ident, id, "github").await.1["access_token"], SECRET);
}
