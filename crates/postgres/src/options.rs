//! What kind of server to start, and what that means as settings of Postgres.

use std::path::PathBuf;

use crate::layout::Layout;

/// What becomes of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Thrown away with the server. On a Unix socket only, and without regard for power cuts.
    Ephemeral,
    /// Kept for the next start, safely. On a port of 127.0.0.1, and a Unix socket.
    ///
    /// Whoever has an account on this machine can connect to that port, without a password: for data of
    /// development only.
    Kept {
        /// A directory for it all, to be made or made by an earlier start. As root, should the user whom Postgres runs
        /// as not reach it, one under `/var/tmp` stands in for it, always the same: see [`Server::data_dir`](crate::Server::data_dir).
        dir: PathBuf,
        /// The TCP port, not 0.
        port: u16,
    },
}

/// What kind of server to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What becomes of the data.
    pub data: Data,
    /// Settings of Postgres, name and value as in `postgresql.conf`; where they differ from ours, they win.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A server for tests, see [`Data::Ephemeral`], with Postgres' settings as they come otherwise.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            data: Data::Ephemeral,
            settings: Vec::new(),
        }
    }

    /// A server for development on `port`, see [`Data::Kept`], with Postgres' settings as they come otherwise.
    #[must_use]
    pub fn kept(dir: impl Into<PathBuf>, port: u16) -> Self {
        Self {
            data: Data::Kept {
                dir: dir.into(),
                port,
            },
            settings: Vec::new(),
        }
    }
}

/// The arguments to `postgres`, the caller's `settings` last, where they win.
pub(crate) fn arguments(layout: &Layout, port: u16, settings: &[(String, String)]) -> Vec<String> {
    // A list of directories to Postgres: quoted, a comma in a name is no separator.
    let sockets = format!(
        "\"{}\"",
        layout.sockets.display().to_string().replace('"', "\"\"")
    );
    let port = port.to_string();
    let common: [(&str, &str); 6] = [
        ("unix_socket_directories", &sockets),
        ("unix_socket_permissions", "0700"),
        ("port", &port),
        ("max_connections", "300"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
    ];
    let particular: &[(&str, &str)] = if layout.kept {
        &[("listen_addresses", "127.0.0.1")]
    } else {
        &[
            ("listen_addresses", ""),
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            // In the data directory, where it is removed even if Postgres is killed, and not in /dev/shm.
            ("dynamic_shared_memory_type", "mmap"),
        ]
    };
    let given = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all = common.into_iter().chain(particular.iter().copied()).chain(given);
    all.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
        .collect()
}
