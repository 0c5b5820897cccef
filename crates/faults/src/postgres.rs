//! A Postgres of one test that can crash, freeze and come back, with its data.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use private_postgres::{Options, Programs, Server};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio_postgres::{Client, NoTls};

use crate::instance::free_port;

/// A server on a port of its own that keeps what was committed, as one in production does.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Server>,
    programs: Programs,
    dir: PathBuf,
    port: u16,
    frozen: Mutex<Vec<Pid>>,
}

impl Postgres {
    /// Starts one for the test `name`; what an earlier run has left by that name is removed.
    pub async fn start(name: &str) -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let programs = Programs::find_or_fetch(&target.join("postgres")).await.unwrap();
        // A name that stays the same: a test that was killed leaves its data to its next run to be removed.
        let dir = target.canonicalize().unwrap().join("faults").join(name);
        private_postgres::erase(&dir).await.unwrap();
        let mut postgres = Self {
            server: None,
            programs,
            dir,
            port: free_port(),
            frozen: Mutex::default(),
        };
        postgres.start_again().await;
        postgres
    }

    /// A new database's connection string, good after every restart too.
    pub async fn database(&self, name: &str) -> String {
        self.running().create_database(name).await.unwrap();
        self.running().connection_string(name)
    }

    /// A connection to `url` whose unqualified names are those of `schema`.
    pub async fn connect(url: &str, schema: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let path = format!("SET search_path = {schema}");
        client.batch_execute(&path).await.unwrap();
        client
    }

    /// Ends it as `pg_ctl stop -m immediate` does: at once, without a checkpoint.
    pub async fn crash(&mut self) {
        let server = self.server.take().expect("it runs");
        let pid = pid_of(&server);
        kill_process(pid, Signal::QUIT).unwrap();
        while test_kill_process(pid).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.stop().await.unwrap();
    }

    /// Starts it after a crash, and waits until it has recovered.
    pub async fn start_again(&mut self) {
        let options = Options::kept(&self.dir, self.port);
        self.server = Some(Server::start(self.programs.clone(), options).await.unwrap());
    }

    /// Stops all its processes where they are (SIGSTOP); connections stay open, and nothing answers.
    pub async fn freeze(&self) {
        let server = self.running();
        let client = server.connect("postgres").await.unwrap();
        // The first no longer makes new processes, then.
        let mut stopped = vec![pid_of(server)];
        kill_process(pid_of(server), Signal::STOP).unwrap();
        let others = "SELECT pid FROM pg_stat_activity ORDER BY pid = pg_backend_pid()";
        for row in client.query(others, &[]).await.unwrap() {
            let pid = Pid::from_raw(row.get(0)).unwrap();
            // One that has ended meanwhile cannot be stopped, and need not be.
            if kill_process(pid, Signal::STOP).is_ok() {
                stopped.push(pid);
            }
        }
        *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = stopped;
    }

    /// Lets its processes go on.
    pub fn thaw(&self) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in frozen.drain(..) {
            // It may have been ended from outside.
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        let (server, dir) = (self.server.take(), self.dir.clone());
        // A runtime cannot be waited for inside another one.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let Some(server) = server else {
                    private_postgres::erase(&dir).await.unwrap();
                    return;
                };
                // The directory itself, or its stand-in where Postgres' user cannot reach it.
                let dir = server.data_dir().parent().map(Path::to_owned);
                server.stop().await.unwrap();
                drop(dir.map(std::fs::remove_dir_all));
            });
        });
        // What is left is removed by the next run.
        drop(removed.join());
    }
}

fn pid_of(server: &Server) -> Pid {
    let pid = server.pid().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).expect("Postgres runs")
}
