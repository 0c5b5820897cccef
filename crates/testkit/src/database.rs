//! A database for each test.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls};

use crate::cluster::{Cluster, cluster};
use crate::proxy::{Proxy, Target};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database of one test, dropped with it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// An empty database.
    pub async fn empty() -> Self {
        Self::copied("template1").await
    }

    /// A copy of the database `template`, to which nobody may be connected.
    pub(crate) async fn copied(template: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Several test processes may share a server that was given to them.
        let name = format!("test_{}_{number}", std::process::id());
        execute(cluster(), &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { name }
    }

    /// Makes a template of this database; it is not dropped.
    pub(crate) fn into_template(self) -> String {
        let name = self.name.clone();
        std::mem::forget(self);
        name
    }

    /// The connection string.
    #[must_use]
    pub fn url(&self) -> String {
        cluster().url(&self.name)
    }

    /// A proxy before Postgres, and the connection string that leads through it.
    ///
    /// # Panics
    /// Where the tests were given several Postgres hosts.
    #[must_use]
    pub fn behind_proxy(&self) -> (Proxy, String) {
        let url = self.url();
        let parameters: tokio_postgres::Config = url.parse().unwrap();
        let port = parameters.get_ports().first().copied().unwrap_or(5432);
        let target = match parameters.get_hosts() {
            [Host::Tcp(name)] => Target::Tcp(format!("{name}:{port}")),
            [Host::Unix(directory)] => Target::Unix(directory.join(format!(".s.PGSQL.{port}"))),
            hosts => panic!("one host, not {hosts:?}"),
        };
        let proxy = Proxy::start(target);
        let url = with_address(&url, &proxy.address.to_string());
        (proxy, url)
    }

    /// A connection, beside the service, whose unqualified names are those of `schema`.
    pub async fn connect(&self, schema: &str) -> Client {
        let client = connect(&self.url()).await;
        client
            .batch_execute(&format!("SET search_path = {schema}"))
            .await
            .unwrap();
        client
    }

    /// Everything that is in the database, as `pg_dump` writes it.
    #[must_use]
    pub fn dump(&self) -> String {
        let dumped = Command::new(cluster().program("pg_dump"))
            .arg("--inserts")
            .arg(self.url())
            .output()
            .unwrap();
        assert!(
            dumped.status.success(),
            "{}",
            String::from_utf8_lossy(&dumped.stderr)
        );
        String::from_utf8(dumped.stdout).unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime cannot be waited for inside another one.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(execute(
                cluster(),
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            ));
        });
        drop(dropped.join());
    }
}

async fn execute(cluster: &Cluster, sql: &str) {
    connect(&cluster.admin_url())
        .await
        .batch_execute(sql)
        .await
        .unwrap();
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Puts another host and port into a connection URL.
fn with_address(url: &str, address: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let at = if user.is_empty() { "" } else { "@" };
    format!("{scheme}://{user}{at}{address}/{path}")
}

#[cfg(test)]
mod tests {
    use super::with_address;

    #[test]
    fn the_address_is_replaced_in_any_url() {
        assert_eq!(
            with_address("postgresql://u:p@%2Frun:1/a?x=y", "h:2"),
            "postgresql://u:p@h:2/a?x=y"
        );
        assert_eq!(with_address("postgresql://h/a", "h:2"), "postgresql://h:2/a");
    }
}
