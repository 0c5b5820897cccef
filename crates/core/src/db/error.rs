//! What went wrong in Postgres, told apart by SQLSTATE, never by a text.

use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::failure::causes;

/// An error of the database: what a service does about it, and what its operator reads.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    cause: String,
}

/// What a service does about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// Postgres cannot be reached, is starting or stopping, or has no connection left: later.
    Unavailable,
    /// A value is taken; the constraint or unique index says which.
    Unique(String),
    /// Another row that is needed is gone; the constraint says which.
    ForeignKey(String),
    /// A transaction lost against another; tried again it can succeed.
    Conflict,
    /// The statement took too long.
    Timeout,
    /// A fault of ours.
    Other,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether the unique constraint `name` was violated.
    #[must_use]
    pub fn violates(&self, name: &str) -> bool {
        matches!(&self.kind, ErrorKind::Unique(constraint) if constraint == name)
    }

    /// Postgres is known to be out of reach, so that nothing was tried.
    #[must_use]
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            cause: cause.into(),
        }
    }

    /// The database holds what the service would never have written.
    #[must_use]
    pub fn corrupt(cause: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Other,
            cause: cause.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self {
            kind: kind(&error),
            cause: cause(&error),
        }
    }
}

/// What the operator reads: without the detail and the hint of Postgres's, which show values of rows.
fn cause(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return causes(error);
    };
    let mut cause = format!(
        "{}: {} (SQLSTATE {}",
        db.severity(),
        db.message(),
        db.code().code()
    );
    for (what, name) in [("table", db.table()), ("constraint", db.constraint())] {
        if let Some(name) = name {
            cause = format!("{cause}, {what} {name}");
        }
    }
    cause + ")"
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self {
                kind: ErrorKind::Unavailable,
                cause: cause(&error),
            },
            PoolError::Timeout(_) => Self::unavailable("no connection became free in time"),
            other => Self::unavailable(causes(&other)),
        }
    }
}

fn kind(error: &tokio_postgres::Error) -> ErrorKind {
    let Some(db) = error.as_db_error() else {
        // No answer of Postgres's: the connection failed, or the client could not read the row.
        let io = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        return if error.is_closed() || io {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Other
        };
    };
    let constraint = || db.constraint().unwrap_or_default().to_owned();
    match db.code() {
        code if *code == SqlState::UNIQUE_VIOLATION => ErrorKind::Unique(constraint()),
        code if *code == SqlState::FOREIGN_KEY_VIOLATION => ErrorKind::ForeignKey(constraint()),
        code if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
            ErrorKind::Conflict
        }
        code if *code == SqlState::QUERY_CANCELED => ErrorKind::Timeout,
        // 08 connection exception, 53 insufficient resources, 57P operator intervention,
        // 25006 a standby that took over the address of its primary.
        code if ["08", "53", "57P"]
            .iter()
            .any(|class| code.code().starts_with(class)) =>
        {
            ErrorKind::Unavailable
        }
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}
