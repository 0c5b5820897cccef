//! A real nginx in front of two instances, with the service's own site out of `deploy/`: for running all tests of a
//! service the way it is deployed (`BEHIND_NGINX=1`, deploy/tests/behind-nginx).

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Directives of a site that a test cannot have: it has no certificate, and asks as often as it likes.
const LEFT_OUT: [&str; 8] = [
    "listen",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_protocols",
    "ssl_session_cache",
    "ssl_session_tickets",
    "limit_req",
    "limit_req_status",
];

/// Ports that the kernel gives to nobody by itself, so that no connection of another test has ours.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// The next port to try, in this process.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// How long nginx may take to start.
const START: Duration = Duration::from_secs(20);

/// nginx ends with the shell's standard input, however this process ends.
const ON_A_LEASH: &str = r#""$0" "$@" <&- & read -r _; kill -9 $!; wait"#;

/// Whether tests are to reach their service through nginx.
pub(crate) fn is_asked_for() -> bool {
    std::env::var_os("BEHIND_NGINX").is_some_and(|value| !value.is_empty())
}

/// A running nginx, ended with the value.
#[derive(Debug)]
pub(crate) struct Nginx {
    shell: Child,
    leash: Option<ChildStdin>,
    directory: TempDir,
}

impl Nginx {
    /// Starts nginx at `address` (of [`free_address`]) with the site of `service` in front of `instances`, which take
    /// bodies of at most `body_limit`, as nginx writes it, where it is not what the site says.
    pub(crate) fn start(
        service: &str,
        address: SocketAddr,
        instances: [SocketAddr; 2],
        body_limit: Option<&str>,
    ) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../deploy")
            .join(service)
            .join("nginx.conf");
        let site = Site {
            text: std::fs::read_to_string(path).unwrap(),
            address,
            instances,
            body_limit,
        };
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(&site) {
                return nginx;
            }
        }
        panic!("nginx does not start (is it installed?)");
    }

    fn try_start(site: &Site<'_>) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let configuration = directory.path().join("nginx.conf");
        std::fs::write(&configuration, site.configuration(directory.path())).unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", ON_A_LEASH, "nginx", "-p"])
            .arg(directory.path())
            .arg("-c")
            .arg(&configuration)
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leash = shell.stdin.take();
        let nginx = Self {
            shell,
            leash,
            directory,
        };
        // It writes its number when it listens.
        let number = nginx.directory.path().join("pid");
        let began = Instant::now();
        while began.elapsed() < START {
            if std::fs::metadata(&number).is_ok_and(|file| file.len() > 0) {
                return Some(nginx);
            }
            let log = std::fs::read_to_string(nginx.directory.path().join("error.log")).unwrap_or_default();
            if log.contains("still could not bind") {
                return None;
            }
            assert!(!log.contains("[emerg]") || log.contains("bind()"), "{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.leash.take());
        drop(self.shell.wait());
    }
}

/// An address whose port was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    let count = PORTS.end - PORTS.start;
    let process = u16::try_from(std::process::id() % u32::from(count)).unwrap_or_default();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (process.wrapping_mul(61).wrapping_add(step)) % count;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What nginx is to do.
struct Site<'a> {
    text: String,
    address: SocketAddr,
    instances: [SocketAddr; 2],
    body_limit: Option<&'a str>,
}

impl Site<'_> {
    /// The whole configuration: the site with this machine's addresses and paths, and the test's limit of bodies.
    ///
    /// Otherwise it differs from the site in three things: it is reached by HTTP; it does not count requests, because
    /// all tests come from one address; and it believes a test's X-Forwarded-For as it would a load balancer's.
    fn configuration(&self, directory: &Path) -> String {
        let place = directory.display();
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line(&format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;"
        ));
        line("events {}\nhttp {");
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            line(&format!("{kind}_temp_path {place}/{kind};"));
        }
        line("set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;");
        let (mut secured, mut given) = (false, false);
        for written in without_redirection(&self.text).lines() {
            let words: Vec<&str> = written.split_whitespace().collect();
            match (words.as_slice(), self.body_limit) {
                (["listen", "443", ..], _) => {
                    secured = true;
                    line(&format!("listen {};", self.address));
                }
                ([word, ..], _) if LEFT_OUT.contains(word) => {}
                (["upstream", ..], _) => {
                    given = false;
                    line(written);
                }
                // All of the site's, by the two of the test.
                (["server", address, ..], _) if *address != "{" => {
                    if !given {
                        for instance in self.instances {
                            line(&format!("server {instance} max_fails=0;"));
                        }
                    }
                    given = true;
                }
                (["client_max_body_size", ..], Some(limit)) => {
                    line(&format!("client_max_body_size {limit};"));
                }
                _ => {
                    // The port of a test is not the one of the scheme, and belongs to the host.
                    let written = written.replace("Host $host;", "Host $http_host;");
                    line(&written.replace("/var/log/nginx/", &format!("{place}/")));
                }
            }
        }
        assert!(
            secured && given,
            "the site has a server for port 443 and an upstream"
        );
        line("}");
        text
    }
}

/// Without the server block of port 80, whose port is not ours.
fn without_redirection(site: &str) -> String {
    let mut blocks = site.split("\nserver {");
    let before = blocks.next().unwrap_or_default().to_owned();
    blocks
        .filter(|block| !block.contains("listen 80;"))
        .fold(before, |kept, block| kept + "\nserver {" + block)
}
