//! A Postgres server of one's own, for development and for tests: its programs found on the machine
//! or fetched, its data thrown away or kept, and nothing left of it when the process that started it
//! ends, in whatever way that process ends.
//!
//! ```no_run
//! # async fn example() -> Result<(), private_postgres::Error> {
//! use private_postgres::{Options, Programs, Server};
//!
//! let programs = Programs::find_or_fetch("target/postgres".as_ref()).await?;
//! let server = Server::start(programs, Options::ephemeral()).await?;
//! server.create_database("demo").await?;
//! let url = server.connection_string("demo");
//! # drop(url);
//! server.stop().await
//! # }
//! ```
//!
//! How it holds together: [`Server::start`] does not start Postgres itself but a small shell script, the
//! leash, which prepares the data, runs Postgres as its child and reads from a pipe whose other end only our
//! process holds. When that end closes (a stop, a drop, an exit, a SIGKILL), the leash stops Postgres
//! and removes what was temporary. Unix only; as root, all of it runs as the user `postgres` or `nobody`.

mod account;
mod error;
mod fetch;
mod layout;
mod leash;
mod options;
mod programs;
mod server;
mod template;

pub use error::Error;
pub use layout::erase;
pub use options::{Data, Options};
pub use programs::{Places, Programs};
pub use server::Server;
