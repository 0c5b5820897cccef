//! Settings that cannot work: one line that names the place, the key and what is expected.

use std::process::Output;

use identity_testkit::TestDatabase;

use crate::configuration::{FILE, config, file};
use crate::processes::{KEY, complained, run, status};

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line_that_names_place_and_key() {
    let key = format!("database.encryption_key={KEY}");
    let set = |setting: &'static str| {
        vec![
            "--set".to_owned(),
            key.clone(),
            "--set".to_owned(),
            setting.to_owned(),
        ]
    };
    let (_a, unknown) = file(&format!("{FILE}[server]\nbnd = \"127.0.0.1:1\"\n"));
    let (_b, malformed) = file("[server]\nbind = \"127.0.0.1:1\nworkers = 1\n");
    let (_c, wrong_type) = file(&format!("{FILE}[server]\nworkers = \"many\"\n"));
    let (_d, table) = file(&format!("{FILE}[log]\nlevel = 5\nlevels = 6\n"));
    let with = |path: &str| vec!["--config".to_owned(), path.to_owned()];
    let cases: Vec<(Vec<String>, Vec<&str>)> = vec![
        (with(&unknown), vec![&unknown, "server.bnd", "server.bind"]),
        (with(&malformed), vec![&malformed, "line 2"]),
        (with(&wrong_type), vec![&wrong_type, "server.workers"]),
        (with(&table), vec![&table, "log.levels", "log.level"]),
        (with("/nonexistent/ident.toml"), vec!["/nonexistent/ident.toml"]),
        (vec![], vec!["database.encryption_key", "not set", "base64"]),
        (
            vec!["--set".into(), "database.encryption_key=short".into()],
            vec!["database.encryption_key", "malformed"],
        ),
        (
            vec!["--set".into(), format!("database.encryption_key={KEY},x")],
            vec!["database.encryption_key", "key 2"],
        ),
        (set("nonsense"), vec!["command line", "nonsense", "key=value"]),
        (
            set("server.bind=nowhere"),
            vec!["command line", "server.bind", "nowhere"],
        ),
        (set("server.workers=-1"), vec!["command line", "server.workers"]),
        (
            set("server.body_limit=lots"),
            vec!["command line", "server.body_limit"],
        ),
        (
            set("server.request_timeout=soon"),
            vec!["command line", "server.request_timeout", "soon", "30s"],
        ),
        (
            set("server.trusted_proxies=10.0.0.0/8,all"),
            vec!["command line", "server.trusted_proxies", "all"],
        ),
        (
            set("database.migrate=perhaps"),
            vec!["command line", "database.migrate"],
        ),
        (
            set("database.postgres.port=70000"),
            vec!["command line", "database.postgres.port"],
        ),
        (
            set("database.postgres.sslmode=maybe"),
            vec!["command line", "database.postgres.sslmode"],
        ),
        (
            set("database.postgres.outage_exit=later"),
            vec!["command line", "database.postgres.outage_exit", "never"],
        ),
        (set("auth.records=closed"), vec!["command line", "auth.records"]),
        (set("log.format=xml"), vec!["command line", "log.format"]),
        (
            set("services.allowed=GitHub"),
            vec!["command line", "services.allowed"],
        ),
        (set("notifications.url=push.example"), vec!["notifications"]),
        (
            set("notifications.url=https://push.example"),
            vec!["notifications.secret", "not set"],
        ),
        (
            set("notificatons.url=x"),
            vec!["command line", "notificatons.url", "`notifications.url`"],
        ),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let refused = config(&[], &arguments).await;
        assert_refused(&refused, &expected);
    }
    let environment = [("IDENT__SERVER__BODY_LIMIT", "lots"), ("ENCRYPTION_KEY", KEY)];
    assert_refused(
        &config(&environment, &[]).await,
        &[
            "environment variable IDENT__SERVER__BODY_LIMIT",
            "server.body_limit",
        ],
    );
    let environment = [("IDENT__SERVR__BIND", "127.0.0.1:1"), ("ENCRYPTION_KEY", KEY)];
    assert_refused(
        &config(&environment, &[]).await,
        &["environment variable IDENT__SERVR__BIND", "`server.bind`"],
    );
}

fn assert_refused(refused: &Output, expected: &[&str]) {
    let complaint = complained(refused);
    assert_eq!(status(refused), 2, "{expected:?}: {complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("ident: "), "{complaint}");
    for text in expected {
        assert!(complaint.contains(text), "{text}: {complaint}");
    }
    assert!(!complaint.contains(KEY), "{complaint}");
}

#[tokio::test]
async fn what_only_serving_needs_is_refused_when_it_serves() {
    let database = TestDatabase::empty().await;
    for (setting, expected) in [
        ("log.level=loud", "log.level"),
        ("database.postgres.schema=a b", "database.postgres.schema"),
        (
            "database.postgres.sslcert=/nonexistent",
            "database.postgres.sslcert",
        ),
        ("metrics.bind=nowhere", "metrics.bind"),
    ] {
        let refused = run(&database, &["--set", setting]).await;
        assert_eq!(status(&refused), 2, "{setting}: {}", complained(&refused));
        let complaint = complained(&refused);
        assert!(
            complaint.lines().last().unwrap().contains(expected),
            "{complaint}"
        );
    }
}
