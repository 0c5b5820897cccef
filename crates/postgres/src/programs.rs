//! Where the Postgres programs are: the places of a machine in which they are usually found, and the
//! order in which these are asked.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::{Error, fetch};

/// A directory with at least `initdb` and `postgres` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    dir: PathBuf,
}

/// Where [`Programs::search`] looks, in the order of the fields.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directories as in the variable `PATH`; relative ones are passed over.
    pub path: OsString,
    /// A directory with a directory for each version, in whose `bin` the programs are; the newest is asked first.
    pub versions: PathBuf,
    /// The program that prints the directory when called with `--bindir`.
    pub pg_config: PathBuf,
}

impl Places {
    /// Those of this machine: `PATH`, `/usr/lib/postgresql`, and the `pg_config` on the `PATH`.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            versions: "/usr/lib/postgresql".into(),
            pg_config: "pg_config".into(),
        }
    }

    /// Every directory that holds the programs, best first.
    fn holding(&self) -> impl Iterator<Item = PathBuf> {
        std::env::split_paths(&self.path)
            .filter(|dir| dir.is_absolute())
            .chain(newest_first(&self.versions))
            // Asked only when the others have nothing: it is a program to be run.
            .chain(std::iter::once_with(|| bindir(&self.pg_config)).flatten())
            .filter_map(|dir| programs_in(&dir))
    }
}

impl Programs {
    /// The first programs found on this machine that the user whom Postgres will run as can run; none if
    /// there are none.
    #[must_use]
    pub fn find() -> Option<Self> {
        // Root without an unprivileged user is told so by `Server::start`, with what to do about it.
        let account = Account::for_postgres().ok();
        Places::of_this_machine()
            .holding()
            .map(|dir| Self { dir })
            .find(|programs| account.is_none_or(|account| programs.can_be_run_by(&account)))
    }

    /// The first programs found in `places`; none if there are none.
    #[must_use]
    pub fn search(places: &Places) -> Option<Self> {
        places.holding().next().map(|dir| Self { dir })
    }

    /// As [`Self::find`], and where that finds nothing, a release downloaded into `cache_dir` (made if need
    /// be; asked first, so one download serves for ever). A root whose `cache_dir` the user `postgres` could not
    /// reach gets a directory under `/var/tmp` instead.
    ///
    /// Errors: [`Error::NoPrograms`], which says on one line what to do.
    pub async fn find_or_fetch(cache_dir: &Path) -> Result<Self, Error> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        match fetch::fetch(cache_dir).await {
            Ok(dir) => programs_in(&dir)
                .map(|dir| Self { dir })
                .ok_or_else(|| Error::NoPrograms(format!("the download holds none in {}", dir.display()))),
            Err(reason) => Err(Error::NoPrograms(reason)),
        }
    }

    /// The directory the programs are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of the program `name`, say `pg_dump`. Only `initdb` and `postgres` are sure to be there.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What `postgres --version` prints, as `postgres (PostgreSQL) 17.6`; empty if it cannot be run.
    pub(crate) fn version(&self, account: &Account) -> String {
        let output = account
            .command(self.program("postgres"))
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    }

    /// Whether that user may run them; true without asking when that user is who looked at them just now.
    pub(crate) fn can_be_run_by(&self, account: &Account) -> bool {
        !account.other
            || ["initdb", "postgres"]
                .iter()
                .all(|name| account.may("-x", &self.program(name)))
    }
}

/// `dir`, if both programs are in it. Where it only has links to them, as `/usr/local/bin` may, the directory
/// they point to: `pg_dump` and the rest are beside them there.
pub(crate) fn programs_in(dir: &Path) -> Option<PathBuf> {
    let [initdb, postgres] = ["initdb", "postgres"].map(|name| dir.join(name));
    if !executable(&initdb) || !executable(&postgres) {
        return None;
    }
    let real = |path: &Path, name: &str| {
        let real = path.canonicalize().ok()?;
        // A link by another name is a wrapper that looks at how it was called: it stays as it is.
        (real.file_name() == Some(OsStr::new(name))).then(|| real.parent().map(Path::to_owned))?
    };
    let beside = real(&postgres, "postgres").filter(|dir| real(&initdb, "initdb").as_ref() == Some(dir));
    Some(beside.unwrap_or_else(|| dir.to_owned()))
}

/// Whether `path` is a file with a right to execute it.
fn executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// The `bin` directories of `versions`, by version number (10 comes before 9.6), names that are none left out.
fn newest_first(versions: &Path) -> impl Iterator<Item = PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(versions)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.split('.').map(|part| part.parse().ok());
            Some((number.collect::<Option<_>>()?, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, dir)| dir)
}

/// What `pg_config --bindir` prints, if it is there.
fn bindir(pg_config: &Path) -> Option<PathBuf> {
    let output = Command::new(pg_config)
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let dir = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    dir.is_absolute().then_some(dir)
}
