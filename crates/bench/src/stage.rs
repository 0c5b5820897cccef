//! What a measurement stands on: the release binaries, a Postgres with fsync, processes of services.

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use identity_core::failure::Failure;
use private_postgres::{Options, Programs, Server};
use tempfile::TempDir;
use tokio_postgres::Client;

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
    /// Starts Postgres. The binaries are those in target/release, built before unless `as_built`.
    pub async fn set(root: &Path, time: Duration, as_built: bool) -> Result<Self, Failure> {
        if !as_built {
            build(root, &[])?;
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
    /// Whether it was made; false where there is one already.
    pub async fn database(&self, name: &str) -> Result<bool, Failure> {
        let made = self.postgres.create_database(name).await;
        made.map_err(|error| Failure::because("making a database", error))
    }

    /// A connection as the superuser.
    pub async fn connect(&self, database: &str) -> Result<Client, Failure> {
        let client = self.postgres.connect(database).await;
        client.map_err(|error| Failure::because("connecting to Postgres", error))
    }

    /// Executes SQL as the superuser.
    pub async fn execute(&self, database: &str, sql: &str) -> Result<(), Failure> {
        let executed = self.connect(database).await?.batch_execute(sql).await;
        executed.map_err(|error| Failure::because("preparing the database", error))
    }

    /// Executes SQL that fills the table, which has none of its indexes meanwhile but those of constraints.
    pub async fn fill(&self, database: &str, table: &str, sql: &str) -> Result<(), Failure> {
        let failed = |error| Failure::because("filling a table", error);
        let client = self.connect(database).await?;
        let indexes = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
                       WHERE i.indrelid = $1::text::regclass
                         AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)";
        let indexes = client.query(indexes, &[&table]).await.map_err(failed)?;
        for index in &indexes {
            let drop = format!("DROP INDEX {}", index.get::<_, &str>(0));
            client.batch_execute(&drop).await.map_err(failed)?;
        }
        let settings = "SET synchronous_commit = off; SET maintenance_work_mem = '512MB'";
        client.batch_execute(settings).await.map_err(failed)?;
        client.batch_execute(sql).await.map_err(failed)?;
        for index in &indexes {
            client.batch_execute(index.get(1)).await.map_err(failed)?;
        }
        let vacuum = format!("VACUUM ANALYZE {table}");
        client.batch_execute(&vacuum).await.map_err(failed)
    }

    /// A command of a service on a database.
    pub fn command(&self, service: &str, database: &str, settings: &[String]) -> Command {
        self.command_by(&[self.binaries.join(service).into()], database, settings)
    }

    /// The same by `program`: a program with its arguments, the last of which is the binary.
    fn command_by(&self, program: &[OsString], database: &str, settings: &[String]) -> Command {
        let (first, others) = program.split_first().unzip();
        let mut command = Command::new(first.map_or(OsStr::new(""), OsString::as_os_str));
        command.args(others.unwrap_or_default());
        command.env_clear().stdin(Stdio::null()).stderr(Stdio::null());
        // Valgrind looks there for its tools.
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
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
        self.start_by(&[self.binaries.join(service).into()], database, settings)
            .await
    }

    /// The same by `program`, whose last part is the binary.
    pub async fn start_by(
        &self,
        program: &[OsString],
        database: &str,
        settings: &[String],
    ) -> Result<Running, Failure> {
        let service = Path::new(program.last().map_or(OsStr::new(""), OsString::as_os_str));
        let service = service.file_name().unwrap_or_default().display();
        let port = free_port()?;
        let began = Instant::now();
        let child = self
            .command_by(program, database, settings)
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
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in MiB; none where the system does not tell.
    pub fn memory(&self) -> Option<f64> {
        self.status("VmRSS:")
    }

    /// The largest resident memory that it ever had, in MiB; none where the system does not tell.
    pub fn peak_memory(&self) -> Option<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
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

/// Builds the services as they are shipped, all together: alone, each would have other features of what they
/// share. `options` are cargo's.
pub fn build(root: &Path, options: &[String]) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--bins"])
        .args(["--package", "ident", "--package", "tokenstore"])
        .args(["--package", "idm-users", "--package", "eida-auth"])
        .args(options)
        .current_dir(root)
        .status();
    let built = built.map_err(|error| Failure::because("building the services", error))?;
    if built.success() {
        Ok(())
    } else {
        Err(Failure::Other("the services cannot be built".to_owned()))
    }
}

fn free_port() -> Result<u16, Failure> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound
        .map(|address| address.port())
        .map_err(|error| Failure::because("looking for a free port", error))
}
