//! Where the launcher keeps what outlives it: `target/dev/`, with Postgres' data, the log, the lock,
//! the key that protects the services' secrets, and what the demo's administrator and client sign in
//! with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use identity_core::crypto::random;
use identity_core::failure::Failure;

/// The directory of one launcher.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    target: PathBuf,
}

impl Place {
    /// The directory `dir`, or `dev` in the workspace's target directory; made if need be.
    pub fn new(dir: Option<&Path>) -> Result<Self, Failure> {
        let target = target_dir();
        let dir = dir.map_or_else(|| target.join("dev"), Path::to_owned);
        let making = |error| Failure::because(&format!("making {}", dir.display()), error);
        let dir = std::path::absolute(&dir).map_err(making)?;
        std::fs::create_dir_all(&dir).map_err(making)?;
        Ok(Self { dir, target })
    }

    /// The data of a Postgres of our own.
    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// Where Postgres programs are downloaded to, the same for the tests.
    pub fn programs(&self) -> PathBuf {
        self.target.join("postgres")
    }

    /// The log of the launcher and the services.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("dev.log")
    }

    /// The file that says which launcher runs.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("launcher.lock")
    }

    /// The file with the key that encrypts the services' secrets; made at the first start.
    pub fn key_file(&self) -> Result<PathBuf, Failure> {
        let (name, key) = ("encryption.key", || BASE64.encode(&random::bytes::<32>()));
        self.kept(name, key)?;
        Ok(self.secret_file(name))
    }

    /// The file of the secret `name`.
    pub fn secret_file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The secret `name` as it was kept, if it was.
    pub fn find(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.secret_file(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::because(&format!("reading {}", path.display()), error)),
        }
    }

    /// The secret `name`: the kept one, or the one that `make` makes now.
    pub fn kept(&self, name: &str, make: impl FnOnce() -> String) -> Result<String, Failure> {
        if let Some(secret) = self.find(name)? {
            return Ok(secret);
        }
        let secret = make();
        self.keep(name, &secret)?;
        Ok(secret)
    }

    /// Keeps the secret `name` for the next start, for nobody else to read.
    pub fn keep(&self, name: &str, secret: &str) -> Result<(), Failure> {
        let path = self.secret_file(name);
        let making = |error| Failure::because(&format!("making {}", path.display()), error);
        // Under another name until it is whole.
        let new = self.secret_file(&format!("{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(making)?;
        writeln!(file, "{secret}").map_err(making)?;
        std::fs::rename(&new, &path).map_err(making)
    }
}

/// Cargo's: that of its environment variable, or `target` beside the workspace's manifest.
fn target_dir() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    named.map_or_else(
        || {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
            workspace.unwrap_or(Path::new("")).join("target")
        },
        PathBuf::from,
    )
}

/// A path as it is shown: from the current directory where that is above it.
pub fn shown(path: &Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&current).unwrap_or(path).display().to_string()
}
