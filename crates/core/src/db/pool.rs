//! The connections of a service: a pool for transactions, and for each worker one that is shared
//! by all its reads of a single statement, which Postgres answers in a pipeline.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    BuildError, Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use tokio::sync::Mutex;

use super::hosts::Hosts;
use super::listen::{self, Changes};
use super::watch::{self, Outage};
use super::{Error, connect, tls};
use crate::config::Postgres;
use crate::failure::{Failure, causes};
use crate::metrics::Metrics;

/// A service's database. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    outage: Outage,
    settings: Arc<Postgres>,
    hosts: Hosts,
}

impl Database {
    /// Opens the database of `service`; returns when Postgres has answered.
    ///
    /// # Errors
    /// [`Failure::Configuration`] for settings that cannot work; [`Failure::Unreachable`] when
    /// Postgres does not answer within `connect_timeout`.
    pub async fn open(service: &str, settings: &Postgres) -> Result<Self, Failure> {
        let mut settings = settings.clone();
        let parameters = connect::parameters(&mut settings, service)?;
        let connector = tls::connector(&settings)?;
        let outage = Outage::default();
        let hosts = Hosts::new(parameters, connector, settings.connect_timeout.0, outage.clone());
        let pool = pool(&hosts, &outage, settings.connect_timeout.0, settings.pool_size)
            .map_err(|error| Failure::because("building the connection pool", error))?;
        let database = Self {
            pool,
            outage,
            settings: Arc::new(settings),
            hosts,
        };
        database.first_answer().await?;
        Ok(database)
    }

    /// Tries until Postgres answers or the time is over.
    async fn first_answer(&self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + self.settings.connect_timeout.0;
        loop {
            match tokio::time::timeout_at(deadline, self.connect()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if tokio::time::Instant::now() + watch::PAUSE < deadline => {
                    tracing::warn!(error = causes(&error), "Postgres does not answer yet");
                    tokio::time::sleep(watch::PAUSE).await;
                }
                Ok(Err(error)) => return Err(Failure::Unreachable(causes(&error))),
                Err(_) => {
                    return Err(Failure::Unreachable(
                        "no answer within database.postgres.connect_timeout".into(),
                    ));
                }
            }
        }
    }

    /// A connection outside the pool, for what lives long or sets the session up for itself.
    ///
    /// # Errors
    /// What tokio-postgres says when it cannot connect.
    pub async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        self.hosts.connect().await.map(|(client, _)| client)
    }

    /// Hears what is said on `channel`, over a connection of its own that is renewed when lost.
    #[must_use]
    pub fn listen(&self, channel: &'static str) -> Changes {
        listen::start(self.hosts.clone(), channel)
    }

    /// A connection of the pool, for transactions.
    ///
    /// # Errors
    /// [`super::ErrorKind::Unavailable`] when Postgres is out of reach or no connection gets free
    /// within `connect_timeout`.
    pub async fn client(&self) -> Result<Client, Error> {
        if self.outage.is_on() {
            return Err(out_of_reach());
        }
        Ok(self.pool.get().await?)
    }

    /// What comes of `work`, for which others wait. It is given up as soon as Postgres is known to be out of reach, and not
    /// begun where it is: who waits behind it would wait for nothing.
    ///
    /// # Errors
    /// [`super::ErrorKind::Unavailable`] then, and what the work says.
    pub async fn while_reachable<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            () = self.outage.begins() => Err(out_of_reach()),
        }
    }

    /// The shared connection of one worker, opened at its first use.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {
            database: self.clone(),
            shared: Arc::default(),
        }
    }

    /// Whether Postgres answered when it was last asked, at most a second ago.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        !self.outage.is_on()
    }

    /// Watches Postgres until it has been out of reach for `database.postgres.outage_exit`.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], always: it returns for no other reason.
    pub async fn watch(&self) -> Failure {
        let Postgres {
            connect_timeout,
            outage_exit,
            ..
        } = &*self.settings;
        watch::until_given_up(self, &self.outage, connect_timeout.0, *outage_exit).await
    }

    /// The schema that holds the service's tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.settings.schema
    }

    /// Shows the pool's use in `metrics`.
    pub fn measure(&self, metrics: &Metrics) {
        let pool = self.pool.clone();
        metrics.collect_gauges(
            "postgres_pool_connections",
            "Connections of the pool by their state",
            move || {
                let status = pool.status();
                vec![
                    ("open", status.size),
                    ("idle", status.available),
                    ("waiting", status.waiting),
                    ("limit", status.max_size),
                ]
            },
        );
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Database")
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}

/// A pool of `size` connections, none from before an outage.
fn pool(hosts: &Hosts, outage: &Outage, patience: Duration, size: usize) -> Result<Pool, BuildError> {
    let fast = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_connect(tokio_postgres::Config::new(), hosts.clone(), fast);
    let outage = outage.clone();
    let old = Hook::sync_fn(move |_, about| {
        if outage.was_after(about.created) {
            return Err(HookError::message("the connection is from before an outage"));
        }
        Ok(())
    });
    let timeout = Some(patience);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(timeout)
        .create_timeout(timeout)
        .recycle_timeout(timeout)
        .pre_recycle(old)
        .build()
}

/// One connection for all statements of a worker that need no transaction around them. Clones share it.
#[derive(Debug, Clone)]
pub struct Reader {
    database: Database,
    shared: Arc<Mutex<Option<Arc<Client>>>>,
}

impl Reader {
    /// The worker's connection, opened anew when it is lost.
    ///
    /// # Errors
    /// As [`Database::client`].
    pub async fn client(&self) -> Result<Arc<Client>, Error> {
        let Database {
            outage,
            hosts,
            settings,
            ..
        } = &self.database;
        if outage.is_on() {
            return Err(out_of_reach());
        }
        let mut shared = self.shared.lock().await;
        if let Some(client) = &*shared
            && !client.is_closed()
            // It may look as if it were open when the other end is long gone.
            && !outage.was_after(Client::metrics(client).created)
        {
            return Ok(client.clone());
        }
        // One of its own, not of the common pool: a connection is served by the thread that opened
        // it, and each statement of another thread's would wake two.
        let pool = pool(hosts, outage, settings.connect_timeout.0, 1)
            .map_err(|error| Error::unavailable(causes(&error)))?;
        let client = Arc::new(pool.get().await?);
        *shared = Some(client.clone());
        Ok(client)
    }

    /// As [`Database::while_reachable`].
    ///
    /// # Errors
    /// Its.
    pub async fn while_reachable<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.database.while_reachable(work).await
    }
}

fn out_of_reach() -> Error {
    Error::unavailable("Postgres is known to be out of reach")
}
