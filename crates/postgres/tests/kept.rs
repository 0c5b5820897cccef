//! Servers whose data are kept: that these are there again, and what stands in the way of a start.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use private_postgres::{Error, Options, Programs, Server, erase};
use tempfile::TempDir;

/// A directory that Postgres' user can reach, should we be root (whose TMPDIR may be private), and a port.
struct Place {
    dir: PathBuf,
    port: u16,
    temporary: TempDir,
}

impl Place {
    fn new() -> Self {
        let temporary = tempfile::tempdir_in("/tmp").unwrap();
        set_mode(temporary.path(), 0o755);
        Self {
            dir: temporary.path().join("below/kept"),
            port: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            temporary,
        }
    }

    async fn try_start(&self) -> Result<Server, Error> {
        let programs = Programs::find().expect("these tests need the Postgres programs");
        Server::start(programs, Options::kept(&self.dir, self.port)).await
    }

    async fn start(&self) -> Server {
        self.try_start().await.unwrap()
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn write_down(server: &Server) {
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE note (text text); INSERT INTO note VALUES ('kept')")
        .await
        .unwrap();
}

async fn read_again(server: &Server) -> String {
    let client = server.connect("postgres").await.unwrap();
    client
        .query_one("SELECT text FROM note", &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn data_are_there_after_a_stop_and_after_a_kill() {
    let place = Place::new();
    let server = place.start().await;
    assert_eq!((server.host().as_str(), server.port()), ("127.0.0.1", place.port));
    assert_eq!(server.data_dir(), place.dir.join("data"));
    write_down(&server).await;
    server.stop().await.unwrap();

    let server = place.start().await;
    assert_eq!(read_again(&server).await, "kept");
    let postgres = server.pid().unwrap().try_into().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(postgres).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    server.stop().await.unwrap();

    let server = place.start().await;
    assert_eq!(read_again(&server).await, "kept");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn it_is_safe_and_only_for_this_machine() {
    let place = Place::new();
    let server = place.start().await;
    let client = server.connect("postgres").await.unwrap();
    for (name, expected) in [
        ("listen_addresses", "127.0.0.1"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
    ] {
        let value: String = client
            .query_one(&format!("SHOW {name}"), &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(value, expected, "{name}");
    }
    for dir in [&place.dir, server.socket_dir(), server.data_dir()] {
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700, "{}", dir.display());
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_taken_is_named() {
    let place = Place::new();
    let _other = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let error = place.try_start().await.unwrap_err();
    assert!(matches!(error, Error::PortTaken(port) if port == place.port));
    assert!(
        error.to_string().contains(&format!("port {}", place.port)),
        "{error}"
    );
}

#[tokio::test]
async fn data_in_use_are_refused_and_the_running_server_is_not_disturbed() {
    let place = Place::new();
    let server = place.start().await;
    write_down(&server).await;
    let error = place.try_start().await.unwrap_err();
    assert!(
        matches!(&error, Error::InUse(dir) if *dir == place.dir),
        "{error}"
    );
    assert!(matches!(erase(&place.dir).await, Err(Error::InUse(_))));
    assert_eq!(read_again(&server).await, "kept");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_just_stopping_is_waited_for() {
    let place = Place::new();
    let server = place.start().await;
    write_down(&server).await;
    drop(server);
    let server = place.start().await;
    assert_eq!(read_again(&server).await, "kept");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn erased_data_are_gone() {
    let place = Place::new();
    erase(&place.dir).await.unwrap();
    let server = place.start().await;
    write_down(&server).await;
    server.stop().await.unwrap();
    erase(&place.dir).await.unwrap();
    let server = place.start().await;
    let client = server.connect("postgres").await.unwrap();
    assert!(client.query_one("SELECT text FROM note", &[]).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_with_other_things_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir_all(&place.dir).unwrap();
    std::fs::write(place.dir.join("letter"), "dear").unwrap();
    let before = place.dir.metadata().unwrap();
    for error in [
        place.try_start().await.unwrap_err(),
        erase(&place.dir).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Directory { .. }), "{error}");
    }
    let after = place.dir.metadata().unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
    assert!(place.dir.join("letter").exists());
}

#[tokio::test]
async fn half_made_data_are_made_again() {
    let place = Place::new();
    let server = place.start().await;
    server.stop().await.unwrap();
    // As if the machine had been switched off during the first start.
    std::fs::rename(place.dir.join("data"), place.dir.join("data.new")).unwrap();
    std::fs::remove_file(place.dir.join("data.new/global/pg_control")).unwrap();
    let server = place.start().await;
    write_down(&server).await;
    server.stop().await.unwrap();
    assert!(!place.dir.join("data.new").exists());
}

#[tokio::test]
async fn a_directory_too_deep_for_a_socket_has_it_elsewhere() {
    let mut place = Place::new();
    place.dir = place.temporary.path().join("deep".repeat(30));
    let server = place.start().await;
    let sockets = server.socket_dir().to_owned();
    assert!(!sockets.starts_with(&place.dir));
    server.connect("postgres").await.unwrap();
    server.stop().await.unwrap();
    assert!(!sockets.exists());
}

/// For root only: there is nobody else to whom a directory of ours could be out of reach.
#[tokio::test]
async fn a_directory_out_of_reach_has_a_stand_in() {
    let place = Place::new();
    set_mode(place.temporary.path(), 0o700);
    let server = place.start().await;
    write_down(&server).await;
    let data = server.data_dir().to_owned();
    let stand_in = data.parent().unwrap().to_owned();
    assert_eq!(data.starts_with("/var/tmp"), rustix::process::geteuid().is_root());
    server.stop().await.unwrap();
    let server = place.start().await;
    assert_eq!(read_again(&server).await, "kept");
    server.stop().await.unwrap();
    erase(&place.dir).await.unwrap();
    assert!(!data.exists());
    std::fs::remove_dir_all(stand_in).unwrap();
}
