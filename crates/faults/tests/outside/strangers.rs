//! Strangers who hold connections open: idle, slow, endless, not listening. Others are served meanwhile, memory stays
//! bounded, and every connection ends by a time-out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use faults::{Instance, client, free_port, short_or_full, tell};
use futures_util::future::join_all;
use identity_testkit::{Provider, TestDatabase};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// `server.header_timeout` and `server.request_timeout` of these services.
const HEAD: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(4);
/// After these, and 5 s more, whatever was begun and not finished has ended (`core/src/http/listener.rs`).
const UNFINISHED: Duration = Duration::from_secs(3 + 4 + 5);
/// How long a connection may be idle between requests.
const IDLE: Duration = Duration::from_secs(75);
/// What may come on top on a machine that is busy.
const SLACK: Duration = Duration::from_secs(8);
/// What an idle connection may cost, and what all the others together may: 5 MiB for each who asks without listening
/// to the answers (12 MiB where actix reads as it likes), and 20 MiB for the rest.
const MEMORY_EACH: u64 = 32 * 1024;
const MEMORY_OTHERS: u64 = (20 * 5 + 20) * 1024 * 1024;
/// How many strangers there are of each kind that is not idle.
const OF_A_KIND: usize = 20;

/// All four at a time, or in a full run one: more connections than that this process may not have open.
static PLACES: Semaphore = Semaphore::const_new(4);

/// A service, and how one speaks to it.
struct Scene {
    service: &'static str,
    instance: Instance,
    address: SocketAddr,
    http: Client,
    /// The head of a request whose body is read, without its length.
    writes: String,
    /// A request of somebody else, and the status of its answer.
    other: (String, Option<String>, StatusCode),
    _login: Provider,
    _database: TestDatabase,
}

impl Scene {
    async fn new(service: &'static str, own: &[&str], writes: &str, other: (&str, StatusCode)) -> Self {
        let (database, login) = (TestDatabase::empty().await, Provider::start());
        let mut settings = vec![
            format!("database.postgres.url={}", database.url()),
            format!("server.header_timeout={}s", HEAD.as_secs()),
            format!("server.request_timeout={}s", REQUEST.as_secs()),
        ];
        settings.extend(
            own.iter()
                .map(|setting| setting.replace("LOGIN", &login.discovery_url())),
        );
        let instance = Instance::start(service, &settings).await;
        let address = instance.url.strip_prefix("http://").unwrap().parse().unwrap();
        let bearer = login.sign(&json!({}));
        let writes = writes.replace("BEARER", &bearer);
        let needs_token = writes.contains(&bearer).then_some(bearer);
        Self {
            other: (format!("{}{}", instance.url, other.0), needs_token, other.1),
            service,
            instance,
            address,
            http: client(),
            writes: format!("{writes}\r\nHost: here\r\nContent-Type: application/json\r\n"),
            _login: login,
            _database: database,
        }
    }

    /// Memory in use, in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.instance.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.instance.id()))
            .unwrap()
            .count()
    }

    /// Somebody else asks; how long it takes.
    async fn ask(&self) -> Duration {
        let (url, bearer, expected) = &self.other;
        let mut request = self.http.get(url).timeout(Duration::from_secs(10));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let began = Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), *expected, "{}", self.service);
        began.elapsed()
    }

    async fn connect(&self) -> TcpStream {
        // The kernel may want a second try when very many come at once.
        for _ in 0..5 {
            if let Ok(stream) = TcpStream::connect(self.address).await {
                return stream;
            }
        }
        panic!("{}: no connection", self.service)
    }
}

/// How a connection came to its end.
#[derive(Debug)]
struct Ended {
    after: Duration,
    answer: String,
}

impl Ended {
    fn status(&self) -> &str {
        self.answer.split(' ').nth(1).unwrap_or_default()
    }
}

/// Sends `first`, then `drip` again and again with `pause` between, until the other side ends the connection.
async fn until_ended(stream: TcpStream, first: &[u8], drip: &[u8], pause: Duration) -> Ended {
    let (mut reader, mut writer) = stream.into_split();
    let began = Instant::now();
    let sending = async {
        let mut sent = writer.write_all(first).await;
        while sent.is_ok() && !drip.is_empty() {
            tokio::time::sleep(pause).await;
            sent = writer.write_all(drip).await;
        }
        // Whoever has nothing more to say goes on listening.
        std::future::pending::<()>().await;
    };
    let listening = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            answer.truncate(1024);
            answer.extend_from_slice(&buffer[..read]);
        }
        answer
    };
    tokio::select! {
        answer = listening => Ended {
            after: began.elapsed(),
            answer: String::from_utf8_lossy(&answer).into_owned(),
        },
        () = sending => unreachable!("it never ends"),
    }
}

/// Asks for a large answer over and over and takes none of it.
async fn never_listening(address: SocketAddr) -> Ended {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let began = Instant::now();
    let request = "GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n".repeat(64);
    while stream.write_all(request.as_bytes()).await.is_ok() {}
    Ended {
        after: began.elapsed(),
        answer: String::new(),
    }
}

/// What a stranger does, what may be answered (empty: nothing), and when it must be over.
struct Trick {
    name: &'static str,
    first: String,
    drip: &'static str,
    pause: Duration,
    answers: &'static [&'static str],
    within: Duration,
}

/// The head of a request that is answered at once, without its end.
const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: here\r\n";
/// Of one that nobody waits for, with a body in chunks.
const UNREAD: &str = "POST /nowhere/at/all HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";
/// Between two drops.
const OFTEN: Duration = Duration::from_millis(250);
/// Between two floods.
const AT_ONCE: Duration = Duration::from_millis(1);

fn trick(
    name: &'static str,
    (first, drip, pause): (String, &'static str, Duration),
    answers: &'static [&'static str],
    within: Duration,
) -> Trick {
    Trick {
        name,
        first,
        drip,
        pause,
        answers,
        within,
    }
}

#[rustfmt::skip]
fn slow_ones(writes: &str) -> Vec<Trick> {
    let drops = |first: String, drip| (first, drip, OFTEN);
    let second = || format!("{ASK}\r\n{ASK}");
    let chunk = "1\r\n \r\n";
    vec![
        trick("says nothing", drops(String::new(), ""), &["408", ""], HEAD),
        trick("sends its head slowly", drops(ASK.to_owned(), "x"), &["408", ""], HEAD),
        trick("sends its second head slowly", drops(second(), "x"), &["200"], UNFINISHED),
        trick("begins a second head and falls silent", drops(second(), ""), &["200"], IDLE),
        trick("sends its body slowly", drops(format!("{writes}Content-Length: 60000\r\n\r\n"), " "), &["408"], REQUEST),
        trick("sends a body slowly in chunks", drops(format!("{writes}{CHUNKED}"), chunk), &["408"], REQUEST + UNFINISHED),
        trick("sends slowly what nobody reads", drops(UNREAD.to_owned(), chunk), &["404", "401"], UNFINISHED),
        trick("falls silent in what nobody reads", drops(format!("{UNREAD}5\r\nab"), ""), &["404", "401"], IDLE + Duration::from_secs(5)),
    ]
}

#[rustfmt::skip]
fn large_ones(writes: &str) -> Vec<Trick> {
    let flood = Box::leak(format!("4000\r\n{}\r\n", "x".repeat(0x4000)).into_boxed_str());
    let many = (0..200).fold(ASK.to_owned(), |head, number| format!("{head}X-{number}: 1\r\n"));
    vec![
        trick("announces a body of a gigabyte", (format!("{writes}Content-Length: 1073741824\r\n\r\n"), "x", OFTEN), &["413"], REQUEST),
        // Whose turn comes late on a busy machine is told that it took too long.
        trick("sends a body without an end", (format!("{writes}{CHUNKED}"), flood, AT_ONCE), &["413", "408"], REQUEST + UNFINISHED),
        trick("sends a head without an end", (ASK.to_owned(), flood, AT_ONCE), &["400", "431", "408"], HEAD),
        trick("sends two hundred headers", (format!("{many}\r\n"), "", OFTEN), &["400", "431"], HEAD),
    ]
}

/// All strangers who are not just idle, at once; says what took longest.
async fn fool(scene: &Scene) -> String {
    let mut tricks = slow_ones(&scene.writes);
    tricks.extend(large_ones(&scene.writes));
    let mut all = JoinSet::new();
    for (index, trick) in tricks.iter().enumerate() {
        for _ in 0..OF_A_KIND {
            let stream = scene.connect().await;
            let (first, drip, pause) = (trick.first.clone(), trick.drip, trick.pause);
            all.spawn(async move {
                let ended = until_ended(stream, first.as_bytes(), drip.as_bytes(), pause);
                let most = IDLE + UNFINISHED + SLACK;
                (index, tokio::time::timeout(most, ended).await)
            });
        }
    }
    for _ in 0..OF_A_KIND {
        let ended = never_listening(scene.address);
        let most = IDLE + UNFINISHED + SLACK;
        all.spawn(async move { (usize::MAX, tokio::time::timeout(most, ended).await) });
    }
    let mut longest = (Duration::ZERO, "");
    while let Some(ended) = all.join_next().await {
        let (index, ended) = ended.unwrap();
        let (name, answers, within) = tricks
            .get(index)
            .map_or(("never listens", [""].as_slice(), UNFINISHED), |trick| {
                (trick.name, trick.answers, trick.within)
            });
        let ended = ended.unwrap_or_else(|_| panic!("{}: who {name} has no end", scene.service));
        assert!(
            ended.after < within + SLACK,
            "{}: {name}: {ended:?}",
            scene.service
        );
        assert!(
            answers.contains(&ended.status()),
            "{}: {name}: {ended:?}",
            scene.service
        );
        longest = longest.max((ended.after, name));
    }
    format!(
        "the last to go {} and went after {:.1} s",
        longest.1,
        longest.0.as_secs_f64()
    )
}

/// `count` connections that have asked once and stay; gives them.
async fn idle(scene: &Scene, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let some = (0..100.min(count - streams.len())).map(|_| async {
            let mut stream = scene.connect().await;
            let request = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", scene.service);
            stream
        });
        streams.extend(join_all(some).await);
    }
    streams
}

/// Waits until all are ended by the other side.
async fn all_ended(scene: &Scene, streams: Vec<TcpStream>) {
    let ends = streams.into_iter().map(|mut stream| async move {
        let mut rest = Vec::new();
        // A reset is an end as well.
        drop(stream.read_to_end(&mut rest).await);
    });
    let ended = tokio::time::timeout(IDLE + SLACK * 2, join_all(ends)).await;
    assert!(ended.is_ok(), "{}: idle connections go", scene.service);
}

async fn stands(scene: Scene) {
    let _places = PLACES.acquire_many(short_or_full(1, 4)).await.unwrap();
    let count = short_or_full(1_000, 10_000);
    scene.ask().await;
    let (memory, files) = (scene.memory(), scene.open_files());
    let began = Instant::now();
    let streams = idle(&scene, count).await;
    let opened = began.elapsed();
    assert!(scene.open_files() >= files + count, "all of them are open");
    let at_idle = scene.memory();
    // Others are served while the strangers are at it, and memory is looked at.
    let fooling = fool(&scene);
    let ending = all_ended(&scene, streams);
    let serving = async {
        let (mut most, mut times) = (at_idle, Vec::new());
        let until = Instant::now() + UNFINISHED + SLACK;
        while Instant::now() < until {
            times.push(scene.ask().await);
            most = most.max(scene.memory());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (most, times)
    };
    let (fooled, (), (most, mut times)) = tokio::join!(fooling, ending, serving);
    times.sort();
    let slowest = times[times.len() * 99 / 100];
    assert!(
        slowest < Duration::from_secs(2),
        "{}: others are served: {slowest:?}",
        scene.service
    );
    let bound = memory + MEMORY_EACH * u64::try_from(count).unwrap() + MEMORY_OTHERS;
    assert!(
        most < bound,
        "{}: {memory} bytes before, {most} with strangers",
        scene.service
    );
    let left = scene.open_files();
    assert!(
        left < files + 20,
        "{}: {left} files are open, {files} were",
        scene.service
    );
    scene.ask().await;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    tell(
        &format!("strangers at {}", scene.service),
        &format!(
            "{count} idle connections (opened in {:.1} s, gone by themselves): memory {} MiB, {} MiB with them, {} MiB at most; \
             p99 of others {slowest:?}; {fooled}",
            opened.as_secs_f64(),
            mib(memory),
            mib(at_idle),
            mib(most)
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_nothing_of_ident() {
    let nobody = format!("notifications.url=http://127.0.0.1:{}/{{user_id}}", free_port());
    let own = [
        "database.encryption_key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "auth.records=open",
        "outgoing.allow_private=true",
        "notifications.secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        &nobody,
    ];
    let other = ("/17", StatusCode::NOT_FOUND);
    stands(Scene::new("ident", &own, "POST / HTTP/1.1", other).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_nothing_of_tokenstore() {
    let own = [
        "crypto_keys=0123456789abcdef0123456789abcdef",
        "outgoing.allow_private=true",
        "oidc.discovery_url=LOGIN",
        "oidc.client_id=tokenstore",
        "oidc.client_secret=a secret/of+ours",
    ];
    let writes = "POST /api/v1.0/keys HTTP/1.1\r\nAuthorization: Bearer BEARER";
    let other = ("/api/v1.0/keys", StatusCode::OK);
    stands(Scene::new("tokenstore", &own, writes, other).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_nothing_of_idm_users() {
    let own = [
        "jwt.secret=a secret of a test, of thirty-two bytes or more",
        "mail.transport=none",
    ];
    let other = ("/status", StatusCode::OK);
    stands(Scene::new("idm-users", &own, "POST /auth HTTP/1.1", other).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_nothing_of_eida_auth() {
    let other = ("/readyz", StatusCode::OK);
    stands(Scene::new("eida-auth", &[], "POST / HTTP/1.1", other).await).await;
}
