//! The configurations of the two originals, which go on working.

use std::path::PathBuf;

use identity_core::config::SslMode;
use identity_core::db::tokio_postgres;
use identity_testkit::{Process, TestDatabase};
use serde_json::{Value, json};

use crate::configuration::{file, read};
use crate::processes::{KEY, ident_in};

#[test]
fn the_second_original_s_environment_is_understood() {
    let environment = [
        ("PORT", "5123"),
        ("DATABASE_HOST", "db.example"),
        ("DATABASE_PORT", "5433"),
        ("DATABASE_USERNAME", "somebody"),
        ("DATABASE_PASSWORD", "pw"),
        ("DATABASE_SCHEMA_NAME", "people"),
        ("DATABASE_DRIVER", "postgresql+asyncpg"),
        ("DATABASE_CONNECTION_POOL_SIZE", "7"),
        ("DATABASE_CONNECTION_MAX_OVERFLOW", "4"),
        ("DATABASE_SSL_MODE", "verify-full"),
        ("DATABASE_SSL_ROOT_CERT", "/root.pem"),
        ("DATABASE_SSL_CERT", "/cert.pem"),
        ("DATABASE_SSL_KEY", "/key.pem"),
        ("ENCRYPTION_KEY", KEY),
    ];
    let config = read(&environment, &[], None).unwrap();
    let postgres = config.base.database.postgres;
    assert_eq!(config.base.server.bind.0.to_string(), "127.0.0.1:5123");
    assert_eq!(
        (postgres.host, postgres.port),
        (vec!["db.example".to_owned()], 5433)
    );
    assert_eq!(postgres.user.as_deref(), Some("somebody"));
    assert!(postgres.password.is_some());
    assert_eq!(postgres.schema, "people");
    assert_eq!(postgres.pool_size, 11);
    assert_eq!(postgres.sslmode, SslMode::VerifyFull);
    let files = [postgres.sslrootcert, postgres.sslcert, postgres.sslkey].map(Option::unwrap);
    assert_eq!(files, ["/root.pem", "/cert.pem", "/key.pem"].map(PathBuf::from));

    let size = |environment: &[(&str, &str)]| {
        read(environment, &[], None)
            .unwrap()
            .base
            .database
            .postgres
            .pool_size
    };
    assert_eq!(size(&[]), 16);
    assert_eq!(size(&environment[7..8]), 7);
    assert_eq!(size(&environment[8..9]), 20, "beyond what is configured");
    let bound = read(&[("PORT", "5123"), ("IDENT__SERVER__BIND", "[::1]:1")], &[], None).unwrap();
    assert_eq!(
        bound.base.server.bind.0.to_string(),
        "[::1]:5123",
        "the port alone"
    );
    for driver in ["postgresql", "Postgres", "org.postgresql.Driver", ""] {
        assert!(
            read(&[("DATABASE_DRIVER", driver)], &[], None).is_ok(),
            "{driver}"
        );
    }
    for (name, value) in [
        ("DATABASE_DRIVER", "mysql+pymysql"),
        ("DATABASE_CONNECTION_POOL_SIZE", "many"),
        ("DATABASE_CONNECTION_MAX_OVERFLOW", "-1"),
        ("DATABASE_PORT", "5432x"),
        ("DATABASE_SSL_MODE", "perhaps"),
        ("PORT", "http"),
    ] {
        let refused = read(&[(name, value)], &[], None).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
}

#[test]
fn defaults_are_the_original_s() {
    let postgres = read(&[], &[], None).unwrap().base.database.postgres;
    assert_eq!(
        (postgres.host, postgres.port),
        (vec!["localhost".to_owned()], 5432)
    );
    assert_eq!(postgres.database.as_deref(), Some("glotpod.ident"));
    assert_eq!(postgres.user.as_deref(), Some("glotpod.ident"));
}

#[tokio::test]
async fn the_original_s_file_serves() {
    let database = TestDatabase::empty().await;
    let url: tokio_postgres::Config = database.url().parse().unwrap();
    let host = match &url.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(directory) => directory.to_str().unwrap().to_owned(),
    };
    let password = String::from_utf8(url.get_password().unwrap_or(b"anything").to_vec()).unwrap();
    let text = format!(
        "[database]\nencryption_key = \"AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPQ====\"\n\
         [database.postgres]\nhost = \"{host}\"\nport = {}\ndatabase = \"{}\"\nuser = \"{}\"\npassword = \"{password}\"\n",
        url.get_ports()[0],
        url.get_dbname().unwrap(),
        url.get_user().unwrap(),
    );
    let (_directory, path) = file(&text);
    let command = ident_in(
        &[
            ("PHI_IDENT_SETTINGS", &path),
            ("PORT", "0"),
            ("IDENT__AUTH__RECORDS", "open"),
        ],
        &[],
    );
    let process = Process::start(command);
    let address = process.address().await;
    let answer = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!([]));
}
