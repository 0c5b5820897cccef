//! Postgres: connections, their protection, what happens when they fail, and migrations.
//!
//! Names in SQL are unqualified; the schema is set by the connection's start-up option
//! `search_path`, which the pool cannot undo.

mod connect;
pub mod encryption_keys;
mod error;
mod gather;
mod hosts;
mod listen;
pub mod lock;
pub mod migrate;
mod pool;
mod tls;
mod together;
mod watch;

pub use deadpool_postgres::{Client, GenericClient};
pub use error::{Error, ErrorKind};
pub use gather::{Gathered, Lookup};
pub use listen::Changes;
pub use pool::{Database, Reader};
pub use together::{Together, Work};

pub use tokio_postgres;
