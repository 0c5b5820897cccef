//! The server: started, waited for, connected to, stopped.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::account::Account;
use crate::layout::{Layout, postmaster_pid_line};
use crate::leash::{Leash, PAUSE};
use crate::options::{Data, Options, arguments};
use crate::template::Template;
use crate::{Error, Programs};

/// How long a start may take, `initdb` and the recovery of data after a power cut included.
const START: Duration = Duration::from_mins(1);

/// How long a stop may take.
const STOP: Duration = Duration::from_mins(1);

/// The port in the name of an ephemeral server's socket: its directory is its own, so they can all have the same.
const SOCKET_PORT: u16 = 5432;

/// What has to be written as `%xx` in a component of an URL; more than RFC 3986 asks for does no harm.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A running Postgres. It ends with the value, or with the process if the value is never dropped, as in a `static`:
/// by itself and a moment later. To wait until it has ended, [`Self::stop`] it.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    layout: Layout,
    port: u16,
    leash: Leash,
}

impl Server {
    /// Starts a server and waits until it takes connections. Its superuser is `postgres`, without a password; the
    /// encoding is UTF-8, the locale C.UTF-8 (C where the machine has no such), the time zone UTC.
    ///
    /// Errors: any of [`Error`] that is about a start. What was begun by then ends by itself.
    pub async fn start(programs: Programs, options: Options) -> Result<Self, Error> {
        let account = Account::for_postgres()?;
        if !programs.can_be_run_by(&account) {
            return Err(Error::Unreachable {
                dir: programs.dir().to_owned(),
                uid: account.uid,
            });
        }
        let (layout, port, lock) = match &options.data {
            Data::Ephemeral => (Layout::ephemeral(&account, SOCKET_PORT)?, SOCKET_PORT, None),
            Data::Kept { dir, port } => {
                let (layout, lock) = Layout::kept(dir, &account, *port).await?;
                // Only now: the server that had the data before us may have had the port, too.
                check_port(*port)?;
                (layout, *port, Some(lock))
            }
        };
        let template = Template::choose(&programs, &account, &layout);
        let arguments = arguments(&layout, port, &options.settings);
        let leash = Leash::start(&programs, &account, &layout, &template, lock, &arguments)?;
        let mut server = Self {
            programs,
            layout,
            port,
            leash,
        };
        server.wait_until_ready().await?;
        template.publish();
        Ok(server)
    }

    /// Stops the server and waits until it has ended, its port is free and, if it was ephemeral, its files are gone.
    /// Connections that are open are cut.
    ///
    /// Errors: [`Error::StillRunning`] after a minute; it then goes on stopping.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.leash.end(STOP).await
    }

    /// A connection string for `database` as the superuser: an URL as libpq's programs and `tokio_postgres` take it.
    /// It leads to the socket of an ephemeral server, and to the port of a kept one.
    #[must_use]
    pub fn connection_string(&self, database: &str) -> String {
        url(self.host().as_bytes(), self.port, database)
    }

    /// Connects to `database` as the superuser; a task of the current runtime serves the connection until the
    /// client is dropped.
    ///
    /// Errors: [`Error::Database`].
    pub async fn connect(&self, database: &str) -> Result<Client, Error> {
        connect(&self.connection_string(database)).await
    }

    /// Creates the database `name`, any name, if it is not there. Says whether it was created.
    ///
    /// Errors: [`Error::Database`].
    pub async fn create_database(&self, name: &str) -> Result<bool, Error> {
        let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        match self.connect("postgres").await?.batch_execute(&statement).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The host to connect to, as in a connection's parameters: the socket's directory of an ephemeral server,
    /// 127.0.0.1 of a kept one.
    #[must_use]
    pub fn host(&self) -> String {
        if self.layout.kept {
            Ipv4Addr::LOCALHOST.to_string()
        } else {
            self.socket_dir().display().to_string()
        }
    }

    /// The port to connect to; of an ephemeral server, the one in the name of its socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.layout.sockets
    }

    /// Postgres' data directory: `data` in the directory asked for, or in the one that stands in for it.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.layout.data
    }

    /// The log file, begun anew by each start.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// The process id of Postgres itself, to signal it; none once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        postmaster_pid_line(&self.layout.data, 1)?.parse().ok()
    }

    /// The programs it was started from, for `pg_dump` and the like.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Tries to connect until that succeeds, Postgres ends, or patience does.
    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            if self.leash.has_ended()? {
                if self.layout.kept {
                    check_port(self.port)?;
                }
                let log = self.leash.last_words();
                return Err(Error::Ended { log });
            }
            // By the socket: what answers on the port may be another program.
            let socket = url(self.socket_dir().as_os_str().as_bytes(), self.port, "postgres");
            let left = START.saturating_sub(begun.elapsed());
            let reason = match tokio::time::timeout(left, connect(&socket)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if begun.elapsed() >= START {
                // Its last words come when it ends; should it not even do that, we do without.
                let ended = self.leash.end(STOP).await;
                let log = ended.map(|()| self.leash.last_words()).unwrap_or_default();
                return Err(Error::NotReady {
                    limit: START,
                    reason,
                    log,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Errors with [`Error::PortTaken`] if somebody listens on that port of 127.0.0.1.
fn check_port(port: u16) -> Result<(), Error> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Error::PortTaken(port)),
        Err(error) => Err(Error::io(format!("listening on port {port} of 127.0.0.1"))(error)),
        Ok(_) => Ok(()),
    }
}

/// An URL for connecting as the superuser; `host` is a name, an address, or the directory of a socket.
fn url(host: &[u8], port: u16, database: &str) -> String {
    let host = percent_encode(host, ESCAPED);
    let database = percent_encode(database.as_bytes(), ESCAPED);
    format!("postgresql://postgres@{host}:{port}/{database}")
}

/// A connection that a task of the current runtime serves.
async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its errors are the client's, too.
    tokio::spawn(connection);
    Ok(client)
}
