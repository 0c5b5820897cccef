//! However a server, or the process that started it, comes to its end: nothing of it remains.
//!
//! The processes that come to an end are this test program itself, started again to run the test `victim` only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use private_postgres::{Options, Programs, Server};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// Says to the test `victim` that it is to be one, and how.
const FATE: &str = "PRIVATE_POSTGRES_FATE";

/// Says to it where to keep data, if it is to keep them.
const KEEP: &str = "PRIVATE_POSTGRES_KEEP";

async fn start(options: Options) -> Server {
    let programs = Programs::find().expect("these tests need the Postgres programs");
    Server::start(programs, options).await.unwrap()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

fn is_running(number: u32) -> bool {
    test_kill_process(pid(number)).is_ok()
}

/// Waits for something that is to happen within a few seconds; a busy machine is given more.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not yet");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A directory that other users can write to as well, as `/tmp` is and the TMPDIR of root may not be.
fn open_dir() -> TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    dir
}

/// The names in `dir` but for the template of data directories, which is meant to remain.
fn left_in(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("identity-services-initdb-"))
        .collect()
}

/// A process that has started a server.
struct Victim {
    child: Child,
    /// Postgres itself.
    postgres: u32,
    data: PathBuf,
}

impl Victim {
    fn spawn(fate: &str, temporary: &Path, keep: Option<(&Path, u16)>) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "victim", "--nocapture"])
            .env(FATE, fate)
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some((dir, port)) = keep {
            command.env(KEEP, format!("{port}:{}", dir.display()));
        }
        command.spawn().unwrap()
    }

    /// One whose server is up.
    fn with_server(fate: &str, temporary: &Path, keep: Option<(&Path, u16)>) -> Self {
        let mut child = Self::spawn(fate, temporary, keep);
        let said = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.split_once("server: ").map(|(_, said)| said.to_owned()))
            .expect("the victim has started its server");
        let (postgres, data) = said.split_once(' ').unwrap();
        Self {
            child,
            postgres: postgres.parse().unwrap(),
            data: data.into(),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Not a test: what the others start as a process of its own.
#[tokio::test]
async fn victim() {
    let Ok(fate) = std::env::var(FATE) else { return };
    let options = match std::env::var(KEEP) {
        Ok(keep) => {
            let (port, dir) = keep.split_once(':').unwrap();
            Options::kept(dir, port.parse().unwrap())
        }
        Err(_) => Options::ephemeral(),
    };
    if fate == "is killed while starting" {
        println!("starting");
    }
    let server = start(options).await;
    println!(
        "server: {} {}",
        server.pid().unwrap(),
        server.data_dir().display()
    );
    match fate.as_str() {
        "exits" => {
            // As with a server in a `static`: nothing is dropped.
            std::mem::forget(server);
            std::process::exit(0);
        }
        _ => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_stop_leaves_nothing_even_while_a_client_is_busy() {
    let server = start(Options::ephemeral()).await;
    let (postgres, dir) = (server.pid().unwrap(), server.socket_dir().to_owned());
    assert!(is_running(postgres) && dir.exists());
    let client = server.connect("postgres").await.unwrap();
    let busy = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await });
    server.stop().await.unwrap();
    assert!(!is_running(postgres));
    assert!(!dir.exists());
    assert!(busy.await.unwrap().is_err());
}

#[tokio::test]
async fn a_dropped_server_goes_by_itself() {
    let server = start(Options::ephemeral()).await;
    let (postgres, dir) = (server.pid().unwrap(), server.socket_dir().to_owned());
    drop(server);
    until("the end of it", || !is_running(postgres) && !dir.exists()).await;
}

#[tokio::test]
async fn a_server_that_is_killed_is_cleaned_up_after() {
    let server = start(Options::ephemeral()).await;
    let (postgres, dir) = (server.pid().unwrap(), server.socket_dir().to_owned());
    kill_process(pid(postgres), Signal::KILL).unwrap();
    until("the end of it", || !is_running(postgres) && !dir.exists()).await;
    assert_eq!(server.pid(), None);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn sigkill_of_the_starter_leaves_nothing() {
    let temporary = open_dir();
    let mut victim = Victim::with_server("is killed", temporary.path(), None);
    assert!(is_running(victim.postgres) && victim.data.starts_with(temporary.path()));
    victim.kill();
    until("the end of it", || {
        !is_running(victim.postgres) && left_in(temporary.path()).is_empty()
    })
    .await;
}

#[tokio::test]
async fn exit_without_a_drop_leaves_nothing() {
    let temporary = open_dir();
    let mut victim = Victim::with_server("exits", temporary.path(), None);
    assert!(victim.child.wait().unwrap().success());
    until("the end of it", || {
        !is_running(victim.postgres) && left_in(temporary.path()).is_empty()
    })
    .await;
}

/// While `initdb` makes the data, while they are unpacked, while Postgres does not handle signals yet, and later.
#[tokio::test]
async fn sigkill_during_a_start_leaves_nothing() {
    let temporary = open_dir();
    let dir = temporary.path();
    for moment in [5, 50, 500, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200] {
        if moment == 500 {
            // From here on there is a template.
            Victim::with_server("is killed", dir, None).kill();
        }
        let mut child = Victim::spawn("is killed while starting", dir, None);
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("starting")));
        tokio::time::sleep(Duration::from_millis(moment)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        until("the end of it", || !runs_with(dir) && left_in(dir).is_empty()).await;
    }
}

/// Not an end, but as these it needs a temporary directory of its own.
#[tokio::test]
async fn a_damaged_template_is_made_again_and_a_foreign_one_left_alone() {
    let temporary = open_dir();
    let dir = temporary.path();
    Victim::with_server("is killed", dir, None).kill();
    let mut templates = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let template = templates
        .find(|path| path.extension().is_some_and(|extension| extension == "tar"))
        .unwrap();
    let length = template.metadata().unwrap().len();

    std::fs::OpenOptions::new()
        .write(true)
        .open(&template)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    Victim::with_server("is killed", dir, None).kill();
    assert!(!template.exists());
    Victim::with_server("is killed", dir, None).kill();
    assert_eq!(template.metadata().unwrap().len(), length);

    let elsewhere = dir.join("elsewhere");
    std::fs::rename(&template, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &template).unwrap();
    Victim::with_server("is killed", dir, None).kill();
    assert!(template.is_symlink());
    std::fs::remove_file(elsewhere).unwrap();
    until("the end of them", || left_in(dir).is_empty()).await;
}

/// Whether any process has `dir` in its arguments; on a system without `/proc`, none has.
fn runs_with(dir: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|arguments| String::from_utf8_lossy(&arguments).contains(dir.to_str().unwrap()))
}

#[tokio::test]
async fn data_of_a_killed_starter_can_be_taken_over_at_once() {
    let temporary = open_dir();
    let keep = temporary.path().join("kept");
    let port = free_port();
    let mut victim = Victim::with_server("is killed", temporary.path(), Some((&keep, port)));
    victim.kill();
    let server = start(Options::kept(&keep, port)).await;
    assert_eq!(server.data_dir(), victim.data);
    assert_ne!(server.pid(), Some(victim.postgres));
    server.stop().await.unwrap();
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
