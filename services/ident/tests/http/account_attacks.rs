//! Attacks on accounts and on what is stored of them: who exists, names that look like others, pages of other
//! origins, what no parser likes. Each test is named after what it tries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::callers::{PASSWORD, administered, ask, login, make_client, make_user, sign_in};
use crate::durations;
use crate::people::{expect, kind, pointers};

const UNLIMITED: [&str; 2] = [
    "limits.logins_per_account=100000/1m",
    "limits.logins_per_address=100000/1m",
];

/// All that a stranger sees of an answer, but what differs in any two: date and request id.
async fn seen(answer: Response) -> (StatusCode, Vec<(String, String)>, String) {
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut headers: Vec<_> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let status = answer.status();
    (status, headers, answer.text().await.unwrap().replace(&id, ""))
}

async fn change(ident: &TestService, admin: &str, id: i64, body: &Value) {
    let request = ident
        .patch(&format!("/api/users/{id}"))
        .bearer_auth(admin)
        .json(body);
    expect(request.send().await.unwrap(), StatusCode::OK).await;
}

#[tokio::test]
async fn no_answer_tells_who_can_sign_in() {
    let (ident, admin) = administered(&UNLIMITED).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let banned = make_user(&ident, &admin, "banned", &[]).await;
    change(&ident, &admin, banned, &json!({"disabled": true})).await;
    let unknown = seen(login(&ident, "nobody", "wrong password").await).await;
    assert_eq!(unknown.0, StatusCode::UNAUTHORIZED);
    for (username, password) in [
        ("mei", "wrong password"),
        ("banned", "wrong password"),
        ("banned", PASSWORD),
        ("", "wrong password"),
        ("mei\u{0}", PASSWORD),
        ("mei' OR '1'='1", PASSWORD),
        (&"m".repeat(30_000), "wrong password"),
    ] {
        assert_eq!(
            seen(login(&ident, username, password).await).await,
            unknown,
            "{username}"
        );
    }
}

#[tokio::test]
async fn an_unknown_client_takes_as_long_as_a_wrong_secret() {
    let (ident, admin) = administered(&UNLIMITED).await;
    let id_of = |client: Value| client["id"].as_str().unwrap().to_owned();
    let known = id_of(make_client(&ident, &admin, &json!({"name": "m"})).await);
    let disabled = id_of(make_client(&ident, &admin, &json!({"name": "d", "disabled": true})).await);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let wrong = json!({"client_secret": "ids_of_a_guesser"});
    durations::expect_alike([&known, unknown, &disabled, "no id"], async |id| {
        let answer = ask(&ident, id, &wrong).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    })
    .await;
    let of_known = seen(ask(&ident, &known, &wrong).send().await.unwrap()).await;
    for id in [unknown, &disabled, "no id"] {
        let answer = seen(ask(&ident, id, &wrong).send().await.unwrap()).await;
        assert_eq!(answer, of_known, "{id}");
    }
}

#[tokio::test]
async fn a_username_that_looks_like_anothers_is_refused() {
    let (ident, admin) = administered(&[]).await;
    make_user(&ident, &admin, "mei.lin", &[]).await;
    let make = async |username: &str| {
        let body = json!({"username": username, "password": PASSWORD, "name": "x", "email": "x@example.org"});
        let request = ident.post("/api/users").bearer_auth(&admin).json(&body);
        request.send().await.unwrap()
    };
    for username in [
        "MEI.LIN",
        " mei.lin\t",
        "ｍｅｉ.ｌｉｎ",
        "𝓂𝑒𝒾.lin",
        "mei.l\u{200B}in",
        "\u{202E}mei.lin",
        "mei\u{AD}.lin",
        "mei.lin\u{FE0F}",
        "mei.lin\u{E0041}",
    ] {
        let refused = expect(make(username).await, StatusCode::CONFLICT).await;
        assert_eq!(kind(&refused), "username-taken", "{username:?}");
    }
    // Cyrillic, Greek and Armenian letters between Latin ones; nothing that is seen at all; control characters.
    for username in [
        "m\u{435}i.lin",
        "mei.l\u{3B9}n",
        "mei.li\u{578}",
        "\u{200B}\u{200D}",
        "mei\u{0}lin",
        "mei\u{1B}[2J",
    ] {
        let refused = expect(make(username).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(pointers(&refused), ["/username"], "{username:?}");
    }
    sign_in(&ident, "mei.lin").await;
    for username in ["мэй.линь", "山田.taro"] {
        let body = json!({
            "username": username, "password": PASSWORD, "name": "x", "email": format!("{username}@example.org"),
        });
        let made = ident
            .post("/api/users")
            .bearer_auth(&admin)
            .json(&body)
            .send()
            .await
            .unwrap();
        expect(made, StatusCode::CREATED).await;
    }
}

#[tokio::test]
async fn an_address_with_what_cannot_be_seen_is_the_same_address() {
    let ident = crate::IDENT.start(&[]).await;
    crate::people::make(&ident, "Robb", "king@north").await;
    for email in [
        "ki\u{200B}ng@north",
        "king@north\u{2060}",
        "\u{202D}king@north",
        "king\u{FE00}@north",
    ] {
        let body = json!({"name": "Other", "email": email});
        let refused = expect(
            ident.post("/").json(&body).send().await.unwrap(),
            StatusCode::CONFLICT,
        )
        .await;
        assert_eq!(kind(&refused), "email-taken", "{email:?}");
    }
    let body = json!({"name": "Nobody", "email": "\u{200B}\u{2060}"});
    let refused = expect(
        ident.post("/").json(&body).send().await.unwrap(),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert_eq!(pointers(&refused), ["/email"]);
}

/// All that changes something, with the body of a good request.
fn posts() -> Vec<(Method, &'static str)> {
    vec![
        (Method::POST, "/"),
        (Method::PATCH, "/2"),
        (Method::POST, "/api/users"),
        (Method::PATCH, "/api/users/2"),
        (Method::POST, "/api/clients"),
        (Method::PATCH, "/api/clients/00000000-0000-4000-8000-000000000000"),
        (Method::POST, "/api/configuration"),
        (Method::PATCH, "/api/configuration"),
        (Method::POST, "/auth/login"),
        (Method::POST, "/auth/token"),
    ]
}

#[tokio::test]
async fn what_a_page_of_another_origin_can_send_is_not_taken() {
    let (ident, admin) = administered(&[]).await;
    for (method, path) in posts() {
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let body = json!({"username": "admin", "password": PASSWORD}).to_string();
            // Also with a token, which no browser adds by itself.
            let request = ident
                .request(method.clone(), path)
                .bearer_auth(&admin)
                .header("content-type", media_type)
                .header("origin", "https://evil.example")
                .header("sec-fetch-site", "cross-site")
                .body(body);
            let answer = request.send().await.unwrap();
            assert!(
                [StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::NOT_FOUND].contains(&answer.status()),
                "{method} {path} {media_type}: {}",
                answer.status()
            );
        }
    }
    // There is nothing that a browser would add: no cookie is ever set, and no other origin is let in.
    for answer in [
        login(&ident, "admin", PASSWORD).await,
        ident
            .get("/docs/")
            .header("origin", "https://evil.example")
            .send()
            .await
            .unwrap(),
        ident
            .request(Method::OPTIONS, "/auth/login")
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "POST")
            .send()
            .await
            .unwrap(),
    ] {
        assert!(!answer.headers().contains_key("set-cookie"));
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let form = [("grant_type", "client_credentials"), ("token", admin.as_str())];
        let answer = ident.post(path).form(&form).send().await.unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::UNAUTHORIZED,
            "{path}: forms need the client's secret"
        );
    }
}

#[tokio::test]
async fn json_that_no_parser_likes_ends_in_an_answer() {
    let (ident, admin) = administered(&UNLIMITED).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let mut bodies = vec![
        (deep(129), 400),
        (deep(30_000), 400),
        ("{\"a\":".repeat(10_000), 400),
        (r#"{"name": "a", "name": "b"}"#.to_owned(), 400),
        (
            r#"{"username": "admin", "\u0075sername": "b", "password": "x"}"#.to_owned(),
            400,
        ),
        (format!("[{}]", "{},".repeat(20_000).trim_end_matches(',')), 0),
        (format!("{{\"name\": \"{}\"}}", "x".repeat(70 * 1024)), 413),
    ];
    for member in [
        "name",
        "username",
        "email",
        "password",
        "client_id",
        "audience",
        "permissions",
        "jwt_expiration",
        "id",
    ] {
        for value in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e308",
            "1e-400",
            r#""a\u0000b""#,
            r#""\u001b[2J""#,
            r#""\ud83d\ude00""#,
            "null",
            "{}",
            "[[]]",
        ] {
            bodies.push((format!("{{\"{member}\": {value}}}"), 0));
        }
    }
    for (method, path) in posts() {
        for (body, expected) in &bodies {
            let media_type = match (&method, path) {
                (&Method::PATCH, "/2") => "application/merge-patch+json",
                _ => "application/json",
            };
            let request = ident
                .request(method.clone(), path)
                .bearer_auth(&admin)
                .header("content-type", media_type)
                .body(body.clone());
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let shown: String = body.chars().take(60).collect();
            assert!(status < 500, "{method} {path} {shown}: {status}");
            if *expected != 0 && !path.contains("00000000") {
                assert_eq!(status, *expected, "{method} {path} {shown}");
            }
        }
    }
    sign_in(&ident, "admin").await;
}

#[tokio::test]
async fn texts_with_nul_are_looked_up_and_not_found() {
    let (ident, admin) = administered(&[]).await;
    for (username, password) in [("admin\u{0}", PASSWORD), ("\u{0}", "\u{0}"), ("admin", "\u{0}")] {
        assert_eq!(
            login(&ident, username, password).await.status(),
            401,
            "{username:?}"
        );
    }
    let presented = json!({"client_secret": "\u{0}"});
    assert_eq!(
        ask(&ident, "\u{0}", &presented).send().await.unwrap().status(),
        401
    );
    for path in [
        "/?email=%00",
        "/?name=%00",
        "/?service=github&service_id=%00",
        "/%00",
        "/api/users?name=%00",
    ] {
        let answer = ident.get(path).bearer_auth(&admin).send().await.unwrap();
        assert!(answer.status().as_u16() < 500, "{path}: {}", answer.status());
    }
}

#[tokio::test]
async fn a_successor_of_another_family_is_never_given_out() {
    let (ident, admin) = administered(&[]).await;
    make_user(&ident, &admin, "mei", &[]).await;
    let mei = sign_in(&ident, "mei").await;
    let refresh = async |token: &str| {
        ident
            .post("/auth/refresh")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    };
    let of_admin = expect(refresh(&admin).await, StatusCode::OK).await;
    let of_mei = expect(refresh(&mei).await, StatusCode::OK).await;
    let database = ident.database.connect("ident").await;
    let swap = "UPDATE token_refreshes a SET successor = b.successor FROM token_refreshes b
                WHERE a.family_id <> b.family_id";
    assert_eq!(database.execute(swap, &[]).await.unwrap(), 2);
    for token in [&mei, &admin] {
        let answer = refresh(token).await;
        assert!(!answer.status().is_success());
        let text = answer.text().await.unwrap();
        for successor in [&of_admin, &of_mei] {
            assert!(!text.contains(successor["token"].as_str().unwrap()));
        }
    }
}
