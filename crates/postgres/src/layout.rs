//! Where a server's files lie: thrown-away ones in a directory of the system's temporary directory, kept ones
//! where the caller says, or as near as the user whom Postgres runs as can come.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::account::Account;
use crate::leash::PAUSE;

/// The longest path of a socket that every Unix takes, in bytes; Linux takes 107.
const SOCKET_PATH: usize = 103;

/// How long another server may take to stop on data that we want.
const STOPPING: Duration = Duration::from_secs(30);

/// The same, while it does not look as if it were stopping: a killed launcher's server learns of it at once.
const SERVING: Duration = Duration::from_secs(3);

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Postgres' data directory.
    pub(crate) data: PathBuf,
    /// The directory of the Unix socket, which only Postgres' user can enter.
    pub(crate) sockets: PathBuf,
    /// Where the log goes.
    pub(crate) log: PathBuf,
    /// A directory that the leash makes first and removes last.
    pub(crate) scratch: Option<PathBuf>,
    /// Whether the data outlive the server.
    pub(crate) kept: bool,
}

impl Layout {
    /// For data to be thrown away. Nothing is made yet: that is the leash's to do, which also removes it.
    pub(crate) fn ephemeral(account: &Account, port: u16) -> Result<Self, Error> {
        let scratch = scratch(account, port)?;
        Ok(Self {
            data: scratch.join("data"),
            sockets: scratch.clone(),
            log: scratch.join("postgres.log"),
            scratch: Some(scratch),
            kept: false,
        })
    }

    /// For data kept in `dir`, which is made here if need be, and the lock on it.
    ///
    /// Errors: [`Error::Directory`] if it is not fit; [`Error::InUse`] if it stays locked.
    pub(crate) async fn kept(dir: &Path, account: &Account, port: u16) -> Result<(Self, File), Error> {
        let (dir, opened) = kept_dir(dir, account)?;
        let lock = lock(&dir, opened).await?;
        let scratch = if socket_fits(&dir, port) {
            None
        } else {
            Some(scratch(account, port)?)
        };
        let layout = Self {
            data: dir.join("data"),
            sockets: scratch.clone().unwrap_or_else(|| dir.clone()),
            log: dir.join("postgres.log"),
            scratch,
            kept: true,
        };
        Ok((layout, lock))
    }
}

/// Removes the data that a server kept in `dir` (the directory given to [`crate::Data::Kept`]), wherever they
/// really lie; no error if there are none. A server that is just stopping is waited for.
///
/// Errors: [`Error::InUse`] if one is running there; [`Error::Directory`] if `dir` is something else.
pub async fn erase(dir: &Path) -> Result<(), Error> {
    let (dir, opened) = kept_dir(dir, &Account::for_postgres()?)?;
    let _lock = lock(&dir, opened).await?;
    for part in ["data", "data.new"].map(|name| dir.join(name)) {
        match std::fs::remove_dir_all(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("removing {}", part.display()))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A name for a new directory, in the first place for such things that the user can write to and in which the path
/// of the socket is not too long. Nobody can guess it, so nobody can be there first.
fn scratch(account: &Account, port: u16) -> Result<PathBuf, Error> {
    let name = format!(
        "identity-services-postgres-{:016x}",
        RandomState::new().build_hasher().finish()
    );
    let temporary = std::env::temp_dir();
    let found = [temporary.as_path(), Path::new("/tmp"), Path::new("/var/tmp")]
        .into_iter()
        .map(|dir| (dir, dir.join(&name)))
        .find(|(dir, new)| socket_fits(new, port) && account.may("-w", dir) && account.may("-x", dir));
    if let Some((_, new)) = found {
        return Ok(new);
    }
    let reason = format!("neither it nor /tmp can be written to by user id {}", account.uid);
    Err(Error::directory(temporary, reason))
}

/// Whether Postgres can have a socket in `dir`.
fn socket_fits(dir: &Path, port: u16) -> bool {
    let socket = dir.join(format!(".s.PGSQL.{port}"));
    dir.is_absolute() && socket.as_os_str().len() <= SOCKET_PATH
}

/// `dir`, or its stand-in if `account` cannot reach it, made and private to `account`, and opened.
fn kept_dir(dir: &Path, account: &Account) -> Result<(PathBuf, File), Error> {
    let dir = std::path::absolute(dir).map_err(Error::io("finding the current directory"))?;
    let parent = dir.parent().unwrap_or(&dir);
    std::fs::create_dir_all(parent).map_err(Error::io(format!("making {}", parent.display())))?;
    let dir = if !account.other || account.may("-x", parent) {
        dir
    } else {
        stand_in(&dir)
    };
    let opened = private_dir(&dir, account)?;
    Ok((dir, opened))
}

/// Makes `dir` if it is not there, and sees to it that it is a directory of `account` that nobody else can enter.
/// Gives it opened.
fn private_dir(dir: &Path, account: &Account) -> Result<File, Error> {
    let making = || Error::io(format!("making {}", dir.display()));
    make(dir, 0o700).map_err(making())?;
    // Owner and mode are asked and changed of what was opened, and no link is followed: we may be root.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|error| Error::io(format!("opening {}", dir.display()))(error.into()))?;
    let opened = File::from(opened);
    let about = opened.metadata().map_err(making())?;
    let empty = std::fs::read_dir(dir).map_err(making())?.next().is_none();
    if !empty
        && !["data", "postgres.log"]
            .iter()
            .any(|name| dir.join(name).exists())
    {
        return Err(Error::directory(dir, "it holds other things"));
    }
    if account.other && about.uid() == 0 {
        fchown(&opened, Some(account.uid), Some(account.gid)).map_err(making())?;
    } else if about.uid() != account.uid {
        let reason = format!(
            "it belongs to user id {} and Postgres runs as {}",
            about.uid(),
            account.uid
        );
        return Err(Error::directory(dir, reason));
    }
    if about.mode() & 0o077 != 0 {
        opened
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(making())?;
    }
    Ok(opened)
}

/// Makes `dir` if it is not there, and sees to it that it is a directory of ours that everybody can read and only we
/// can write to: what lies in it is executed.
pub(crate) fn public_dir(dir: &Path) -> Result<(), Error> {
    let making = || Error::io(format!("making {}", dir.display()));
    make(dir, 0o755).map_err(making())?;
    let about = dir.symlink_metadata().map_err(making())?;
    let ours =
        about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0;
    if ours {
        Ok(())
    } else {
        Err(Error::directory(dir, "others can write to it"))
    }
}

/// Makes one directory, if there is nothing by its name.
fn make(dir: &Path, mode: u32) -> std::io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The directory that stands in for `dir` where `dir` is out of the reach of Postgres' user: always the same one.
pub(crate) fn stand_in(dir: &Path) -> PathBuf {
    Path::new("/var/tmp").join(format!(
        "identity-services-{}",
        digest(dir.as_os_str().as_bytes())
    ))
}

/// A short name for `bytes`: the first 64 bits of its SHA-256, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let number = Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{number:016x}")
}

/// The lock on `dir`, which is `opened`, once no other server has it. It is held for as long as any process has the
/// file open, so by the leash and by Postgres, after us too.
async fn lock(dir: &Path, opened: File) -> Result<File, Error> {
    let begun = Instant::now();
    loop {
        match opened.try_lock() {
            Ok(()) => return Ok(opened),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("locking {}", dir.display()))(error));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        let patience = if is_serving(dir) { SERVING } else { STOPPING };
        if begun.elapsed() > patience {
            return Err(Error::InUse(dir.to_owned()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the Postgres of `dir` says of itself that it is ready: line 8 of its `postmaster.pid` (from version 10
/// on), which it changes as soon as it begins to stop.
fn is_serving(dir: &Path) -> bool {
    postmaster_pid_line(&dir.join("data"), 8).is_some_and(|status| status == "ready")
}

/// A line, counted from 1, of the file in which a running server describes itself.
pub(crate) fn postmaster_pid_line(data: &Path, line: usize) -> Option<String> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines()
        .nth(line.checked_sub(1)?)
        .map(|line| line.trim().to_owned())
}
