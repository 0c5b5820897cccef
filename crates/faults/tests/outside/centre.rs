//! A data centre's two databases, shaped as the original's, each on a Postgres of its own behind a network of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use faults::Postgres;
use identity_testkit::{Proxy, Target, eventually};
use tokio_postgres::Client;

/// Accounts and their credentials, privileges: the databases in which they are.
pub const ACCOUNTS: usize = 0;
pub const PRIVILEGES: usize = 1;

const TABLES: [&str; 2] = [
    "CREATE TABLE users (
        user_index serial PRIMARY KEY, login varchar(64) NOT NULL, firstname varchar(64) NOT NULL,
        lastname varchar(64) NOT NULL, mail varchar(128) NOT NULL, expires_at timestamp);
     CREATE TABLE credentials (
        user_index integer NOT NULL REFERENCES users, plain text, \"Hash\" text NOT NULL);
     CREATE TABLE epos_fdsn (epos_name text, network text, start_year integer, end_year integer);
     INSERT INTO epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022), ('/epos/alparray', 'QQ', 2015, 2022);",
    "CREATE TABLE networks (
        network_id bigint PRIMARY KEY, network text, start_year integer, end_year integer, name text);
     INSERT INTO networks VALUES (0, '', 0, 0, ''), (7, 'Z3', 2015, 2022, 'AlpArray'), (8, 'QQ', 2015, 2022, '');
     CREATE TABLE eida_temp_users (
        user_id serial PRIMARY KEY, network_id bigint DEFAULT 0 REFERENCES networks ON DELETE SET DEFAULT,
        network text NOT NULL, start_year integer NOT NULL DEFAULT 0, end_year integer NOT NULL DEFAULT 0,
        name text NOT NULL, UNIQUE (network, start_year, end_year, name));",
];

/// Both databases.
pub struct Centre {
    servers: [Postgres; 2],
    urls: [String; 2],
    networks: [Proxy; 2],
}

/// What went wrong with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its server was killed, and started again.
    Killed,
    /// Its server stood still for a time.
    Stopped,
    /// The network was cut.
    Cut,
    /// The network went silent, and was cut later.
    Silent,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Killed, Self::Stopped, Self::Cut, Self::Silent];
}

impl Centre {
    pub async fn start() -> Self {
        let servers = [
            Postgres::start("centre-accounts").await,
            Postgres::start("centre-privileges").await,
        ];
        let mut urls = Vec::new();
        for (server, tables) in servers.iter().zip(TABLES) {
            let url = server.database("centre").await;
            let owner = Postgres::connect(&url, "public").await;
            owner.batch_execute(tables).await.unwrap();
            urls.push(url);
        }
        let networks = [0, 1].map(|number| Proxy::start(Target::Tcp(address(&urls[number]))));
        Self {
            servers,
            urls: urls.try_into().unwrap(),
            networks,
        }
    }

    /// The settings that lead to both.
    pub fn settings(&self) -> Vec<String> {
        let through = |number: usize| {
            let network = self.networks[number].address.to_string();
            self.urls[number].replace(&address(&self.urls[number]), &network)
        };
        vec![
            format!("authdb.url={}", through(ACCOUNTS)),
            format!("privilegedb.url={}", through(PRIVILEGES)),
        ]
    }

    /// A connection beside the service.
    pub async fn connect(&self, number: usize) -> Client {
        Postgres::connect(&self.urls[number], "public").await
    }

    /// Lets `fault` happen to a database, for `time`; afterwards it works again.
    pub async fn suffer(&mut self, number: usize, fault: Fault, time: Duration) {
        match fault {
            Fault::Killed => {
                self.servers[number].crash().await;
                tokio::time::sleep(time).await;
                self.servers[number].start_again().await;
            }
            Fault::Stopped => {
                self.servers[number].freeze().await;
                tokio::time::sleep(time).await;
                self.servers[number].thaw();
            }
            Fault::Cut => {
                self.networks[number].cut();
                tokio::time::sleep(time).await;
                self.networks[number].mend();
            }
            Fault::Silent => {
                self.networks[number].silence();
                tokio::time::sleep(time).await;
                self.networks[number].cut();
                self.networks[number].mend();
            }
        }
    }

    /// Temporary accounts with the digest of their credentials.
    pub async fn accounts(&self) -> BTreeMap<String, String> {
        let sql = "SELECT login, \"Hash\" FROM users LEFT JOIN credentials USING (user_index)";
        let rows = self.connect(ACCOUNTS).await.query(sql, &[]).await.unwrap();
        let account = |row: &tokio_postgres::Row| {
            let login: String = row.get(0);
            let digest: Option<String> = row.get(1);
            let digest = digest.unwrap_or_else(|| panic!("{login} is half an account"));
            (login, digest)
        };
        let accounts: BTreeMap<String, String> = rows.iter().map(account).collect();
        assert_eq!(accounts.len(), rows.len(), "a login is there once");
        accounts
    }

    /// How many networks each login may see.
    pub async fn privileges(&self) -> BTreeMap<String, i64> {
        let sql = "SELECT name, count(*) FROM eida_temp_users GROUP BY name";
        let rows = self.connect(PRIVILEGES).await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Lets the time pass after which an account goes that was not completed: by waiting, or by taking it off.
    pub async fn two_minutes_later(&self, by_waiting: bool) {
        if by_waiting {
            tokio::time::sleep(Duration::from_secs(125)).await;
        } else {
            let sql = "UPDATE users SET expires_at = expires_at - interval '125 s'";
            self.connect(ACCOUNTS).await.execute(sql, &[]).await.unwrap();
        }
    }

    /// Waits until nobody else is connected to either: what was begun is at its end.
    pub async fn quiet(&self) {
        for number in [ACCOUNTS, PRIVILEGES] {
            let client = self.connect(number).await;
            eventually("nobody else is connected", async || {
                let others = "SELECT count(*) FROM pg_stat_activity
                              WHERE datname = current_database() AND pid <> pg_backend_pid()";
                let count: i64 = client.query_one(others, &[]).await.unwrap().get(0);
                (count == 0).then_some(())
            })
            .await;
        }
    }
}

/// `host:port` of a connection string.
fn address(url: &str) -> String {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split(['/', '?']).next().unwrap().to_owned()
}
