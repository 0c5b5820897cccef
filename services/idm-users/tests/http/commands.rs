//! The commands of the real binary: users, their import, and the export of subjects.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use identity_testkit::TestService;
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{ADMIN, PASSWORD, administered, get, make_subject, send, sign_in, token};

/// Runs a command on the service's database, with `input` on its standard input.
pub async fn run(idm: &TestService, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idm-users"));
    command
        .env_clear()
        .env("IDM_USERS__DATABASE__POSTGRES__URL", idm.database.url())
        .env(
            "IDM_USERS__JWT__SECRET",
            "a secret of a test, of thirty-two bytes or more",
        )
        .env("IDM_USERS__MAIL__TRANSPORT", "none")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Who does not read what it is given has ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    tokio::time::timeout(std::time::Duration::from_mins(1), ended)
        .await
        .unwrap()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn an_operator_makes_lists_changes_and_deletes_users() {
    let idm = crate::IDM.start(&[]).await;
    let create = [
        "users",
        "create",
        "--username",
        ADMIN,
        "--password-stdin",
        "--admin",
    ];
    let made = run(&idm, &create, &format!("{PASSWORD}\n")).await;
    assert!(made.status.success(), "{}", said(&made));
    let admin = token(&idm, ADMIN, PASSWORD).await;
    assert_eq!(
        get(&idm, &admin, &format!("/user/{ADMIN}")).await.1["data"]["admin"],
        true
    );
    assert_eq!(run(&idm, &create, PASSWORD).await.status.code(), Some(1), "taken");
    let weak = run(
        &idm,
        &[
            "users",
            "create",
            "--username",
            "mei@example.org",
            "--password-stdin",
        ],
        "short",
    )
    .await;
    assert_eq!(weak.status.code(), Some(2), "{}", said(&weak));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "another good one\n").unwrap();
    let file = file.to_str().unwrap();
    let mei = run(
        &idm,
        &[
            "users",
            "create",
            "--username",
            "mei@example.org",
            "--password-file",
            file,
        ],
        "",
    )
    .await;
    assert!(mei.status.success(), "{}", said(&mei));
    let listed = said(&run(&idm, &["users", "list"], "").await);
    assert!(
        listed.contains("mei@example.org") && listed.contains(ADMIN),
        "{listed}"
    );
    let old = token(&idm, "mei@example.org", "another good one").await;
    let set = [
        "users",
        "set-password",
        "--username",
        "MEI@example.org",
        "--password-stdin",
    ];
    assert!(run(&idm, &set, "a third good one").await.status.success());
    assert_eq!(get(&idm, &old, "/subject").await.0, 401);
    assert_eq!(
        sign_in(&idm, "mei@example.org", "a third good one")
            .await
            .status(),
        200
    );
    assert!(
        run(&idm, &["users", "delete", "--username", "mei@example.org"], "")
            .await
            .status
            .success()
    );
    assert_eq!(
        run(&idm, &["users", "delete", "--username", "mei@example.org"], "")
            .await
            .status
            .code(),
        Some(1)
    );
    let last = run(&idm, &["users", "delete", "--username", ADMIN], "").await;
    assert!(
        !last.status.success() && said(&last).contains("last administrator"),
        "{}",
        said(&last)
    );
    assert!(
        run(&idm, &["audit", "verify"], "").await.status.success(),
        "all of that is in the trail"
    );
}

#[tokio::test]
async fn users_are_made_from_a_csv_file_with_a_line_for_each() {
    let (idm, _) = administered(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.csv");
    let rows = "username,password,admin\n\
        mei@example.org,winter-is-coming,\n\
        \"boss@example.org\",\"a password, with a comma\",true\n\
        mei@example.org,winter-is-coming,false\n\
        weak@example.org,short,\n\
        odd@example.org,winter-is-coming,perhaps\n";
    std::fs::write(&file, rows).unwrap();
    let arguments = [
        "create-users",
        "--host",
        &idm.url,
        "--username",
        ADMIN,
        "--password-stdin",
        "--csv",
        file.to_str().unwrap(),
    ];
    let made = run(&idm, &arguments, PASSWORD).await;
    let lines = String::from_utf8(made.stdout.clone()).unwrap();
    assert_eq!(made.status.code(), Some(1), "{}", said(&made));
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(
        lines[..2],
        ["line 2: mei@example.org: made", "line 3: boss@example.org: made"]
    );
    assert!(
        lines[2].starts_with("line 4: mei@example.org: refused: There is a user"),
        "{lines:?}"
    );
    assert!(
        lines[3].starts_with("line 5: weak@example.org: refused: password"),
        "{lines:?}"
    );
    assert!(
        lines[4].starts_with("line 6: odd@example.org: refused: admin"),
        "{lines:?}"
    );
    assert_eq!(lines[5], "2 of 5 users were made");
    assert_eq!(lines.len(), 6);
    let boss = token(&idm, "boss@example.org", "a password, with a comma").await;
    assert_eq!(
        get(&idm, &boss, "/user/mei@example.org").await.1["data"]["admin"],
        false
    );
    assert!(!said(&made).contains("winter"), "no password is printed");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_makes_nobody() {
    let (idm, _) = administered(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.csv");
    for rows in [
        "username,password\nmei@example.org,winter-is-coming\nonly-one\n",
        "name,word\na,b\n",
    ] {
        std::fs::write(&file, rows).unwrap();
        let arguments = [
            "create-users",
            "--host",
            &idm.url,
            "--username",
            ADMIN,
            "--password-stdin",
            "--csv",
            file.to_str().unwrap(),
        ];
        assert_eq!(run(&idm, &arguments, PASSWORD).await.status.code(), Some(2));
    }
    assert_eq!(sign_in(&idm, "mei@example.org", PASSWORD).await.status(), 401);
    let wrong = [
        "create-users",
        "--host",
        &idm.url,
        "--username",
        ADMIN,
        "--password-stdin",
        "--csv",
        "/nowhere",
    ];
    assert_eq!(run(&idm, &wrong, PASSWORD).await.status.code(), Some(2));
    std::fs::write(&file, "username,password\n").unwrap();
    let wrong = [
        "create-users",
        "--host",
        &idm.url,
        "--username",
        ADMIN,
        "--password-stdin",
        "--csv",
        file.to_str().unwrap(),
    ];
    assert_eq!(run(&idm, &wrong, "wrong").await.status.code(), Some(1));
}

#[tokio::test]
async fn subjects_are_exported_as_ndjson_and_csv() {
    let (idm, token) = administered(&[]).await;
    make_subject(
        &idm,
        &token,
        "S-2",
        &json!({"name": "Comma, \"quoted\"", "site": {"room": 7}}),
    )
    .await;
    make_subject(&idm, &token, "S-1", &json!({"date_invited": "2026-01-02"})).await;
    let change = json!({"sssid": "S-1", "email": "mei@example.org"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &change).await.0,
        204
    );
    let ndjson = run(&idm, &["subjects", "export"], "").await;
    let lines = String::from_utf8(ndjson.stdout).unwrap();
    let subjects: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(subjects.len(), 2);
    assert_eq!(subjects[0], get(&idm, &token, "/subject/S-1").await.1["data"]);
    let csv = run(&idm, &["subjects", "export", "--format", "csv"], "")
        .await
        .stdout;
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let names: Vec<String> = reader.headers().unwrap().iter().map(ToOwned::to_owned).collect();
    assert_eq!(names[..5], ["sssid", "name", "bday", "email", "date_invited"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((&rows[0][3], &rows[0][4]), ("mei@example.org", "2026-01-02"));
    assert_eq!(
        (&rows[1][1], &rows[1][10]),
        ("Comma, \"quoted\"", r#"{"site":{"room":7}}"#)
    );
}
