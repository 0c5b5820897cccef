//! The form of errors, for everything that can be wrong with a request.

use reqwest::Method;
use serde_json::json;

use crate::people::{administered, request, told};

#[tokio::test]
async fn unknown_paths_are_404() {
    let (idm, token) = administered(&[]).await;
    for path in ["/nothing", "/subject/a/b/c", "/link", "/auth/x", "/users"] {
        assert_eq!(
            told(request(&idm, &token, Method::GET, path)).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn other_methods_are_405_and_tell_which_are_allowed() {
    let (idm, token) = administered(&[]).await;
    for (path, allowed) in [
        ("/", "GET, HEAD"),
        ("/status", "GET, HEAD"),
        ("/auth", "POST"),
        ("/init", "GET, HEAD, POST"),
        ("/iforgot", "GET, HEAD, POST"),
        ("/reset", "GET, HEAD, POST"),
        ("/user", "POST, DELETE"),
        ("/user/a@example.org", "GET, HEAD, PUT"),
        ("/subject", "GET, HEAD, POST"),
        ("/subject/S-1", "GET, HEAD, PUT"),
        ("/subject/S-1/links", "GET, HEAD, POST"),
        ("/subject/S-1/audits", "GET, HEAD"),
        ("/link/1", "GET, HEAD, PUT"),
        ("/link/1/jwt", "GET, HEAD"),
        ("/link/1/qrcode", "GET, HEAD"),
        ("/establish", "POST"),
    ] {
        let answer = request(&idm, &token, Method::PATCH, path).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], allowed, "{path}");
        assert_eq!(
            told(request(&idm, &token, Method::PATCH, path)).await.0,
            405,
            "{path}"
        );
    }
}

#[tokio::test]
async fn malformed_json_is_400_wherever_json_is_read() {
    let (idm, token) = administered(&[]).await;
    crate::people::make_subject(&idm, &token, "S-1", &json!({})).await;
    let link = crate::people::make_link(&idm, &token, "S-2").await;
    let paths = [
        (Method::POST, "/auth".to_owned()),
        (Method::POST, "/user".to_owned()),
        (Method::DELETE, "/user".to_owned()),
        (Method::PUT, "/user/admin@example.org".to_owned()),
        (Method::POST, "/subject".to_owned()),
        (Method::PUT, "/subject/S-1".to_owned()),
        (Method::PUT, format!("/link/{link}")),
    ];
    let deep = "[".repeat(1000);
    for (method, path) in paths {
        for body in [
            "",
            "{",
            "[]",
            "7",
            "nonsense",
            r#"{"a": 1, "a": 2}"#,
            "\u{feff}{}",
            &deep,
        ] {
            let sent = request(&idm, &token, method.clone(), &path)
                .header("content-type", "application/json")
                .body(body.to_owned());
            // JSON of another kind is no username and password.
            let is_json = ["[]", "7"].contains(&body);
            let expected = if path == "/auth" && is_json { 401 } else { 400 };
            assert_eq!(told(sent).await.0, expected, "{method} {path} {body}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let (idm, token) = administered(&["server.body_limit=1KiB"]).await;
    let body = json!({"sssid": "S-1", "name": "a".repeat(2000), "bday": "1976-04-12"});
    assert_eq!(
        told(request(&idm, &token, Method::POST, "/subject").json(&body))
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn what_postgres_could_not_store_is_refused_before_it() {
    let (idm, token) = administered(&[]).await;
    for path in [
        "/subject/%00",
        "/subject/%00/links",
        "/subject/%00/audits",
        "/user/%00",
        "/link/%00",
        "/link/x/jwt",
    ] {
        assert_eq!(
            told(request(&idm, &token, Method::GET, path)).await.0,
            404,
            "{path}"
        );
    }
    assert_eq!(
        told(request(&idm, &token, Method::GET, "/subject?search=%00"))
            .await
            .0,
        200
    );
    for member in ["sssid", "name", "email"] {
        let mut body = json!({"sssid": "S-1", "name": "Mei", "bday": "1976-04-12"});
        body[member] = json!("a\u{0}b");
        assert_eq!(
            told(request(&idm, &token, Method::POST, "/subject").json(&body))
                .await
                .0,
            400,
            "{member}"
        );
    }
    let kept = json!({"sssid": "S-1", "name": "Mei", "bday": "1976-04-12", "note": "a\u{0}b"});
    assert_eq!(
        told(request(&idm, &token, Method::POST, "/subject").json(&kept))
            .await
            .0,
        201
    );
    let shown = told(request(&idm, &token, Method::GET, "/subject/S-1")).await.1;
    assert_eq!(
        shown["data"]["note"], "a\u{0}b",
        "other members are kept as they came"
    );
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let (idm, _) = administered(&[]).await;
    let document: serde_json::Value = idm
        .get("/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for path in [
        "/",
        "/status",
        "/auth",
        "/init",
        "/iforgot",
        "/reset",
        "/user",
        "/user/{username}",
        "/subject",
        "/subject/{sssid}",
        "/subject/{sssid}/links",
        "/subject/{sssid}/audits",
        "/link/{id}",
        "/link/{id}/jwt",
        "/link/{id}/qrcode",
        "/establish",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(idm.get("/docs/").send().await.unwrap().status(), 200);
}
