//! The audit trail: what it tells, and that it cannot be changed unnoticed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use identity_core::clock::Clock;
use identity_testkit::{TestDatabase, TestService};
use reqwest::Method;
use serde_json::{Value, json};

use crate::IDM;
use crate::commands::run;
use crate::people::{
    ADMIN, PASSWORD, administered, establish, get, jwt_of, make_admin, make_link, make_subject, patient,
    send, token,
};

#[tokio::test]
async fn the_history_of_a_subject_is_told_from_the_beginning() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let change = json!({"sssid": "S-1", "name": "New", "site": "A"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &change).await.0,
        204
    );
    let jwt = jwt_of(&idm, &token, &link).await;
    assert_eq!(establish(&idm, &jwt, &patient("7")).await, 204);
    assert_eq!(
        send(
            &idm,
            &token,
            Method::PUT,
            &format!("/link/{link}"),
            &json!({"withdrawn_on": "2026-01-05"})
        )
        .await
        .0,
        204
    );
    let (status, audits) = get(&idm, &token, "/subject/S-1/audits").await;
    assert_eq!(status, 200);
    let rows = audits["data"].as_array().unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row["action"].as_str().unwrap()).collect();
    let expected = [
        "created",
        "[Link] created",
        r#"changed name: "Name of S-1" → "New""#,
        r#"changed site: nothing → "A""#,
        "[Link] made the JWT",
        r#"[Link] changed linked_to: nothing → "7""#,
        r#"[Link] changed linked_system: nothing → "https://app.example.org""#,
    ];
    assert_eq!(actions[..7], expected);
    assert!(
        actions[7].starts_with("[Link] changed linked_on: nothing → \"20"),
        "{}",
        actions[7]
    );
    assert_eq!(
        actions[8..],
        [r#"[Link] changed withdrawn_on: nothing → "2026-01-05""#]
    );
    for (index, row) in rows.iter().enumerate() {
        assert!(
            row["datetime"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
        let expected = if (5..8).contains(&index) {
            Value::Null
        } else {
            json!(ADMIN)
        };
        assert_eq!(row["actor"], expected, "{row}");
        assert_eq!(
            row.get("actor").is_some(),
            !expected.is_null(),
            "missing rather than null"
        );
        assert!(
            row.as_object()
                .unwrap()
                .keys()
                .all(|name| ["datetime", "actor", "action"].contains(&name.as_str()))
        );
    }
}

#[tokio::test]
async fn without_a_history_there_is_null_and_without_a_subject_404() {
    let (idm, token) = administered(&[]).await;
    let client = idm.database.connect("idm_users").await;
    // As a migration from elsewhere leaves it.
    let sql = "INSERT INTO subjects (sssid, name, bday, bday_at, created, changed, sssid_key, name_key, name_grams, name_order)
               VALUES ('S-1', 'Mei', '1976-04-12', '1976-04-12Z', now(), now(), 's-1', 'mei', '{mei}', 'mei')";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(
        get(&idm, &token, "/subject/S-1/audits").await,
        (200, json!({"data": null}))
    );
    assert_eq!(get(&idm, &token, "/subject/S-9/audits").await.0, 404);
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_row() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({"date_invited": "2026-01-01"})).await;
    let refused = json!({"sssid": "S-1", "name": "New", "date_invited": "2026-01-02"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &refused).await.0,
        409
    );
    assert_eq!(
        get(&idm, &token, "/subject/S-1/audits").await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["name"],
        "Name of S-1"
    );
}

#[tokio::test]
async fn a_change_whose_row_cannot_be_written_is_not_made() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({})).await;
    let client = idm.database.connect("idm_users").await;
    client
        .batch_execute("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (seq < 0) NOT VALID")
        .await
        .unwrap();
    let change = json!({"sssid": "S-1", "name": "New"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &change).await.0,
        500
    );
    let body = json!({"username": "mei@example.org", "password": PASSWORD});
    assert_eq!(send(&idm, &token, Method::POST, "/user", &body).await.0, 500);
    client
        .batch_execute("ALTER TABLE audit DROP CONSTRAINT full_up")
        .await
        .unwrap();
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["name"],
        "Name of S-1"
    );
    assert_eq!(get(&idm, &token, "/user/mei@example.org").await.0, 404);
}

/// Changes by many at once, of subjects and users.
async fn busy_trail() -> (TestService, String) {
    let (idm, token) = administered(&[]).await;
    let changes = (0..20).map(|number| {
        let (idm, token) = (&idm, &token);
        async move {
            make_subject(idm, token, &format!("S-{number}"), &json!({})).await;
            let change = json!({"sssid": format!("S-{number}"), "name": "New", "site": number});
            let path = format!("/subject/S-{number}");
            assert_eq!(send(idm, token, Method::PUT, &path, &change).await.0, 204);
        }
    });
    futures_util::future::join_all(changes).await;
    (idm, token)
}

#[tokio::test]
async fn the_chain_holds_when_many_change_at_once() {
    let (idm, _token) = busy_trail().await;
    let verified = run(&idm, &["audit", "verify"], "").await;
    assert!(verified.status.success(), "{verified:?}");
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(said.starts_with("61 rows, unbroken; the last is 61:"), "{said}");
}

#[tokio::test]
async fn the_first_broken_row_is_named() {
    let (idm, _token) = busy_trail().await;
    let last = String::from_utf8(run(&idm, &["audit", "verify"], "").await.stdout).unwrap();
    let last = last.trim().rsplit_once(' ').unwrap().1.to_owned();
    let client = idm.database.connect("idm_users").await;
    client
        .batch_execute("ALTER TABLE audit DISABLE TRIGGER audit_is_append_only")
        .await
        .unwrap();
    let broken = async |sql: &str, arguments: &[&str]| {
        client
            .batch_execute("CREATE TEMP TABLE before AS SELECT * FROM audit")
            .await
            .unwrap();
        client.batch_execute(sql).await.unwrap();
        let verified = run(&idm, &[&["audit", "verify"], arguments].concat(), "").await;
        client
            .batch_execute("DELETE FROM audit; INSERT INTO audit SELECT * FROM before; DROP TABLE before")
            .await
            .unwrap();
        assert_eq!(verified.status.code(), Some(1), "{sql}");
        String::from_utf8(verified.stderr).unwrap()
    };
    for (sql, row) in [
        ("UPDATE audit SET action = 'created.' WHERE seq = 7", 7),
        (
            "UPDATE audit SET actor = NULL WHERE seq = 1 AND actor IS NOT NULL OR seq = 9",
            9,
        ),
        (
            "UPDATE audit SET at = at + interval '1 microsecond' WHERE seq IN (30, 40)",
            30,
        ),
        ("DELETE FROM audit WHERE seq = 5", 6),
        ("DELETE FROM audit WHERE seq = 1", 2),
        (
            "UPDATE audit a SET action = b.action, object = b.object, sssid = b.sssid FROM audit b WHERE (a.seq, b.seq) IN ((11, 50), (50, 11))",
            11,
        ),
        ("UPDATE audit SET hash = previous_hash WHERE seq = 61", 61),
        ("UPDATE audit SET seq = 100 WHERE seq = 61", 100),
    ] {
        let said = broken(sql, &[]).await;
        assert!(said.contains(&format!("row {row} is broken")), "{sql}: {said}");
    }
    let cut_off = "DELETE FROM audit WHERE seq > 50";
    let said = broken(cut_off, &["--expect", &last]).await;
    assert!(
        said.contains("row 61 is broken"),
        "what was cut off the end is missed: {said}"
    );
    let whole = run(&idm, &["audit", "verify", "--expect", &last], "").await;
    assert!(whole.status.success(), "{whole:?}");
}

#[tokio::test]
async fn the_trail_is_exported_as_ndjson_and_csv() {
    let (idm, _token) = busy_trail().await;
    let ndjson = run(&idm, &["audit", "export"], "").await;
    let ndjson = String::from_utf8(ndjson.stdout).unwrap();
    let rows: Vec<Value> = ndjson
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 61);
    assert_eq!(rows[0]["action"], "created, the first administrator");
    for two in rows.windows(2) {
        assert_eq!(two[0]["hash"], two[1]["previous_hash"]);
    }
    let csv = run(&idm, &["audit", "export", "--format", "csv"], "")
        .await
        .stdout;
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 61);
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(record.iter().next_back().unwrap(), row["hash"].as_str().unwrap());
    }
}

static ROLES: AtomicU32 = AtomicU32::new(0);

/// A role that is no superuser, dropped with the test's database.
async fn role(database: &TestDatabase) -> String {
    let name = format!(
        "test_role_{}_{}",
        std::process::id(),
        ROLES.fetch_add(1, Ordering::Relaxed)
    );
    let client = database.connect("public").await;
    client
        .batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'of-a-test'"))
        .await
        .unwrap();
    name
}

/// The database's address for this role.
fn url_of(database: &TestDatabase, role: &str) -> String {
    let url = database.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("database.postgres.url={scheme}://{role}:of-a-test@{host}")
}

/// The SQLSTATE with which a statement is refused.
async fn refused(url: &str, sql: &str) -> String {
    let url = url.trim_start_matches("database.postgres.url=");
    let (client, connection) =
        identity_core::db::tokio_postgres::connect(url, identity_core::db::tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path = idm_users").await.unwrap();
    let refused = client.batch_execute(sql).await.unwrap_err();
    refused.code().unwrap().code().to_owned()
}

#[tokio::test]
async fn the_services_role_can_change_no_row_even_if_it_owns_the_schema() {
    let database = Arc::new(TestDatabase::empty().await);
    let role = role(&database).await;
    let client = database.connect("public").await;
    client
        .batch_execute(&format!("CREATE SCHEMA idm_users AUTHORIZATION {role}"))
        .await
        .unwrap();
    let url = url_of(&database, &role);
    let idm = IDM.start_on(database.clone(), &Clock::system(), &[&url]).await;
    make_admin(&idm).await;
    for sql in [
        "UPDATE audit SET action = ''",
        "UPDATE audit SET action = '' WHERE false",
        "DELETE FROM audit",
        "TRUNCATE audit",
    ] {
        assert_eq!(refused(&url, sql).await, "42501", "{sql}");
    }
    // A superuser, whose rights nobody asks for, meets the trigger.
    let client = database.connect("idm_users").await;
    for sql in [
        "UPDATE audit SET action = '' WHERE false",
        "DELETE FROM audit",
        "TRUNCATE audit",
    ] {
        let refused = client.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
    assert!(idm.stop().await.is_ok());
    let tidied = format!("DROP SCHEMA idm_users CASCADE; DROP ROLE {role}");
    client.batch_execute(&tidied).await.unwrap();
}

#[tokio::test]
async fn the_service_runs_as_a_role_with_no_more_rights_than_deploy_gives_it() {
    let (owner, admin) = administered(&[]).await;
    let database = owner.database.clone();
    let role = role(&database).await;
    let client = database.connect("idm_users").await;
    let rights = include_str!("../../../../deploy/idm-users/roles.sql");
    let (_, rights) = rights.split_once("but changing the audit trail.\n").unwrap();
    client
        .batch_execute(&rights.replace("idm_users_service", &role))
        .await
        .unwrap();
    let url = url_of(&database, &role);
    let settings = [url.as_str(), "database.migrate=false"];
    let idm = IDM.start_on(database.clone(), &Clock::system(), &settings).await;
    // Every kind of change.
    let link = make_link(&idm, &admin, "S-1").await;
    let jwt = jwt_of(&idm, &admin, &link).await;
    assert_eq!(establish(&idm, &jwt, &patient("7")).await, 204);
    let body = json!({"username": "mei@example.org", "password": PASSWORD});
    assert_eq!(send(&idm, &admin, Method::POST, "/user", &body).await.0, 200);
    token(&idm, "mei@example.org", PASSWORD).await;
    assert_eq!(
        idm.post("/iforgot")
            .form(&[("username", ADMIN)])
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        send(
            &idm,
            &admin,
            Method::DELETE,
            "/user",
            &json!({"username": "mei@example.org"})
        )
        .await
        .0,
        204
    );
    for sql in [
        "UPDATE audit SET action = ''",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TABLE audit",
        "CREATE TABLE mine (x int)",
    ] {
        assert_eq!(refused(&url, sql).await, "42501", "{sql}");
    }
    assert!(idm.stop().await.is_ok());
    client
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await
        .unwrap();
}
