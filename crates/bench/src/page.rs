//! docs/benchmarks.md.

use std::path::Path;

use identity_core::failure::Failure;

use crate::building;
use crate::report::Report;

/// Where the part begins that only `--build` measures.
const BUILDING: &str = "## Building";

/// Writes the page; what was not built this time is said of building as before.
pub fn write(path: &Path, report: &Report, command: &str) -> Result<(), Failure> {
    let writing = |error| Failure::because("writing docs/benchmarks.md", error);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let of_building = |name: &str| building::ROWS.contains(&name);
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let built_before = before.find(BUILDING).and_then(|at| before.get(at..));
    let building = if report.count(of_building) > 0 {
        format!(
            "{BUILDING}\n\n\
             Measured by `cargo bench-services --build --only build`, on {cores} cores, in a fresh clone with an empty target\n\
             folder; the sources of the dependencies had been fetched.\n\n{}",
            report.markdown(of_building)
        )
    } else {
        built_before.unwrap_or_default().to_owned()
    };
    let page = format!("{}\n{building}", figures(report, command, cores));
    std::fs::write(path, page.trim_end().to_owned() + "\n").map_err(writing)
}

fn figures(report: &Report, command: &str, cores: usize) -> String {
    let table = report.markdown(|name| !building::ROWS.contains(&name));
    format!(
        "# Benchmarks\n\n\
         Written by `{command}`, on {cores} cores that the services, Postgres and the load generator share. The services\n\
         are the release binaries, Postgres runs with fsync. It needs `wrk`, Postgres' `pgbench` and `gpg`.\n\n\
         Machines differ, so what counts is the ratio of each figure to the floor beside it. Both were measured in the\n\
         same run and in turns, in five rounds each (fewer where `--seconds` is small); figures are the medians of the\n\
         rounds, the ratio is the median of the rounds' ratios, and their smallest and largest stand behind it. Where the\n\
         time of a request goes, and what limits the rows that fall short, is told in [performance.md](performance.md).\n\n\
         {table}\n\
         What the rows mean, where their names do not say it:\n\n{NOTES}"
    )
}

const NOTES: &str = "\
- Rates are those of 32 connections of `wrk` that ask again as soon as they are answered. Users are any of 100,000.
- *GET p99 during logins*: two connections read records as fast as they are answered, alone and while 32 connections
  sign in. Both times the same two connections, and at rest they are the only load.
- *during logins* and *bearer* take the record of a user at random, without the name's search.
- *growth*: one connection; the median time of an answer with 1,000,000 rows, or with 100,000 where that is slower,
  against that with 1,000. Each size has a database and a process of its own, and they are asked in turns.
- *name search*: the slowest of the kinds of search: for the whole of a rare name, for a first name that one of forty
  has, for two beginnings of words, and for the two commonest beginnings.
- *list of subjects*: one connection, against one client of `pgbench` that executes the service's statements, which are
  planned each time as in the service.
- *200 callers at once*: the provider takes 300 ms for an answer; the most requests that it got in any of five rounds,
  for 200 answers with the same fresh token.
- *cleanup*: two connections hand in tokens for logins, alone and while `GET /cleanup` removes 100,000 accounts that
  have expired. The slowest answer meanwhile is compared with the p99 alone.
- *memory under 500 logins*: the largest resident memory of a fresh process while 500 connections sign in, all waiting
  in its queue; N is the number of cores.
- *beside gpg*: the Python original (eidawsauth) verifies by a process of `gpg` for each request. It is on no package
  index, and so is not measured here; measured are bare processes of `gpg --verify` on all cores, with nothing around
  them, which no service that starts one for each token outdoes.
";
