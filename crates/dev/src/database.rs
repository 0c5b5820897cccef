//! The database of the services: the one of `DATABASE_URL`, or one in a private Postgres whose data are
//! kept for the next start.

use identity_core::failure::Failure;
use private_postgres::{Options, Programs, Server};

use crate::place::{Place, shown};
use crate::report::{Entry, say};

/// The name of the database in a Postgres of our own.
const NAME: &str = "identity";

/// A database that can be connected to.
#[derive(Debug)]
pub enum Database {
    /// The one of `DATABASE_URL`, which is somebody else's.
    Given(String),
    /// One in a server of our own.
    Own(Box<Server>),
}

/// `DATABASE_URL`, if it is set.
pub fn given() -> Option<String> {
    std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
}

impl Database {
    /// Starts a Postgres on `port`, with the data of the last start, or with none if `fresh`.
    pub async fn start(place: &Place, port: u16, fresh: bool) -> Result<Self, Failure> {
        let dir = place.postgres();
        if fresh {
            say("Erasing the kept data …");
            private_postgres::erase(&dir).await.map_err(because)?;
        }
        if Programs::find().is_none() {
            say(
                "This machine has no Postgres; looking for a downloaded one, or downloading it (once, some 15 MB) …",
            );
        }
        let programs = Programs::find_or_fetch(&place.programs())
            .await
            .map_err(because)?;
        say(&format!("Starting Postgres ({}) …", shown(programs.dir())));
        let server = Server::start(programs, Options::kept(dir, port))
            .await
            .map_err(because)?;
        if server.create_database(NAME).await.map_err(because)? {
            say("Made an empty database.");
        }
        Ok(Self::Own(Box::new(server)))
    }

    /// Where services connect to.
    pub fn url(&self) -> String {
        match self {
            Self::Given(url) => url.clone(),
            Self::Own(server) => server.connection_string(NAME),
        }
    }

    /// A line for a shell that opens it.
    pub fn psql(&self) -> String {
        match self {
            // The URL may hold a password, which is not for the terminal.
            Self::Given(_) => "psql \"$DATABASE_URL\"".to_owned(),
            Self::Own(server) => {
                let beside = server.programs().program("psql");
                let on_path = std::env::var_os("PATH")
                    .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("psql").is_file()));
                let program = if on_path || !beside.is_file() {
                    "psql".to_owned()
                } else {
                    shown(&beside)
                };
                format!("{program} {}", self.url())
            }
        }
    }

    /// What is said of it when all runs.
    pub fn entry(&self) -> Entry {
        let lines = match self {
            Self::Given(_) => vec![(
                "url",
                "the one of DATABASE_URL; a schema for each service".to_owned(),
            )],
            Self::Own(server) => vec![
                ("url", self.url()),
                ("data", shown(server.data_dir())),
                ("log", shown(server.log_file())),
            ],
        };
        Entry {
            name: "Postgres",
            lines,
        }
    }

    /// Stops it, if it is ours.
    pub async fn stop(self) -> Result<(), Failure> {
        match self {
            Self::Given(_) => Ok(()),
            Self::Own(server) => server.stop().await.map_err(because),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form of an adapter for `map_err`"
)]
fn because(error: private_postgres::Error) -> Failure {
    Failure::Other(identity_core::failure::causes(&error))
}
