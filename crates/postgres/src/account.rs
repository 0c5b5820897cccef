//! Whom Postgres runs as: ourselves, or, as Postgres refuses to run as root, an unprivileged user of the
//! machine. Whatever touches a directory of that user is run as that user too, never as root.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

/// The user and group of the server and of all its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user's id.
    pub(crate) uid: u32,
    /// The id of the user's group.
    pub(crate) gid: u32,
    /// Whether that is somebody else than we are: only so when we are root.
    pub(crate) other: bool,
}

impl Account {
    /// Ourselves; for root the user `postgres`, else `nobody`.
    ///
    /// Errors: [`Error::NoAccount`] for root on a machine with neither.
    pub(crate) fn for_postgres() -> Result<Self, Error> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Ok(Self {
                uid: uid.as_raw(),
                gid: rustix::process::getegid().as_raw(),
                other: false,
            });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        unprivileged(&passwd).ok_or(Error::NoAccount)
    }

    /// A command that runs as this user, in a directory that everybody can enter, with an environment that
    /// neither turns Postgres' head (`PGPORT` and the like are defaults to it) nor translates its messages.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user passes `test <check> <path>`, say `-x`. Asked of the system by trying, because the
    /// modes of all directories above, access lists and read-only mounts have a say in it.
    pub(crate) fn may(&self, check: &str, path: &Path) -> bool {
        self.command("/bin/sh")
            .args(["-c", r#"test "$1" "$2""#, "may", check])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// The first of `postgres` and `nobody` in the text of a passwd file, unless that is root by another name.
fn unprivileged(passwd: &str) -> Option<Account> {
    ["postgres", "nobody"].iter().find_map(|wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (name == *wanted && uid != 0).then_some(Account {
                uid,
                gid,
                other: true,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::unprivileged;

    #[test]
    fn postgres_comes_before_nobody_wherever_it_stands() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/sbin/nologin\npostgres:x:101:104::/:/bin/sh\n";
        let account = unprivileged(passwd).unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
    }

    #[test]
    fn nobody_serves_where_there_is_no_postgres() {
        let passwd = "# a comment\n\nroot:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/sbin/nologin\n";
        let account = unprivileged(passwd).unwrap();
        assert_eq!((account.uid, account.gid), (65534, 65533));
    }

    #[test]
    fn a_postgres_that_is_root_does_not_serve() {
        assert_eq!(unprivileged("postgres:x:0:0::/:/bin/sh\n"), None);
    }
}
