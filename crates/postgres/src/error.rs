//! What can go wrong, each worded so that a developer who sees only this text knows what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no server, or no answer from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither the machine nor the network has Postgres; holds why the download failed, on one line.
    #[error(
        "no Postgres programs found and none could be fetched ({0}): install the package `postgresql`, or set DATABASE_URL"
    )]
    NoPrograms(String),

    /// We are root and have no other user to be.
    #[error(
        "Postgres refuses to run as root, and /etc/passwd names neither `postgres` nor `nobody` to run it as: start this as another user, or set DATABASE_URL"
    )]
    NoAccount,

    /// The programs cannot be run by the user whom Postgres would run as.
    #[error("the Postgres programs in {} cannot be run by user id {uid}", dir.display())]
    Unreachable {
        /// Where the programs are.
        dir: PathBuf,
        /// Whom they were to run as.
        uid: u32,
    },

    /// A directory for data, sockets or programs is not fit for it.
    #[error("{} cannot be used for Postgres: {reason}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Another program listens there.
    #[error("port {0} on 127.0.0.1 is already taken by another program")]
    PortTaken(u16),

    /// Another server of this crate runs on the same data.
    #[error("another Postgres is already running on {}: stop it first", .0.display())]
    InUse(PathBuf),

    /// `initdb` or `postgres` failed; holds the end of what they said.
    #[error("Postgres did not start; the end of its log:\n{log}")]
    Ended {
        /// The last lines of the log.
        log: String,
    },

    /// Postgres runs and yet takes no connection.
    #[error("Postgres took no connection within {limit:?} ({reason}); the end of its log:\n{log}")]
    NotReady {
        /// How long it was given.
        limit: Duration,
        /// Why the last attempt to connect failed.
        reason: String,
        /// The last lines of the log.
        log: String,
    },

    /// Postgres was told to stop and has not done so yet; it stops later by itself.
    #[error("Postgres has not stopped within {0:?}")]
    StillRunning(Duration),

    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What we were about to do.
        doing: String,
        /// What the system said.
        source: io::Error,
    },

    /// The server refused a connection or a statement.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
}

impl Error {
    /// An adapter for `map_err`: says what we were doing when the system refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// `dir` is unfit for the reason given.
    pub(crate) fn directory(dir: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Directory {
            dir: dir.into(),
            reason: reason.into(),
        }
    }
}
