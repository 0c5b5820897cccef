//! Servers whose data are thrown away: what they answer, and with which settings they run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use private_postgres::{Error, Options, Programs, Server};

fn programs() -> Programs {
    Programs::find().expect("these tests need the Postgres programs")
}

async fn start() -> Server {
    Server::start(programs(), Options::ephemeral()).await.unwrap()
}

async fn setting(server: &Server, name: &str) -> String {
    let client = server.connect("postgres").await.unwrap();
    let row = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
    row.get(0)
}

#[tokio::test]
async fn it_answers() {
    let server = start().await;
    let (client, connection) =
        tokio_postgres::connect(&server.connection_string("postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let one: i32 = client.query_one("SELECT 1", &[]).await.unwrap().get(0);
    assert_eq!(one, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn its_parts_make_a_connection_too() {
    let server = start().await;
    let mut config = tokio_postgres::Config::new();
    config
        .host(server.host())
        .port(server.port())
        .user("postgres")
        .dbname("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn libpq_programs_understand_the_connection_string() {
    let server = start().await;
    let dump = server.programs().program("pg_dump");
    let output = std::process::Command::new(dump)
        .arg(server.connection_string("postgres"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn it_is_quick_and_private_and_generous() {
    let server = start().await;
    assert_eq!(setting(&server, "listen_addresses").await, "");
    assert_eq!(setting(&server, "fsync").await, "off");
    assert_eq!(setting(&server, "max_connections").await, "300");
    assert_eq!(setting(&server, "server_encoding").await, "UTF8");
    assert_eq!(setting(&server, "timezone").await, "UTC");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_callers_settings_win() {
    let mut options = Options::ephemeral();
    options.settings.push(("max_connections".into(), "17".into()));
    options
        .settings
        .push(("application_name".into(), "it's; $(not) \"a\" 'script'".into()));
    let server = Server::start(programs(), options).await.unwrap();
    assert_eq!(setting(&server, "max_connections").await, "17");
    assert_eq!(
        setting(&server, "application_name").await,
        "it's; $(not) \"a\" 'script'"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn databases_are_created_once_whatever_their_name() {
    let server = start().await;
    for name in ["plain", "With \"quotes\", a comma and a/slash", "größe"] {
        assert!(server.create_database(name).await.unwrap());
        assert!(!server.create_database(name).await.unwrap());
        let client = server.connect(name).await.unwrap();
        let current: String = client
            .query_one("SELECT current_database()::text", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(current, name);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn several_run_side_by_side() {
    let (one, other) = tokio::join!(start(), start());
    assert_ne!(one.data_dir(), other.data_dir());
    assert!(one.create_database("same").await.unwrap());
    assert!(other.create_database("same").await.unwrap());
    one.stop().await.unwrap();
    other.connect("same").await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_start_says_what_postgres_says() {
    let mut options = Options::ephemeral();
    options.settings.push(("no_such_setting".into(), "1".into()));
    let error = Server::start(programs(), options).await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }));
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}
