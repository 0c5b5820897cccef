//! `/init`: the first administrator.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use identity_core::clock::Clock;
use identity_testkit::{Process, TestDatabase, TestService, command, eventually};
use reqwest::StatusCode;

use crate::IDM;
use crate::people::{ADMIN, PASSWORD, make_admin, sign_in};

async fn post(idm: &TestService, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let answer = idm.post("/init").form(fields).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_page_makes_one_administrator_and_then_says_that_the_system_is_ready() {
    let idm = IDM.start(&[]).await;
    let page = idm.get("/init").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let headers = page.headers().clone();
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    // Nothing is told to others, and a browser that knows no Sec-Fetch-Site still says its origin.
    assert_eq!(headers["referrer-policy"], "same-origin");
    assert_eq!(headers["cache-control"], "no-store");
    let html = page.text().await.unwrap();
    assert!(
        html.contains("<form") && !html.contains("name=\"code\""),
        "bound to loopback, no code is asked for"
    );
    make_admin(&idm).await;
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
    let later = idm.get("/init").send().await.unwrap();
    assert_eq!(later.status(), 200);
    let html = later.text().await.unwrap();
    assert!(html.contains("This system is ready") && !html.contains("<form"));
    let fields = [
        ("username", "other@example.org"),
        ("pass1", PASSWORD),
        ("pass2", PASSWORD),
    ];
    let (status, html) = post(&idm, &fields).await;
    assert!(status == 200 && html.contains("This system is ready") && !html.contains("is now"));
    assert_eq!(sign_in(&idm, "other@example.org", PASSWORD).await.status(), 401);
}

#[tokio::test]
async fn what_is_wrong_is_said_on_the_page() {
    let idm = IDM.start(&[]).await;
    for (username, pass1, pass2, said) in [
        ("", PASSWORD, PASSWORD, "Enter an email address"),
        ("mei", PASSWORD, PASSWORD, "Enter an email address"),
        (ADMIN, "short", "short", "too short"),
        (ADMIN, "password1", "password1", "tried first"),
        (ADMIN, PASSWORD, "winter-is-over", "do not match"),
        (
            "<script>@example.org\"",
            PASSWORD,
            PASSWORD,
            "Enter an email address",
        ),
    ] {
        let (status, html) = post(
            &idm,
            &[("username", username), ("pass1", pass1), ("pass2", pass2)],
        )
        .await;
        assert_eq!(status, 400, "{username} {pass1}");
        assert!(html.contains(said), "{html}");
        assert!(!html.contains("<script>") && !html.contains(PASSWORD));
    }
    assert_eq!(
        sign_in(&idm, ADMIN, PASSWORD).await.status(),
        401,
        "nobody was made"
    );
}

#[tokio::test]
async fn another_sites_page_cannot_send_the_form() {
    let idm = IDM.start(&["server.public_url=https://idm.example.org"]).await;
    let fields = [("username", ADMIN), ("pass1", PASSWORD), ("pass2", PASSWORD)];
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example.org"),
        ("origin", "null"),
        ("origin", "http://idm.example.org"),
    ] {
        for path in ["/init", "/iforgot", "/reset"] {
            let answer = idm
                .post(path)
                .header(name, value)
                .form(&fields)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
        }
    }
    let own = idm
        .post("/init")
        .header("origin", "https://idm.example.org")
        .form(&fields);
    assert_eq!(own.send().await.unwrap().status(), 200);
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
}

#[tokio::test]
async fn a_configured_setup_code_is_asked_for_and_guessing_it_is_slowed() {
    let idm = IDM
        .start(&["init.code=abcd-efgh", "limits.logins_per_account=3/10m"])
        .await;
    assert!(
        idm.get("/init")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("name=\"code\"")
    );
    let with = async |code: &str| {
        let fields = [
            ("username", ADMIN),
            ("pass1", PASSWORD),
            ("pass2", PASSWORD),
            ("code", code),
        ];
        post(&idm, &fields).await.0
    };
    assert_eq!(with("").await, 403);
    assert_eq!(with("wrong").await, 403);
    assert_eq!(with("wrong").await, 403);
    assert_eq!(with("ABCD EFGH").await, 429);
    idm.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(with("ABCD EFGH").await, 200, "however it is typed");
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
}

#[tokio::test]
async fn off_the_loopback_the_log_tells_a_code_until_there_is_an_administrator() {
    let database = Arc::new(TestDatabase::empty().await);
    let start = |name: &'static str| {
        let environment = BTreeMap::from([
            ("IDM_USERS__DATABASE__POSTGRES__URL", database.url()),
            ("IDM_USERS__SERVER__BIND", "0.0.0.0:0".to_owned()),
            (
                "IDM_USERS__JWT__SECRET",
                "a secret of a test, of thirty-two bytes or more".to_owned(),
            ),
            ("IDM_USERS__MAIL__TRANSPORT", "none".to_owned()),
            ("IDM_USERS__LOG__FORMAT", "json".to_owned()),
        ]);
        Process::start(command(env!("CARGO_BIN_EXE_idm-users"), &environment, &[name]))
    };
    let process = start("serve");
    let address = process.address().await;
    let code = eventually("the log tells the code", async || {
        let entries = process.entries();
        let line = entries.iter().find(|line| line["code"].is_string())?;
        Some(line["code"].as_str()?.to_owned())
    })
    .await;
    assert!(!database.dump().contains(&code), "only its digest is stored");
    let url = format!("http://127.0.0.1:{}/init", address.port());
    let client = reqwest::Client::new();
    let with = async |code: &str| {
        let fields = [
            ("username", ADMIN),
            ("pass1", PASSWORD),
            ("pass2", PASSWORD),
            ("code", code),
        ];
        client.post(&url).form(&fields).send().await.unwrap().status()
    };
    assert_eq!(with("AAAA-AAAA-AAAA-AAAA").await, 403);
    assert_eq!(with(&code).await, 200);
    drop(process);
    let process = start("serve");
    process.address().await;
    assert!(
        process.entries().iter().all(|line| line.get("code").is_none()),
        "not any more"
    );
}

#[tokio::test]
async fn a_later_start_ends_the_code_of_an_earlier_one() {
    let database = Arc::new(TestDatabase::empty().await);
    let settings = ["server.bind=0.0.0.0:9096"];
    let first = IDM.start_on(database.clone(), &Clock::system(), &settings).await;
    let client = database.connect("idm_users").await;
    let digest = async || -> String {
        client
            .query_one("SELECT digest FROM setup_code", &[])
            .await
            .unwrap()
            .get(0)
    };
    let before = digest().await;
    drop(first);
    let second = IDM.start_on(database.clone(), &Clock::system(), &settings).await;
    assert_ne!(digest().await, before);
    assert!(
        second
            .get("/init")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("name=\"code\"")
    );
}
