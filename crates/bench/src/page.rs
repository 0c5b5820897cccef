//! docs/benchmarks.md.

use std::fmt::Write as _;
use std::path::Path;

use identity_core::failure::Failure;

use crate::building;
use crate::report::Report;

/// Where the part begins that only `--build` measures.
const BUILDING: &str = "## Building";

/// Writes the page; of its two parts the one of which nothing was measured this time stays as it was.
pub fn write(path: &Path, report: &Report, command: &str) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let (mut figures, mut building) = match before.find(BUILDING) {
        Some(at) => (before[..at].to_owned(), before[at..].to_owned()),
        None => (before, String::new()),
    };
    if report.count(|name| !is_of_building(name)) > 0 {
        figures = page_of_figures(report, command, cores);
    }
    if report.count(is_of_building) > 0 {
        building = format!(
            "{BUILDING}\n\n\
             Measured by `cargo bench-services --build --only build --write`, on {cores} cores, in a fresh clone with an\n\
             empty target folder; the sources of the dependencies had been fetched.\n\n{}",
            report.markdown(is_of_building)
        );
    }
    let page = format!("{}\n\n{building}", figures.trim_end());
    std::fs::write(path, page.trim_end().to_owned() + "\n")
        .map_err(|error| Failure::because("writing docs/benchmarks.md", error))
}

fn is_of_building(name: &str) -> bool {
    building::ROWS.contains(&name)
}

fn page_of_figures(report: &Report, command: &str, cores: usize) -> String {
    let table = report.markdown(|name| !is_of_building(name));
    let mut missing = String::new();
    for failure in report.failures() {
        // Writing to a String cannot fail.
        let _ = write!(
            missing,
            "Rows are missing here, since their measurement failed: {failure}.\n\n"
        );
    }
    format!(
        "# Benchmarks\n\n\
         Written by `{command}`, on {cores} cores that the services, Postgres and the load generator share. The services\n\
         are the release binaries, Postgres runs with fsync. It needs `wrk`, Postgres' `pgbench` and `gpg`.\n\n\
         Machines differ, so what counts is the ratio of each figure to the floor beside it. Both were measured in the\n\
         same run and in turns, in five rounds each (fewer where `--seconds` is small); figures are the medians of the\n\
         rounds, the ratio is the median of the rounds' ratios, and their smallest and largest stand behind it. Where the\n\
         time of a request goes, and what limits the rows that fall short, is told in [performance.md](performance.md).\n\n\
         {table}\n\
         {missing}What the rows mean, where their names do not say it:\n\n{NOTES}"
    )
}

const NOTES: &str = "\
- Rates are those of 32 connections of `wrk` that ask again as soon as they are answered. Users are any of 100,000.
- *GET p99 during logins*: two connections read records as fast as they are answered, alone and while 32 connections
  sign in. Both times the same two connections, and at rest they are the only load.
- *growth*: one connection; the median time of an answer with 1,000,000 rows, or with 100,000 where that is slower,
  against that with 1,000. Each size has a database and a process of its own, and they are asked in turns.
  tokenstore's keys are asked for as if each had been used within the minute: a first use is written down.
- *name search*: the slowest of these: a rare last name, a first name that one of forty has, a first name with the
  beginning of a last one, the beginnings of two names, one letter, a name that nobody has.
- *list of subjects*: one connection, against one client of `pgbench` that executes the service's statements, which are
  planned each time as in the service.
- *200 callers at once*: the provider takes 300 ms for an answer; the most requests that it got in any of five rounds,
  for 200 answers with the same fresh token.
- *cleanup*: two connections hand in tokens for logins, alone and while `GET /cleanup` removes 100,000 accounts that
  have expired. The slowest answer meanwhile is compared with the p99 alone. *A centre's tables* have no index on when
  accounts expire, nor on the login of what they may see.
- *memory under 500 logins*: the largest resident memory of a fresh process while 500 connections sign in, all waiting
  in its queue; N is the number of cores.
- *beside gpg*: the Python original (eidawsauth) verifies by a process of `gpg` for each request. It is on no package
  index, and so is not measured here. Measured are bare processes of `gpg --verify` on all cores, with nothing around
  them, which no service that starts one for each token outdoes; the original is said to do about 70/s.
";
