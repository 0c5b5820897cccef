//! The rows of the contract: what is asked, and what is answered.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::EIDA;
use crate::signer::{PATH, answer, connect, count, digest, login, map, map_only, post, row, started};

#[tokio::test]
async fn a_token_gives_a_login_and_everything_that_belongs_to_it() {
    let (eida, signer) = started(&[]).await;
    let answer = post(&eida, signer.token(&eida, PATH, 30 * 86400, "")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    let (login, password) = text.split_once(':').unwrap();
    for word in [login, password] {
        assert_eq!(word.len(), 14, "{text}");
        assert!(
            word.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
            "{text}"
        );
    }
    let client = connect(&eida).await;
    let user = client.query_one("SELECT * FROM users", &[]).await.unwrap();
    let index: i32 = user.get(0);
    let stored: [Option<String>; 4] = [1, 2, 3, 4].map(|column| user.get(column));
    let email = format!("{login}@eida");
    assert_eq!(stored.map(Option::unwrap), [login, "Temp", "EIDA", &email]);
    let ends: jiff::Timestamp = user.get(5);
    let span = ends.duration_since(eida.clock.now()).as_secs_f64();
    assert!((86390.0..=86400.0).contains(&span), "{span}");
    let credential = client.query_one("SELECT * FROM credentials", &[]).await.unwrap();
    assert_eq!(credential.get::<_, i32>(0), index);
    assert_eq!(credential.get::<_, Option<String>>(1), None);
    assert_eq!(credential.get::<_, String>(2), digest(login, password));
    let privilege = row(
        &client,
        "SELECT network_id = (SELECT network_id FROM networks) AS known, network, start_year, end_year, name,
             expires_at = (SELECT expires_at FROM users) AS same FROM eida_temp_users",
    )
    .await;
    assert_eq!(
        privilege,
        json!({"known": true, "network": "Z3", "start_year": 2015, "end_year": 2022, "name": login, "same": true})
    );
    assert!(
        !eida.database.dump().contains(password),
        "the password is stored nowhere"
    );
}

#[tokio::test]
async fn every_path_takes_tokens_of_any_content_type() {
    let (eida, signer) = started(&[]).await;
    for path in ["/", "/auth", "/fdsnws/dataselect/1/auth"] {
        for media_type in [
            None,
            Some("application/octet-stream"),
            Some("text/plain"),
            Some("application/json"),
            Some("nonsense"),
        ] {
            let mut request = eida.post(path).body(signer.token(&eida, PATH, 3600, ""));
            if let Some(media_type) = media_type {
                request = request.header("content-type", media_type);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path} {media_type:?}");
        }
        for method in [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
        ] {
            let answer = eida.request(method.clone(), path).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers()["allow"], "POST");
            assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        }
    }
    assert_eq!(
        eida.post("/elsewhere").send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (eida, _) = started(&[]).await;
    let (status, text) = answer(&eida, vec![b'x'; 64 * 1024]).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text}");
    let (status, text) = answer(&eida, vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{text}");
    assert!(text.starts_with("The body is larger"), "{text}");
}

#[tokio::test]
async fn a_refusal_says_why_and_writes_nothing() {
    let (eida, signer) = started(&["token_url=https://tokens.example.org/new"]).await;
    let client = connect(&eida).await;
    map(&client, "/epos/other", "FR", 1994, 9999).await;
    let end = "2001-02-03T04:05:06Z";
    for (token, status, expected) in [
        (String::new(), 415, "There is no token"),
        (" \n".to_owned(), 415, "There is no token"),
        ("hello".to_owned(), 415, "it is not an OpenPGP message"),
        (signer.sign("hello"), 415, "it is not a JSON object"),
        (signer.sign("{}"), 415, "valid_until"),
        (
            signer.sign(&json!({"valid_until": "2099-01-01T00:00:00Z", "memberof": 1}).to_string()),
            415,
            "memberships",
        ),
        (
            signer.sign(&json!({"valid_until": end, "memberof": PATH}).to_string()),
            415,
            "expired at 2001-02-03T04:05:06Z",
        ),
        (
            signer.sign(&json!({"valid_until": end}).to_string()),
            415,
            "https://tokens.example.org/new",
        ),
        (
            signer.token(&eida, "/epos/nothing;/else", 3600, ""),
            403,
            "Its memberships: /else, /epos/nothing. Mapped here: /epos/alparray, /epos/other. Questions are answered by eida@example.org.",
        ),
        (signer.token(&eida, "", 3600, ""), 403, "Its memberships: none."),
        (
            signer.sign(&json!({"valid_until": "2099-01-01T00:00:00Z"}).to_string()),
            403,
            "Its memberships: none.",
        ),
    ] {
        let answer = post(&eida, token).await;
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.status().as_u16(), status, "{expected}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(expected), "{text}");
    }
    for table in ["users", "credentials", "eida_temp_users", "issued_logins"] {
        assert_eq!(count(&client, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn every_network_of_every_membership_is_given_once() {
    let (eida, signer) = started(&[]).await;
    let client = connect(&eida).await;
    map(&client, PATH, "Z3", 2001, 2002).await;
    map_only(&client, "/epos/other", "Z3", 2015, 2022).await;
    map(&client, "/epos/other", "FR", 1994, 9999).await;
    map(&client, "/epos/foreign", "XX", 2000, 2001).await;
    let token = signer.token(&eida, &format!("{PATH};/epos/other; ;/epos/nothing"), 3600, "");
    let (login, _) = login(&eida, token).await;
    let sql = "SELECT concat_ws(' ', network, start_year, end_year) FROM eida_temp_users WHERE name = $1 ORDER BY 1";
    let rows = client.query(sql, &[&login]).await.unwrap();
    let networks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(networks, ["FR 1994 9999", "Z3 2001 2002", "Z3 2015 2022"]);
}

#[tokio::test]
async fn a_network_that_the_inventory_does_not_know_is_skipped() {
    let (eida, signer) = started(&[]).await;
    let client = connect(&eida).await;
    // The same code, but of other years.
    map_only(&client, PATH, "Z3", 2001, 2002).await;
    map_only(&client, "/epos/unknown", "QQ", 2001, 2002).await;
    login(&eida, signer.token(&eida, PATH, 3600, "")).await;
    assert_eq!(count(&client, "eida_temp_users").await, 1);
    let (status, text) = answer(&eida, signer.token(&eida, "/epos/unknown", 3600, "")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert_eq!(count(&client, "users").await, 1);
}

#[tokio::test]
async fn a_login_ends_with_its_token_unless_configured_otherwise() {
    for (setting, expected) in [
        ("credentials.cap_to_token=true", 600),
        ("credentials.cap_to_token=false", 7200),
    ] {
        let (eida, signer) = started(&["credentials.lifetime=2h", setting]).await;
        login(&eida, signer.token(&eida, PATH, 600, "")).await;
        let client = connect(&eida).await;
        let sql = "SELECT expires_at FROM users UNION ALL SELECT expires_at FROM eida_temp_users";
        for row in client.query(sql, &[]).await.unwrap() {
            let ends: jiff::Timestamp = row.get(0);
            let span = ends.duration_since(eida.clock.now()).as_secs();
            assert!((expected - 10..=expected).contains(&span), "{setting}: {span}");
        }
    }
}

#[tokio::test]
async fn the_version_tells_the_mode_and_whom_to_ask() {
    for (mode, shown) in [
        ("PRODUCTION", "production"),
        ("Development", "development"),
        ("test", "test"),
    ] {
        let eida = EIDA.start(&[&format!("runmode={mode}")]).await;
        let answer = eida.get("/version").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        let expected = format!(
            "Version {} running in {shown} mode. Contact eida@example.org.",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(answer.text().await.unwrap(), expected);
        let posted = eida.post("/version").send().await.unwrap();
        assert_eq!(
            (posted.status(), posted.headers()["allow"].to_str().unwrap()),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
        );
    }
}

#[tokio::test]
async fn the_wadl_lists_the_method_auth() {
    let eida = EIDA
        .start(&["server.public_url=https://eida.example.org/a&b/"])
        .await;
    let answer = eida.get("/application.wadl").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["content-type"],
        "application/vnd.sun.wadl+xml; charset=utf-8"
    );
    let text = answer.text().await.unwrap();
    assert!(
        text.contains(r#"<resources base="https://eida.example.org/a&amp;b/fdsnws/dataselect/1/">"#),
        "{text}"
    );
    assert!(
        text.contains(r#"<resource path="auth">"#) && text.contains(r#"<method name="POST" id="auth">"#),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_served_is_documented() {
    let eida = EIDA.start(&[]).await;
    let document: serde_json::Value = eida
        .get("/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/", "/application.wadl", "/cleanup", "/version"]);
    let ready = eida.get("/readyz").send().await.unwrap().text().await.unwrap();
    assert_eq!(ready, "database: ok\nservice: ok\n");
}

#[tokio::test]
async fn a_network_that_leaves_the_inventory_takes_its_privileges_with_it() {
    let (eida, signer) = started(&[]).await;
    let client = connect(&eida).await;
    map(&client, "/epos/other", "Y9", 2016, 2020).await;
    login(&eida, signer.token(&eida, PATH, 86400, "")).await;
    login(&eida, signer.token(&eida, "/epos/other", 86400, "")).await;
    assert_eq!(count(&client, "eida_temp_users").await, 2);
    let sql = "DELETE FROM networks WHERE network = 'Y9'";
    assert_eq!(client.execute(sql, &[]).await.unwrap(), 1);
    let left = client
        .query_one("SELECT network FROM eida_temp_users", &[])
        .await
        .unwrap();
    assert_ne!(left.get::<_, String>(0), "Y9");
}
