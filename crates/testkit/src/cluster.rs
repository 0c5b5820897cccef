//! The Postgres of this test process: `DATABASE_URL`, or a private one that ends with the process.

use std::path::Path;
use std::sync::OnceLock;

use private_postgres::{Options, Programs, Server};
use tokio::runtime::Runtime;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// A running Postgres, in which databases can be made.
pub(crate) struct Cluster {
    server: Option<Server>,
    given: Option<String>,
    /// The server's handles belong to this runtime; those of the tests come and go.
    _runtime: Runtime,
}

/// The one of this process, started at the first call.
pub(crate) fn cluster() -> &'static Cluster {
    // A thread of its own, since a test's runtime cannot wait for another one.
    CLUSTER.get_or_init(|| std::thread::spawn(start).join().expect("Postgres for the tests"))
}

fn start() -> Cluster {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    if let Ok(url) = std::env::var("DATABASE_URL") {
        return Cluster {
            server: None,
            given: Some(url),
            _runtime: runtime,
        };
    }
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres");
    let started = runtime.block_on(async {
        let programs = Programs::find_or_fetch(&cache).await?;
        Server::start(programs, Options::ephemeral()).await
    });
    let server = started.unwrap_or_else(|error| panic!("{error}"));
    Cluster {
        server: Some(server),
        given: None,
        _runtime: runtime,
    }
}

impl Cluster {
    /// A connection string for `database`.
    pub(crate) fn url(&self, database: &str) -> String {
        match (&self.server, &self.given) {
            (Some(server), _) => server.connection_string(database),
            (None, Some(url)) => with_database(url, database),
            (None, None) => unreachable!("a cluster is started or given"),
        }
    }

    /// Where new databases are made from.
    pub(crate) fn admin_url(&self) -> String {
        match (&self.server, &self.given) {
            (None, Some(url)) => url.clone(),
            _ => self.url("postgres"),
        }
    }

    /// A program of this Postgres, as `pg_dump`.
    pub(crate) fn program(&self, name: &str) -> std::path::PathBuf {
        self.server
            .as_ref()
            .map_or_else(|| name.into(), |server| server.programs().program(name))
    }
}

/// Puts another database's name into a connection URL.
fn with_database(url: &str, database: &str) -> String {
    let (address, query) = url
        .split_once('?')
        .map_or((url, None), |(address, query)| (address, Some(query)));
    let authority_end = address.find("://").map_or(0, |at| at + 3);
    let path = address
        .get(authority_end..)
        .and_then(|rest| rest.find('/'))
        .map_or(address.len(), |at| authority_end + at);
    let address = address.get(..path).unwrap_or(address);
    query.map_or_else(
        || format!("{address}/{database}"),
        |query| format!("{address}/{database}?{query}"),
    )
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_is_replaced_in_any_url() {
        assert_eq!(
            with_database("postgres://u:p@h:1/a?x=y", "b"),
            "postgres://u:p@h:1/b?x=y"
        );
        assert_eq!(with_database("postgres://h", "b"), "postgres://h/b");
    }
}
