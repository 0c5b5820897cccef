//! The leash: the script that runs Postgres for as long as our process lives, and what we hold of it.
//! See `leash.sh` for its side.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::layout::Layout;
use crate::template::Template;
use crate::{Error, Programs};

/// How often to look whether something has happened that nobody tells us of.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// How much of the leash's last words we read: more than it says, less than a pipe holds.
const LAST_WORDS: u64 = 16 * 1024;

/// A running leash. Dropped, it is let go: Postgres then stops by itself.
#[derive(Debug)]
pub(crate) struct Leash {
    child: Option<Child>,
}

impl Leash {
    /// Starts the leash, and by it Postgres with `arguments`, as `account`. `lock` is the lock on the data, which
    /// the leash holds from now on.
    pub(crate) fn start(
        programs: &Programs,
        account: &Account,
        layout: &Layout,
        template: &Template,
        lock: Option<File>,
        arguments: &[String],
    ) -> Result<Self, Error> {
        let empty = std::path::Path::new("");
        let mut command = account.command("/bin/sh");
        command
            .args(["-c", include_str!("leash.sh"), "postgres-leash"])
            .arg(programs.dir())
            .arg(&layout.data)
            .arg(&layout.log)
            .arg(if layout.kept { "INT" } else { "QUIT" })
            .arg(layout.scratch.as_deref().unwrap_or(empty))
            .arg(template.to_unpack().unwrap_or(empty))
            .arg(template.to_save().unwrap_or(empty))
            .arg(if layout.kept { "" } else { "--no-sync" })
            .args(arguments)
            // The other end of this pipe is closed on exec, so no other child of ours ever holds it open.
            .stdin(Stdio::piped())
            .stdout(lock.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal goes to the whole group: Postgres is to outlive what still uses it.
            .process_group(0);
        let child = command.spawn().map_err(Error::io("starting Postgres"))?;
        Ok(Self { child: Some(child) })
    }

    /// Whether the leash, and so Postgres, has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool, Error> {
        match &mut self.child {
            Some(child) => {
                let status = child.try_wait().map_err(Error::io("asking after Postgres"))?;
                Ok(status.is_some())
            }
            None => Ok(true),
        }
    }

    /// Lets go, and waits until all is stopped and removed.
    ///
    /// Errors: [`Error::StillRunning`] after `limit`; it then goes on stopping.
    pub(crate) async fn end(&mut self, limit: Duration) -> Result<(), Error> {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
        let begun = Instant::now();
        while !self.has_ended()? {
            if begun.elapsed() > limit {
                return Err(Error::StillRunning(limit));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The end of the log, once [`Self::has_ended`].
    pub(crate) fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        if let Some(stderr) = self.child.as_mut().and_then(|child| child.stderr.take()) {
            // Half of them are better than none.
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            // Somebody has to ask after an ended child, or it stays in the process table as long as we live.
            let _ = std::thread::Builder::new().spawn(move || child.wait());
        }
    }
}
