//! What verifying costs whoever starts a process of gpg for it, as the Python original does for each request.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use identity_core::failure::Failure;
use tempfile::TempDir;

use super::tokens::Tokens;
use crate::floors::all_cores;

/// A gpg that has the key, and the tokens as files.
pub struct Gpg {
    home: TempDir,
    files: Vec<PathBuf>,
}

impl Gpg {
    /// None where there is no gpg.
    pub fn with_keys(tokens: &Tokens) -> Result<Option<Self>, Failure> {
        let writing = |error| Failure::because("preparing gpg", error);
        let home = TempDir::new().map_err(writing)?;
        let mut files = Vec::new();
        for (number, token) in tokens.texts.iter().enumerate() {
            let file = home.path().join(format!("{number}.asc"));
            std::fs::write(&file, token).map_err(writing)?;
            files.push(file);
        }
        let gpg = Self { home, files };
        match gpg.command().arg("--import").arg(tokens.key()).status() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(status) if status.success() => {}
            other => return Err(Failure::Other(format!("gpg cannot import a key: {other:?}"))),
        }
        Ok(Some(gpg))
    }

    /// How many tokens a second processes of gpg verify on all cores, one after the other on each.
    pub fn verifications(&self, time: Duration) -> Result<f64, Failure> {
        let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let rate = all_cores(
            time,
            || (),
            |()| {
                let turn = next.fetch_add(1, Ordering::Relaxed) % self.files.len();
                let verified = self.files.get(turn).map(|file| {
                    let verified = self.command().arg("--verify").arg(file).status();
                    verified.is_ok_and(|status| status.success())
                });
                if verified != Some(true) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            },
        );
        match refused.into_inner() {
            0 => Ok(rate),
            refused => Err(Failure::Other(format!("gpg refused {refused} tokens"))),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--quiet", "--no-autostart", "--trust-model=always"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}
