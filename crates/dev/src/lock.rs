//! One launcher for a checkout: a lock that ends with its process, however that ends, and of which
//! the system itself says who holds it, so that no stale process id is ever believed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use identity_core::failure::Failure;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// The lock of this process, given back when it ends.
///
/// The file must not be opened a second time by this process: closing it would give the lock back.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path`.
    ///
    /// Errors: another launcher has it.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let file = open(path, true)?.ok_or_else(|| Failure::Other(format!("no {}", path.display())))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(Errno::AGAIN | Errno::ACCESS) => {
                let process = holder_of(&file, path)?.map(|pid| format!(" (process {pid})"));
                Err(Failure::Other(format!(
                    "this checkout's launcher is already running{}; `cargo dev stop` stops it",
                    process.unwrap_or_default()
                )))
            }
            Err(error) => Err(Failure::because(&format!("locking {}", path.display()), error)),
        }
    }

    /// Whether an earlier launcher ended without tidying up, so that its Postgres may just be ending.
    pub fn was_left(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.len() > 0)
    }

    /// Writes down that there will be something to tidy up.
    pub fn begin(&mut self) -> Result<(), Failure> {
        let written = self
            .file
            .set_len(0)
            .and_then(|()| writeln!(self.file, "{}", std::process::id()));
        written.map_err(|error| Failure::because("writing to the launcher's lock", error))
    }

    /// Writes down that all is tidied up.
    pub fn finish(self) -> Result<(), Failure> {
        self.file
            .set_len(0)
            .map_err(|error| Failure::because("writing to the launcher's lock", error))
    }
}

/// The process that holds the lock at `path`, if any does.
pub fn holder(path: &Path) -> Result<Option<Pid>, Failure> {
    match open(path, false)? {
        Some(file) => holder_of(&file, path),
        None => Ok(None),
    }
}

fn holder_of(file: &File, path: &Path) -> Result<Option<Pid>, Failure> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::WriteLock))
        .map_err(|error| Failure::because(&format!("asking who locks {}", path.display()), error))?;
    Ok(lock.and_then(|lock| lock.pid))
}

/// The file at `path`; none if it is not there and shall not be made.
fn open(path: &Path, make: bool) -> Result<Option<File>, Failure> {
    match OpenOptions::new().read(true).append(true).create(make).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::because(&format!("opening {}", path.display()), error)),
    }
}
