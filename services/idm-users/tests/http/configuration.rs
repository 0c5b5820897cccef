//! Every key of the configuration that is our own: what it does is tested where it belongs; here, what
//! is refused, with which exit status and in which words, and that no secret is shown.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::Output;

use identity_testkit::{TestDatabase, command, output};

const SECRET: &str = "a secret of a test, of thirty-two bytes or more";

async fn ran(settings: &[(&'static str, &str)], arguments: &[&str]) -> Output {
    let environment: BTreeMap<&str, String> = settings
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    output(command(env!("CARGO_BIN_EXE_idm-users"), &environment, arguments)).await
}

async fn complained(settings: &[(&'static str, &str)], expected: &str) {
    let output = ran(settings, &["serve"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn a_service_without_a_good_secret_does_not_start() {
    complained(&[], "jwt.secret: expected at least 32 bytes").await;
    complained(
        &[("IDM_USERS__JWT__SECRET", "thirty-one bytes are not enough")],
        "jwt.secret",
    )
    .await;
    complained(
        &[
            ("IDM_USERS__JWT__SECRET", SECRET),
            ("IDM_USERS__JWT__ALGORITHM", "HS512"),
        ],
        "jwt.secret: expected at least 64 bytes for HS512",
    )
    .await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    for (name, value, expected) in [
        ("IDM_USERS__JWT__ALGORITHM", "RS256", "jwt.algorithm"),
        (
            "IDM_USERS__JWT__EXPIRATION_SECONDS",
            "0",
            "jwt.expiration_seconds",
        ),
        (
            "IDM_USERS__JWT__EXPIRATION_SECONDS",
            "soon",
            "jwt.expiration_seconds",
        ),
        ("IDM_USERS__PASSWORD__MIN_LENGTH", "7", "password.min_length"),
        ("IDM_USERS__PASSWORD__MIN_LENGTH", "200", "password.min_length"),
        ("IDM_USERS__ADMIN_EMAIL", "nobody", "admin_email"),
        ("IDM_USERS__MAIL__FROM", "nobody", "mail.from"),
        ("IDM_USERS__MAIL__TRANSPORT", "pigeon", "mail.transport"),
        ("IDM_USERS__MAIL__TRANSPORT", "file", "mail.directory"),
        ("IDM_USERS__MAIL__ENCRYPTION", "some", "mail.encryption"),
        (
            "IDM_USERS__MAIL__USERNAME",
            "idm",
            "mail.username and mail.password",
        ),
        ("IDM_USERS__MAIL__RETRY_INTERVAL", "0", "mail.retry_interval"),
        ("IDM_USERS__MAIL__PORT", "70000", "mail.port"),
        ("IDM_USERS__MAIL__SERVR", "x", "mail.server"),
        ("IDM_USERS__INIT__COD", "x", "init.code"),
    ] {
        complained(&[("IDM_USERS__JWT__SECRET", SECRET), (name, value)], expected).await;
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("code");
    std::fs::write(&file, "the-setup-code\n").unwrap();
    let settings = [
        ("IDM_USERS__JWT__SECRET", SECRET),
        ("IDM_USERS__MAIL__USERNAME", "idm"),
        ("IDM_USERS__MAIL__PASSWORD", "the-mail-password"),
        ("IDM_USERS__INIT__CODE_FILE", file.to_str().unwrap()),
        ("IDM_USERS__ADMIN_EMAIL", "office@example.org"),
    ];
    let output = ran(&settings, &["config"]).await;
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    for secret in [SECRET, "the-mail-password", "the-setup-code"] {
        assert!(!shown.contains(secret));
    }
    for key in [
        "admin_email",
        "init.code",
        "jwt.secret",
        "jwt.expiration_seconds",
        "mail.retry_interval",
        "password.min_length",
        "trusted_issuers",
    ] {
        assert!(shown.contains(key), "{key}");
    }
    assert!(
        shown.contains("office@example.org") && shown.contains("127.0.0.1:9096") && shown.contains("43200")
    );
}

#[tokio::test]
async fn without_postgres_it_ends_with_129() {
    let settings = [
        ("IDM_USERS__JWT__SECRET", SECRET),
        ("IDM_USERS__SERVER__BIND", "127.0.0.1:0"),
        (
            "IDM_USERS__DATABASE__POSTGRES__URL",
            "postgresql://me@127.0.0.1:1/none",
        ),
        ("IDM_USERS__DATABASE__POSTGRES__CONNECT_TIMEOUT", "1s"),
    ];
    assert_eq!(ran(&settings, &[]).await.status.code(), Some(129));
}

#[tokio::test]
async fn migrations_are_applied_once_by_their_command() {
    let database = TestDatabase::empty().await;
    let url = database.url();
    let settings = [
        ("IDM_USERS__JWT__SECRET", SECRET),
        ("IDM_USERS__DATABASE__POSTGRES__URL", url.as_str()),
    ];
    let first = ran(&settings, &["migrate"]).await;
    assert!(
        String::from_utf8(first.stdout)
            .unwrap()
            .contains("2 migrations applied")
    );
    let second = ran(&settings, &["migrate"]).await;
    assert!(
        String::from_utf8(second.stdout)
            .unwrap()
            .contains("0 migrations applied")
    );
    let client = database.connect("idm_users").await;
    client.query("SELECT * FROM subjects", &[]).await.unwrap();
}
