//! The launcher as a developer meets it: the real program, on ports and in a directory of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use private_postgres::{Programs, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Within this time what must come has come, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many records a fresh launcher has: the administrator's and six of the demo.
const DEMO: usize = 7;

/// How many ports a launcher has from its port base on.
const PORTS: u16 = 20;

/// A directory and ports for one launcher after the other.
struct Place {
    temporary: TempDir,
    base: u16,
    database_url: Option<String>,
}

impl Place {
    fn new() -> Self {
        // As root, Postgres runs as somebody else and has to come through here.
        let temporary = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            temporary,
            base: free_base(),
            database_url: None,
        }
    }

    fn dir(&self) -> PathBuf {
        self.temporary.path().join("dev")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dev"));
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.dir())
            .env_remove("DATABASE_URL")
            .envs(self.database_url.iter().map(|url| ("DATABASE_URL", url)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    async fn run(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.command(arguments).output())
            .await
            .expect("it ends")
            .unwrap()
    }

    /// A launcher that runs at our ports, with `arguments`.
    fn begin(&self, arguments: &[&str]) -> Launcher {
        let base = self.base.to_string();
        let mut child = self
            .command(&[&["--port-base", base.as_str()], arguments].concat())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Launcher {
            child,
            lines,
            printed: Vec::new(),
        }
    }

    /// The same, once it says that all is ready.
    async fn start(&self, arguments: &[&str]) -> Launcher {
        let mut launcher = self.begin(arguments);
        launcher.says("begins anew").await;
        launcher
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.base)
    }

    /// The content of a file that the launcher keeps, which nobody else can read.
    fn secret(&self, name: &str) -> String {
        let path = self.dir().join(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        std::fs::read_to_string(path).unwrap().trim_end().to_owned()
    }

    /// A token of the administrator.
    async fn token(&self) -> String {
        let body = json!({"username": "admin", "password": self.secret("admin.password")});
        let request = reqwest::Client::new().post(format!("{}auth/login", self.url()));
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn names(&self) -> Vec<String> {
        let request = reqwest::Client::new().get(self.url());
        let answer = request.bearer_auth(self.token().await).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        names(&answer.json().await.unwrap())
    }

    /// Makes a person that no demo has.
    async fn add_person(&self) {
        let person = json!({"name": "Own Person", "email": "own@example.org"});
        let request = reqwest::Client::new().post(self.url());
        let request = request.bearer_auth(self.token().await).json(&person);
        assert_eq!(request.send().await.unwrap().status(), 201);
    }

    /// Waits until none of its processes is there and all ports are free.
    async fn is_left_in_peace(&self) {
        let begun = Instant::now();
        while uses(&self.dir()) || !is_free(self.base) {
            assert!(begun.elapsed() < PATIENCE, "something is left of the launcher");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Launcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    printed: Vec<String>,
}

impl Launcher {
    /// Waits until it has printed a line with `text`.
    async fn says(&mut self, text: &str) {
        while !self.printed.last().is_some_and(|line| line.contains(text)) {
            let line = timeout(PATIENCE, self.lines.next_line())
                .await
                .expect("it goes on")
                .unwrap();
            let Some(line) = line else {
                let mut errors = String::new();
                self.child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut errors)
                    .await
                    .unwrap();
                panic!("it ended: {errors}\n{}", self.printed.join("\n"));
            };
            self.printed.push(line);
        }
    }

    /// What the table says behind `word`.
    fn printed_after(&self, word: &str) -> &str {
        let start = format!(" {word}  ");
        let found = self.printed.iter().find_map(|line| line.split_once(&start));
        found.expect(word).1.trim_matches([' ', '│'])
    }

    /// The same where several entries have the word: of the last.
    fn printed_last_after(&self, word: &str) -> &str {
        let start = format!(" {word}  ");
        let mut lines = self.printed.iter().rev();
        let found = lines.find_map(|line| line.split_once(&start));
        found.expect(word).1.trim_matches([' ', '│'])
    }

    /// Runs the lines for a shell that it printed, but for the one of psql; gives the JSON that they print, and
    /// as a text the login of eida-auth, which is the last.
    async fn try_lines(&self) -> Vec<Value> {
        let lines = self.printed.iter().skip_while(|line| *line != "Try:").skip(1);
        let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).cloned().collect();
        let (psql, lines) = lines.split_last().unwrap();
        assert!(psql.contains("psql"), "{psql}");
        let mut shell = Command::new("sh");
        shell.args(["-euc", &lines.join("\n")]).env("no_proxy", "*");
        let output = timeout(PATIENCE, shell.output()).await.unwrap().unwrap();
        let errors = text(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        let printed = text(&output.stdout);
        let (documents, login) = login_at_the_end(&printed);
        let documents = serde_json::Deserializer::from_str(documents).into_iter();
        let documents = documents.chain(login.map(|login| Ok(json!(login))));
        documents.collect::<Result<_, _>>().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }

    async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
    }

    async fn stopped_by(self, signal: Signal) {
        self.signal(signal);
        assert_eq!(self.ended().await.code(), Some(0));
    }
}

/// The first of ports of which nobody else here gets any; below those that systems give to clients.
fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let base = 15_000 + own + NEXT.fetch_add(PORTS, Ordering::Relaxed) % 10_000;
        if is_free(base) {
            return base;
        }
    }
}

fn is_free(base: u16) -> bool {
    (base..base + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

/// Whether any process has `dir` in its arguments; on a system without `/proc`, none has.
fn uses(dir: &std::path::Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|arguments| String::from_utf8_lossy(&arguments).contains(dir.to_str().unwrap()))
}

/// What was printed before a login with its password, and these, where they are.
fn login_at_the_end(printed: &str) -> (&str, Option<&str>) {
    let place = printed.len().saturating_sub(29);
    let is_login = |text: &str| {
        let words = text.split_once(':');
        let is_word = |word: &str| word.len() == 14 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        words.is_some_and(|(login, password)| is_word(login) && is_word(password))
    };
    match printed.split_at_checked(place) {
        Some((before, login)) if is_login(login) => (before, Some(login)),
        _ => (printed, None),
    }
}

fn names(people: &Value) -> Vec<String> {
    people
        .as_array()
        .unwrap()
        .iter()
        .map(|person| person["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the catcher at `page` shows the mail that the printed lines have asked for.
async fn mail_comes(page: &str) {
    let begun = Instant::now();
    let link = "/reset?k=";
    while !reqwest::get(page)
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .contains(link)
    {
        assert!(begun.elapsed() < PATIENCE, "no mail came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn what_it_prints_works_and_ctrl_c_leaves_nothing_but_the_data() {
    let place = Place::new();
    let launcher = place.start(&[]).await;
    let printed = launcher.try_lines().await;
    let [found, token, others @ ..] = printed.as_slice() else {
        panic!("{printed:?}")
    };
    let enrolled = others.iter().find_map(|document| document["data"].as_array());
    assert_eq!(enrolled.map(Vec::len), Some(2), "of idm-users: {others:?}");
    mail_comes(launcher.printed_last_after("page")).await;
    assert_eq!(names(found), ["Mei Tanimoto"]);
    assert_eq!(token["scope"], "users:read");
    assert!(
        others.last().is_some_and(Value::is_string),
        "of eida-auth: {others:?}"
    );
    for word in ["docs", "metrics"] {
        assert_eq!(
            reqwest::get(launcher.printed_after(word)).await.unwrap().status(),
            200,
            "{word}"
        );
    }
    assert_eq!(launcher.printed_after("password"), place.secret("admin.password"));
    let postgres = launcher
        .printed
        .iter()
        .find(|line| line.contains("url       postgresql"));
    let url = postgres
        .unwrap()
        .split_once("url")
        .unwrap()
        .1
        .trim_matches([' ', '│']);
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    drop(connected.unwrap());
    let metadata = format!("{}.well-known/openid-configuration", place.url());
    let metadata: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(format!("{}/", metadata["issuer"].as_str().unwrap()), place.url());
    for line in &launcher.printed {
        assert!(line.chars().count() <= 100, "{line}");
    }
    place.add_person().await;
    assert!(uses(&place.dir()));
    launcher.stopped_by(Signal::INT).await;
    assert!(is_free(place.base) && !uses(&place.dir()));

    let secrets = || {
        [
            "encryption.key",
            "admin.password",
            "demo.client",
            "idm-users.password",
            "eida-auth.secret.asc",
        ]
        .map(|name| place.secret(name))
    };
    let kept = secrets();
    let launcher = place.start(&[]).await;
    assert_eq!(place.names().await.len(), DEMO + 1);
    assert_eq!(secrets(), kept);
    launcher.stopped_by(Signal::TERM).await;

    let launcher = place.start(&["--fresh", "--only", "ident"]).await;
    assert_eq!(place.names().await.len(), DEMO);
    assert_eq!(launcher.try_lines().await.len(), 2, "the client is another");
    launcher.stopped_by(Signal::INT).await;
}

#[tokio::test]
async fn a_password_that_is_not_the_administrators_is_named_with_its_file() {
    let place = Place::new();
    place.start(&[]).await.stopped_by(Signal::INT).await;
    std::fs::write(place.dir().join("admin.password"), "another password\n").unwrap();
    let output = place.run(&["--port-base", &place.base.to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("admin.password") && errors.contains("--fresh"),
        "{errors}"
    );
    place.is_left_in_peace().await;
}

#[tokio::test]
async fn a_sigkill_leaves_nothing_and_the_next_start_works_at_once() {
    let place = Place::new();
    let launcher = place.start(&[]).await;
    place.add_person().await;
    launcher.signal(Signal::KILL);
    launcher.ended().await;

    let launcher = place.start(&[]).await;
    assert!(place.names().await.contains(&"Own Person".to_owned()));
    launcher.signal(Signal::KILL);
    launcher.ended().await;
    place.is_left_in_peace().await;
}

#[tokio::test]
async fn ctrl_c_during_the_start_ends_it() {
    let place = Place::new();
    let mut launcher = place.begin(&[]);
    launcher.says("Starting Postgres").await;
    launcher.stopped_by(Signal::INT).await;
    place.is_left_in_peace().await;
    place.start(&[]).await.stopped_by(Signal::INT).await;
}

#[tokio::test]
async fn ports_that_are_taken_are_named_before_anything_is_started() {
    let place = Place::new();
    let taken = [0, 9, 10].map(|offset| TcpListener::bind(("127.0.0.1", place.base + offset)).unwrap());
    let output = place.run(&["--port-base", &place.base.to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    for (listener, what) in taken.iter().zip(["ident", "Postgres", "metrics of ident"]) {
        let port = listener.local_addr().unwrap().port();
        assert!(
            errors.contains(&format!("port {port} ({what}) is taken")),
            "{errors}"
        );
    }
    assert!(
        errors.contains("--port-base") && errors.lines().count() == 1,
        "{errors}"
    );
    assert!(!place.dir().join("postgres").exists());
}

#[tokio::test]
async fn in_the_background_it_runs_until_it_is_stopped_and_only_once() {
    let place = Place::new();
    let base = place.base.to_string();
    let output = place.run(&["--detach", "--port-base", &base]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("curl -s") && printed.contains("`cargo dev stop`"),
        "{printed}"
    );
    assert_eq!(place.names().await.len(), DEMO);

    for arguments in [&["--port-base", "1999"][..], &["--detach"]] {
        let output = place.run(arguments).await;
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(errors.contains("already running (process "), "{errors}");
    }
    assert_eq!(place.names().await.len(), DEMO);

    let output = place.run(&["stop"]).await;
    assert!(output.status.success() && text(&output.stdout).contains("Stopped"));
    assert!(is_free(place.base) && !uses(&place.dir()));
    let output = place.run(&["stop"]).await;
    assert!(output.status.success() && text(&output.stdout).contains("Nothing to stop"));
}

#[tokio::test]
async fn a_wrong_command_line_is_told_apart_from_a_failure() {
    let place = Place::new();
    let output = place.run(&["--only", "nobody"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("possible values: ident"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn in_a_database_that_is_given_only_schemas_of_ours_are_touched() {
    let programs = Programs::find_or_fetch("../../target/postgres".as_ref())
        .await
        .unwrap();
    let server = Server::start(programs, private_postgres::Options::ephemeral())
        .await
        .unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE SCHEMA other; CREATE TABLE other.kept ()")
        .await
        .unwrap();
    let mut place = Place::new();
    place.database_url = Some(server.connection_string("postgres"));

    let launcher = place.start(&[]).await;
    place.add_person().await;
    launcher.stopped_by(Signal::INT).await;
    let launcher = place.start(&["--fresh"]).await;
    assert_eq!(place.names().await.len(), DEMO);
    launcher.stopped_by(Signal::INT).await;
    client
        .batch_execute("SELECT FROM other.kept; SELECT FROM ident.users")
        .await
        .unwrap();

    // As if ident had been set up here by somebody else.
    client
        .batch_execute("COMMENT ON SCHEMA ident IS NULL")
        .await
        .unwrap();
    let output = place
        .run(&["--fresh", "--port-base", &place.base.to_string()])
        .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("leaves it alone"),
        "{}",
        text(&output.stderr)
    );
    client.batch_execute("SELECT FROM ident.users").await.unwrap();
    assert!(!place.dir().join("postgres").exists());
    server.stop().await.unwrap();
}
