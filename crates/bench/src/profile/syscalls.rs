//! The system calls of a service, counted by strace.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use identity_core::failure::Failure;
use tokio::process::Command;

use super::cases::Started;

/// What a request makes of them.
pub struct Calls {
    /// In all.
    pub total: f64,
    /// The commonest, each with its number.
    pub text: String,
}

/// Those below are left out.
const RARE: f64 = 0.02;

/// Counts while it is asked.
#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
pub async fn count(started: &Started, connections: u32, time: Duration) -> Result<Calls, Failure> {
    let failed = |error| Failure::because("running strace (Debian: the package strace)", error);
    let output = tempfile::NamedTempFile::new().map_err(failed)?;
    let pid = started.running.pid().to_string();
    let mut strace = Command::new("strace")
        .args(["--follow-forks", "--summary-only", "--attach", &pid, "--output"])
        .arg(output.path())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let measured = started
        .script
        .run(&started.running.url, connections, time)
        .await?;
    let interrupted = Command::new("kill")
        .args(["-INT", &strace.id().unwrap_or_default().to_string()])
        .status()
        .await;
    interrupted.map_err(failed)?;
    strace.wait().await.map_err(failed)?;
    let summary = std::fs::read_to_string(output.path()).map_err(failed)?;
    let counts: BTreeMap<&str, u64> = summary.lines().filter_map(line).collect();
    let mut each: Vec<(&str, f64)> = counts
        .into_iter()
        .map(|(name, count)| (name, count as f64 / measured.requests as f64))
        .collect();
    each.sort_by(|one, other| other.1.total_cmp(&one.1));
    let total = each.iter().map(|(_, count)| count).sum();
    let common = each.iter().filter(|(_, count)| *count > RARE);
    let common: Vec<_> = common.map(|(name, count)| format!("{name} {count:.2}")).collect();
    Ok(Calls {
        total,
        text: common.join(", "),
    })
}

/// A line of the summary: share, seconds, microseconds, calls, perhaps errors, name.
fn line(line: &str) -> Option<(&str, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = *words.last()?;
    let count = words.get(3)?.parse().ok()?;
    (words.len() >= 5 && name != "total").then_some((name, count))
}
