//! What a measurement stands on: the release binaries, a Postgres with fsync, processes of services.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use identity_core::failure::Failure;
use private_postgres::{Options, Programs, Server};
use tempfile::TempDir;

/// All that is there before the first figure.
pub struct Stage {
    /// Postgres, with everything on that keeps data safe.
    pub postgres: Server,
    /// For how long each figure is taken.
    pub time: Duration,
    /// The folder with the binaries.
    pub binaries: PathBuf,
    /// Nothing is sent to a proxy.
    pub client: reqwest::Client,
    scratch: TempDir,
}

/// A running service, killed when it is dropped.
pub struct Running {
    child: Child,
    /// Where it is reached, without a slash at the end.
    pub url: String,
    /// From its start to the first 200 of `/readyz`.
    pub started_in: Duration,
}

impl Stage {
    /// Builds the binaries and starts Postgres.
    pub async fn build(root: &Path, time: Duration) -> Result<Self, Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--bins"])
            .args(["--package", "ident", "--package", "tokenstore"])
            .args(["--package", "idm-users", "--package", "eida-auth"])
            .current_dir(root)
            .status();
        let built = built.map_err(|error| Failure::because("building the services", error))?;
        if !built.success() {
            return Err(Failure::Other("the services cannot be built".to_owned()));
        }
        let scratch = TempDir::new().map_err(|error| Failure::because("making a directory", error))?;
        let programs = Programs::find_or_fetch(&root.join("target/postgres"))
            .await
            .map_err(|error| Failure::because("finding Postgres", error))?;
        let options = Options {
            settings: [
                ("shared_buffers", "512MB"),
                ("max_wal_size", "4GB"),
                ("checkpoint_timeout", "30min"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            ..Options::kept(scratch.path().join("postgres"), free_port()?)
        };
        let postgres = Server::start(programs, options)
            .await
            .map_err(|error| Failure::because("starting Postgres", error))?;
        let client = reqwest::Client::builder().no_proxy().build();
        Ok(Self {
            postgres,
            time,
            binaries: root.join("target/release"),
            client: client.map_err(|error| Failure::because("preparing the HTTP client", error))?,
            scratch,
        })
    }

    /// Makes an empty database.
    pub async fn database(&self, name: &str) -> Result<(), Failure> {
        let made = self.postgres.create_database(name).await;
        made.map(drop)
            .map_err(|error| Failure::because("making a database", error))
    }

    /// A command of a service on a database.
    pub fn command(&self, service: &str, database: &str, settings: &[String]) -> Command {
        let mut command = Command::new(self.binaries.join(service));
        command.env_clear().stdin(Stdio::null()).stderr(Stdio::null());
        let url = format!(
            "database.postgres.url={}",
            self.postgres.connection_string(database)
        );
        for setting in [url, "log.level=warn".to_owned()].iter().chain(settings) {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts a service and waits until it is ready.
    pub async fn start(
        &self,
        service: &str,
        database: &str,
        settings: &[String],
    ) -> Result<Running, Failure> {
        let port = free_port()?;
        let began = Instant::now();
        let child = self
            .command(service, database, settings)
            .args(["--set", &format!("server.bind=127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| Failure::because(&format!("starting {service}"), error))?;
        let mut running = Running {
            child,
            url: format!("http://127.0.0.1:{port}"),
            started_in: Duration::ZERO,
        };
        let ready = format!("{}/readyz", running.url);
        while began.elapsed() < Duration::from_mins(1) {
            let answer = self.client.get(&ready).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                running.started_in = began.elapsed();
                return Ok(running);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(Failure::Other(format!("{service} does not become ready")))
    }

    /// Stops Postgres and removes everything.
    pub async fn end(self) -> Result<(), Failure> {
        let stopped = self.postgres.stop().await;
        stopped.map_err(|error| Failure::because("stopping Postgres", error))?;
        private_postgres::erase(&self.scratch.path().join("postgres"))
            .await
            .map_err(|error| Failure::because("removing Postgres' data", error))
    }
}

impl Running {
    /// Its resident memory, in MiB; none where the system does not tell.
    pub fn memory(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: f64 = line.trim().split(' ').next()?.parse().ok()?;
        Some(kibibytes / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended then, one way or the other.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, Failure> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound
        .map(|address| address.port())
        .map_err(|error| Failure::because("looking for a free port", error))
}
