//! People with what they sign in with.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::callers::{PASSWORD, administered, kind_of, login, make_user, sign_in, wrong_at};
use crate::people::{expect, header};

#[tokio::test]
async fn a_person_is_made_shown_changed_and_deleted() {
    let (ident, admin) = administered(&[]).await;
    let body = json!({
        "username": " Mei ", "password": PASSWORD, "name": "Mei Lin", "email": "mei@example.org",
        "permissions": ["users:read", "users:read"], "services": {"github": {"id": "7", "access_token": "s3cret"}},
    });
    let made = ident
        .post("/api/users")
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    let location = header(&made, "location");
    let made = expect(made, StatusCode::CREATED).await;
    let id = made["id"].as_i64().unwrap();
    assert_eq!(location, format!("/api/users/{id}"));
    let expected = json!({
        "id": id, "username": "Mei", "name": "Mei Lin", "email": "mei@example.org", "permissions": ["users:read"],
        "disabled": false, "services": {"github": {"id": "7"}},
    });
    assert_eq!(made, expected);
    let shown = ident.get(&location).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(expect(shown, StatusCode::OK).await, expected);
    let record = ident
        .get(&format!("/{id}"))
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    assert!(
        expect(record, StatusCode::OK).await.get("username").is_none(),
        "records know nothing of it"
    );
    let body = json!({"username": "lin", "email": "lin@example.org", "permissions": []});
    let changed = ident
        .patch(&location)
        .bearer_auth(&admin)
        .json(&body)
        .send()
        .await
        .unwrap();
    let changed = expect(changed, StatusCode::OK).await;
    assert_eq!(
        (&changed["username"], &changed["email"], &changed["name"]),
        (&json!("lin"), &json!("lin@example.org"), &json!("Mei Lin"))
    );
    assert_eq!(
        login(&ident, "mei", PASSWORD).await.status(),
        StatusCode::UNAUTHORIZED
    );
    sign_in(&ident, "LIN").await;
    let gone = ident.delete(&location).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        ident
            .get(&location)
            .bearer_auth(&admin)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn people_are_listed_and_paged_like_records() {
    let (ident, admin) = administered(&[]).await;
    for username in ["a", "b", "c"] {
        make_user(&ident, &admin, username, &[]).await;
    }
    let first = ident
        .get("/api/users?page_size=2&name=person")
        .bearer_auth(&admin)
        .send()
        .await
        .unwrap();
    let link = header(&first, "link");
    let first = expect(first, StatusCode::OK).await;
    let names = |page: &Value| {
        page.as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), [json!("a"), json!("b")]);
    let next = link
        .trim_start_matches('<')
        .split_once(">; rel=next")
        .unwrap()
        .0
        .to_owned();
    let next = expect(
        ident.get(&next).bearer_auth(&admin).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(names(&next), [json!("c")]);
}

#[tokio::test]
async fn what_is_taken_is_a_conflict_and_leaves_nothing() {
    let (ident, admin) = administered(&[]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let post = async |username: &str, email: &str| {
        let body = json!({"username": username, "password": PASSWORD, "name": "X", "email": email});
        ident
            .post("/api/users")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    for (username, email, expected) in [
        ("MEI", "new@example.org", "username-taken"),
        ("new", "MEI@example.org", "email-taken"),
        ("ｍｅｉ", "new@example.org", "username-taken"),
    ] {
        assert_eq!(
            kind_of(post(username, email).await, StatusCode::CONFLICT).await,
            expected
        );
    }
    expect(post("new", "new@example.org").await, StatusCode::CREATED).await;
}

#[tokio::test]
async fn what_is_not_valid_is_told_with_pointers() {
    let (ident, admin) = administered(&[]).await;
    let id = make_user(&ident, &admin, "mei", &[]).await;
    let good = json!({"username": "x", "password": PASSWORD, "name": "X", "email": "x@example.org"});
    let cases = [
        (json!({"username": ""}), "/username"),
        (json!({"username": 1}), "/username"),
        (json!({"password": "short"}), "/password"),
        (json!({"password": null}), "/password"),
        (json!({"permissions": ["everything"]}), "/permissions"),
        (json!({"permissions": "users:read"}), "/permissions"),
        (json!({"disabled": "no"}), "/disabled"),
        (json!({"name": " "}), "/name"),
        (json!({"age": 7}), "/age"),
    ];
    for (wrong, pointer) in cases {
        let mut body = good.clone();
        body.as_object_mut()
            .unwrap()
            .extend(wrong.as_object().unwrap().clone());
        let made = ident
            .post("/api/users")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(wrong_at(made, StatusCode::BAD_REQUEST).await, [pointer]);
        let path = format!("/api/users/{id}");
        let changed = ident
            .patch(&path)
            .bearer_auth(&admin)
            .json(&wrong)
            .send()
            .await
            .unwrap();
        assert_eq!(wrong_at(changed, StatusCode::BAD_REQUEST).await, [pointer]);
    }
    let missing = json!({"name": "X", "email": "x@example.org"});
    let made = ident
        .post("/api/users")
        .bearer_auth(&admin)
        .json(&missing)
        .send()
        .await
        .unwrap();
    assert_eq!(wrong_at(made, StatusCode::BAD_REQUEST).await, ["/username"]);
}

#[tokio::test]
async fn every_path_asks_for_a_token_and_its_permission_also_where_records_are_open() {
    let (ident, admin) = administered(&["auth.records=open"]).await;
    make_user(&ident, &admin, "mei", &["events:read"]).await;
    let mei = sign_in(&ident, "mei").await;
    let paths = [
        ("GET", "/api/users", "users:read"),
        ("POST", "/api/users", "users:credentials"),
        ("GET", "/api/users/1", "users:read"),
        ("PATCH", "/api/users/1", "users:credentials"),
        ("DELETE", "/api/users/1", "users:write"),
        ("GET", "/api/clients", "clients:read"),
        ("POST", "/api/clients", "clients:write"),
        ("GET", "/api/clients/x", "clients:read"),
        ("PATCH", "/api/clients/x", "clients:write"),
        ("DELETE", "/api/clients/x", "clients:write"),
        ("POST", "/api/clients/x/secrets", "clients:write"),
        ("DELETE", "/api/clients/x/secrets/y", "clients:write"),
        ("GET", "/api/configuration", "configuration:write"),
        ("POST", "/api/configuration", "configuration:write"),
        ("PATCH", "/api/configuration", "configuration:write"),
    ];
    for (method, path, permission) in paths {
        let request = || ident.request(method.parse().unwrap(), path);
        let nobody = request().send().await.unwrap();
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        let challenge = header(&nobody, "www-authenticate");
        assert!(
            challenge.contains(&format!("scope=\"{permission}\"")) && !challenge.contains("error"),
            "{challenge}"
        );
        let nonsense = request().bearer_auth("x.y.z").send().await.unwrap();
        assert!(header(&nonsense, "www-authenticate").contains("error=\"invalid_token\""));
        let without = request().bearer_auth(&mei).send().await.unwrap();
        let challenge = header(&without, "www-authenticate");
        assert_eq!(without.status(), StatusCode::FORBIDDEN, "{method} {path}");
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    }
}

#[tokio::test]
async fn hashes_follow_the_parameters_at_the_next_sign_in() {
    let (ident, admin) = administered(&[]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let stronger = ["auth.records=token", "auth.password.iterations=3"];
    let other = crate::IDENT
        .start_on(ident.database.clone(), &ident.clock, &stronger)
        .await;
    let database = ident.database.connect("ident").await;
    let hash = async || {
        let row = database
            .query_one(
                "SELECT password_hash FROM credentials WHERE username = 'mei'",
                &[],
            )
            .await
            .unwrap();
        row.get::<_, String>(0)
    };
    assert!(hash().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    sign_in(&other, "mei").await;
    assert!(hash().await.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"));
    sign_in(&ident, "mei").await;
    assert!(hash().await.contains("t=2"));
}
