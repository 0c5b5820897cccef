//! The instructions of a service, counted by valgrind and added up by the library that they are of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use identity_core::failure::Failure;
use tokio::process::Command;

use super::cases::Case;
use crate::stage::Stage;

/// How long valgrind lets the service be asked, at some fiftieth of its speed.
const TIME: Duration = Duration::from_secs(15);
/// How many parts the table has.
const PARTS: usize = 14;

/// What a request costs.
pub struct Counted {
    /// Instructions in all.
    pub total: f64,
    parts: Vec<(String, f64)>,
}

/// Counts what `binary`, which has its symbols, does for a kind of request.
pub async fn count(stage: &Stage, case: &Case, binary: &Path) -> Result<Counted, Failure> {
    let failed = |error| Failure::because("counting by valgrind (Debian: the package valgrind)", error);
    let files = tempfile::TempDir::new().map_err(failed)?;
    let written = files.path().join("counts");
    // A loop that the processor makes of one instruction would count as one for each byte.
    let without_loops = "GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1000000000:\
                         glibc.cpu.x86_rep_movsb_threshold=1000000000";
    let program: [OsString; 7] = [
        "env".into(),
        without_loops.into(),
        "valgrind".into(),
        "--tool=callgrind".into(),
        "--instr-atstart=no".into(),
        format!("--callgrind-out-file={}", written.display()).into(),
        binary.into(),
    ];
    let started = case.start(stage, &program).await?;
    let (url, pid) = (&started.running.url, started.running.pid());
    started
        .script
        .try_all(url, case.connections, Duration::from_secs(2))
        .await?;
    control(&["--instr=on"], pid).await?;
    let measured = started.script.run(url, case.connections, TIME).await?;
    control(&["--dump"], pid).await?;
    drop(started);
    let dump = files.path().join("counts.1");
    let output = Command::new("callgrind_annotate")
        .args(["--threshold=100", "--auto=no"])
        .arg(dump)
        .output()
        .await
        .map_err(failed)?;
    Ok(Counted::read(
        &String::from_utf8_lossy(&output.stdout),
        measured.requests,
    ))
}

async fn control(arguments: &[&str], pid: u32) -> Result<(), Failure> {
    let failed = |error| Failure::because("running callgrind_control", error);
    let mut command = Command::new("callgrind_control");
    command.args(arguments).arg(pid.to_string());
    let output = command.output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Other(format!("callgrind_control: {said}")))
}

impl Counted {
    /// Reads what `callgrind_annotate` lists: the count, its share, and `file:function [object]`.
    #[expect(clippy::cast_precision_loss, reason = "counts of some milliards")]
    fn read(listed: &str, requests: u64) -> Self {
        let mut parts: BTreeMap<String, f64> = BTreeMap::new();
        for line in listed.lines() {
            let Some((count, rest)) = line.trim_start().split_once(' ') else {
                continue;
            };
            let Ok(count) = count.replace(',', "").parse::<f64>() else {
                continue;
            };
            let Some((_, function)) = rest.split_once(')').filter(|(share, _)| share.ends_with('%')) else {
                continue;
            };
            if function.trim() == "PROGRAM TOTALS" {
                continue;
            }
            *parts.entry(part_of(function.trim())).or_default() += count / requests as f64;
        }
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        Self {
            total: parts.iter().map(|(_, count)| count).sum(),
            parts,
        }
    }

    /// The parts, the largest first.
    pub fn table(&self) -> String {
        let mut table = "| part | instructions | share |\n| --- | --- | --- |\n".to_owned();
        let mut row = |name: &str, count: f64| {
            let share = count / self.total * 100.0;
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {name} | {count:.0} | {share:.1} % |");
        };
        for (name, count) in self.parts.iter().take(PARTS) {
            row(name, *count);
        }
        let others = self.parts.iter().skip(PARTS).map(|(_, count)| count);
        row("all others", others.sum());
        table
    }
}

/// Whose a function is: of the library that is named first in it, or of the C library.
fn part_of(function: &str) -> String {
    let (function, object) = function.rsplit_once(" [").unwrap_or((function, ""));
    if ["libc.so", "libc-", "libm.so", "ld-linux"]
        .iter()
        .any(|name| object.contains(name))
    {
        return match function {
            _ if ["malloc", "free", "calloc", "realloc", "_int_"]
                .iter()
                .any(|name| function.contains(name)) =>
            {
                "libc: memory".to_owned()
            }
            _ if ["memcpy", "memmove", "memset", "memcmp", "memchr"]
                .iter()
                .any(|name| function.contains(name)) =>
            {
                "libc: copies".to_owned()
            }
            _ => "libc: others".to_owned(),
        };
    }
    let name = function.split_once(':').map_or(function, |(_, name)| name);
    if name.starts_with("aws_lc") || name.contains("aws_lc_") {
        return "aws-lc".to_owned();
    }
    // `<crate::Type as other::Trait>::function` is of the first.
    let name = name.trim_start_matches(['<', '&', '*', '(', '[']);
    let name = name.strip_prefix("dyn ").unwrap_or(name);
    match name.split_once("::") {
        Some((library, _)) if is_library(library) => library.to_owned(),
        _ => "others".to_owned(),
    }
}

fn is_library(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_added_up_by_library() {
        let listed = "\
9,000 (100.0%)  PROGRAM TOTALS

3,000 (33.33%)  ???:<tokio_postgres::client::Client as core::fmt::Debug>::fmt [/x/ident]
2,000 (22.22%)  ???:tokio_postgres::query::encode [/x/ident]
1,500 (16.67%)  ./malloc/malloc.c:_int_malloc [/usr/lib/libc.so.6]
1,500 (16.67%)  ???:aws_lc_0_30_sha256 [/x/ident]
1,000 (11.11%)  ???:0x0000 [/x/ident]
";
        let counted = Counted::read(listed, 10);
        let expected = [
            ("tokio_postgres", 500.0),
            ("aws-lc", 150.0),
            ("libc: memory", 150.0),
            ("others", 100.0),
        ];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counted.parts, expected);
        assert!((counted.total - 900.0).abs() < f64::EPSILON);
        assert!(counted.table().contains("| tokio_postgres | 500 | 55.6 % |"));
    }
}
