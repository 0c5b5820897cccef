//! Access tokens of linked accounts: written, taken by those who may, and seen nowhere else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use data_encoding::HEXLOWER;
use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{Kind, header, kind, make, make_from, patched, problem, record, token};

const SECRET: &str = "gho_s3cret-of-robb";

async fn robb(ident: &TestService) -> i64 {
    let services = json!({"github": {"id": "25", "access_token": SECRET}, "facebook": {"id": "75"}, "x": {"id": "1", "access_token": null}});
    make_from(
        ident,
        &json!({"name": "Robb", "email": "robb@north", "services": services}),
    )
    .await
}

#[tokio::test]
async fn a_token_is_given_at_its_own_path_and_kept_by_nobody() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let answer = ident
        .get(&format!("/{id}/services/github/token"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), "application/json");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    assert_eq!(header(&answer, "etag"), "");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({"access_token": SECRET}));
}

#[tokio::test]
async fn a_token_of_any_text_comes_back_as_it_was_sent() {
    let ident = IDENT.start(&[]).await;
    let long = "é".repeat(8 * 1024);
    for (number, secret) in ["x", " kept as it is ", "\"\\\u{0}\n\u{1F43A}", &long]
        .into_iter()
        .enumerate()
    {
        let document = json!({"name": "A", "email": format!("{number}@x"), "services": {"github": {"id": number.to_string(), "access_token": secret}}});
        let id = make_from(&ident, &document).await;
        assert_eq!(
            token(&ident, id, "github").await,
            (StatusCode::OK, json!({"access_token": secret}))
        );
    }
}

#[tokio::test]
async fn where_there_is_no_token_there_is_nothing() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let other = make(&ident, "Jon", "jon@wall").await;
    for path in [
        // No token, no token any more, no such account, nobody, no name of a service.
        format!("/{id}/services/facebook/token"),
        format!("/{id}/services/x/token"),
        format!("/{id}/services/gitlab/token"),
        format!("/{other}/services/github/token"),
        "/77/services/github/token".to_owned(),
        format!("/{id}/services/GitHub/token"),
        format!("/{id}/services/git%00hub/token"),
        format!("/{id}/services/%FF/token"),
        format!("/{id}/services/github%20/token"),
        format!("/0{id}/services/github/token"),
    ] {
        problem(ident.get(&path), StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test]
async fn a_token_is_in_no_other_answer() {
    let ident = IDENT.start(&[]).await;
    let services = json!({"github": {"id": "25", "access_token": SECRET}});
    let document = json!({"name": "Robb", "email": "robb@north", "services": services});
    let mut answers = Vec::new();
    for request in [
        ident.post("/").json(&document),
        ident.post("/").json(&document),
        ident
            .post("/")
            .json(&json!({"name": 1, "email": "", "services": {"github": {"id": "", "access_token": SECRET, "x": SECRET}}})),
        ident.get("/1"),
        ident.get("/"),
        ident.get("/?service=github&service_id=25"),
        ident
            .patch("/1")
            .header("content-type", "application/merge-patch+json")
            .json(&json!({"name": "Bran", "services": services})),
        ident
            .patch("/1")
            .header("content-type", "application/json-patch+json")
            .json(&json!([{"op": "add", "path": "/services/github/access_token", "value": SECRET}])),
        ident
            .patch("/1")
            .header("content-type", "application/json-patch+json")
            .json(&json!([{"op": "test", "path": "/services/github/access_token", "value": SECRET}])),
    ] {
        let answer = request.send().await.unwrap();
        let head = format!("{answer:?}");
        answers.push(format!("{head} {}", answer.text().await.unwrap()));
    }
    for answer in &answers {
        assert!(
            !answer.contains(SECRET) && !answer.contains("access_token\":"),
            "{answer}"
        );
    }
    assert_eq!(
        record(&ident, 1).await["services"],
        json!({"github": {"id": "25"}})
    );
    assert_eq!(
        token(&ident, 1, "github").await.0,
        StatusCode::OK,
        "it was there to be seen"
    );
}

#[tokio::test]
async fn a_dump_of_the_database_tells_no_token() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let newer = "gho_s3cret-that-is-newer";
    let patch = json!({"services": {"facebook": {"access_token": newer}}});
    let answer = patched(&ident, id, Kind::Merge, &patch).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(token(&ident, id, "facebook").await.1["access_token"], newer);

    let dump = ident.database.dump();
    assert!(dump.contains("robb@north"), "the record is in the dump");
    for secret in [SECRET, newer] {
        let hexadecimal = HEXLOWER.encode(secret.as_bytes());
        assert!(!dump.contains(secret), "in the clear");
        assert!(!dump.to_lowercase().contains(&hexadecimal), "in hexadecimal");
    }
    // The start of each of the secrets in base64, whatever stands before it.
    for piece in ["Z2hvX3MzY3JldC", "dob19zM2NyZXQ", "naG9fczNjcmV0"] {
        assert!(!dump.contains(piece), "in base64");
    }
}

#[tokio::test]
async fn the_same_token_is_never_stored_the_same_way() {
    let ident = IDENT.start(&[]).await;
    let services =
        json!({"a": {"id": "1", "access_token": SECRET}, "b": {"id": "1", "access_token": SECRET}});
    make_from(
        &ident,
        &json!({"name": "Robb", "email": "robb@north", "services": services}),
    )
    .await;
    let database = ident.database.connect("ident").await;
    let sql = "SELECT count(DISTINCT access_token), count(access_token) FROM linked_accounts";
    let row = database.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
}

/// A 500 that tells nobody anything but where to look in the log.
async fn is_noticed(ident: &TestService, id: i64, service: &str, secrets: &[&str]) {
    let path = format!("/{id}/services/{service}/token");
    let body = problem(ident.get(&path), StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(kind(&body), "blank");
    let request_id = body["request_id"].as_str().unwrap();
    assert!(!request_id.is_empty());
    let answer = ident.get(&path).send().await.unwrap();
    assert_ne!(header(&answer, "x-request-id"), "");
    let text = body.to_string().to_lowercase();
    for told in ["decrypt", "cipher", "fernet", "linked", "corrupt", "token", "key"] {
        assert!(!text.contains(told), "{told}: {text}");
    }
    for secret in secrets {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_ciphertext_in_another_row_is_noticed() {
    let ident = IDENT.start(&[]).await;
    let secrets = ["s3cret-of-robb", "s3cret-of-jon"];
    let document = |name: &str, secret: &str| json!({"name": name, "email": name, "services": {"github": {"id": name, "access_token": secret}}});
    let robb = make_from(&ident, &document("robb", secrets[0])).await;
    let jon = make_from(&ident, &document("jon", secrets[1])).await;
    let database = ident.database.connect("ident").await;
    let swap = "UPDATE linked_accounts a SET access_token = b.access_token FROM linked_accounts b \
                WHERE a.user_id <> b.user_id";
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    for id in [robb, jon] {
        is_noticed(&ident, id, "github", &secrets).await;
    }
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    let back = token(&ident, robb, "github").await;
    assert_eq!(back, (StatusCode::OK, json!({"access_token": secrets[0]})));
}

#[tokio::test]
async fn a_ciphertext_at_another_service_or_account_or_changed_is_noticed() {
    let ident = IDENT.start(&[]).await;
    let id = robb(&ident).await;
    let database = ident.database.connect("ident").await;
    for sql in [
        "UPDATE linked_accounts SET access_token = (SELECT access_token FROM linked_accounts WHERE service = 'github') \
         WHERE service = 'facebook'",
        "UPDATE linked_accounts SET account_id = '26' WHERE service = 'github'",
    ] {
        assert_eq!(database.execute(sql, &[]).await.unwrap(), 1);
    }
    is_noticed(&ident, id, "facebook", &[SECRET]).await;
    is_noticed(&ident, id, "github", &[SECRET]).await;
    let restore = "UPDATE linked_accounts SET account_id = '25' WHERE service = 'github'";
    database.execute(restore, &[]).await.unwrap();
    assert_eq!(token(&ident, id, "github").await.0, StatusCode::OK);
    for sql in [
        "UPDATE linked_accounts SET access_token = overlay(access_token placing CASE WHEN substr(access_token, 40, 1) = 'A' \
         THEN 'B' ELSE 'A' END FROM 40) WHERE service = 'github'",
        "UPDATE linked_accounts SET access_token = 's3cret' WHERE service = 'github'",
        "UPDATE linked_accounts SET access_token = '' WHERE service = 'github'",
    ] {
        assert_eq!(database.execute(sql, &[]).await.unwrap(), 1);
        is_noticed(&ident, id, "github", &[SECRET, "s3cret"]).await;
    }
    record(&ident, id).await;
}
