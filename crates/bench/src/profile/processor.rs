//! What the kernel says of processes: the time they had on a processor, and how often they gave it up.

use std::fs;

/// What was spent until now, or, after [`Spent::since`], by a request: microseconds, and switches.
#[derive(Debug, Default, Clone, Copy)]
pub struct Spent {
    service: Times,
    postgres: Times,
    /// Of children of ours that have ended: of wrk.
    children: Times,
    switches: f64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    user: f64,
    system: f64,
}

/// Linux counts in hundredths of a second.
const TICK_IN_MICROS: f64 = 10_000.0;

impl Spent {
    /// By the service, by all processes of Postgres, and by children of this one.
    pub fn now(service: u32, postgres: Option<u32>) -> Self {
        let mut spent = Self {
            service: times(service, OWN),
            children: times(std::process::id(), OF_CHILDREN),
            switches: switches(service),
            ..Self::default()
        };
        let postmaster = postgres.unwrap_or(service);
        for process in numbers("/proc").filter(|pid| parent(*pid) == Some(postmaster)) {
            let times = times(process, OWN);
            spent.postgres.user += times.user;
            spent.postgres.system += times.system;
        }
        spent
    }

    /// What each of so many requests has cost.
    #[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
    pub fn since(&self, before: &Self, requests: u64) -> Self {
        let each = |now: f64, before: f64| (now - before) / requests as f64;
        let times = |now: Times, before: Times| Times {
            user: each(now.user, before.user),
            system: each(now.system, before.system),
        };
        Self {
            service: times(self.service, before.service),
            postgres: times(self.postgres, before.postgres),
            children: times(self.children, before.children),
            switches: each(self.switches, before.switches),
        }
    }

    /// For the table.
    pub fn cells(&self) -> String {
        format!(
            "{:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2}",
            self.service.user,
            self.service.system,
            self.postgres.user,
            self.postgres.system,
            self.children.user + self.children.system,
            self.switches
        )
    }
}

/// The position of `utime` behind the name in `proc_pid_stat(5)`, and that of `cutime`.
const OWN: usize = 11;
const OF_CHILDREN: usize = 13;

fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may contain anything, but nothing behind it a parenthesis.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_whitespace().map(ToOwned::to_owned).collect()
}

fn times(pid: u32, at: usize) -> Times {
    let stat = stat(pid);
    let micros = |at: usize| {
        let ticks: Option<f64> = stat.get(at).and_then(|ticks| ticks.parse().ok());
        ticks.unwrap_or_default() * TICK_IN_MICROS
    };
    Times {
        user: micros(at),
        system: micros(at + 1),
    }
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).get(1)?.parse().ok()
}

/// How often the process' threads gave the processor up, or lost it.
fn switches(pid: u32) -> f64 {
    let tasks = format!("/proc/{pid}/task");
    let of_thread = |thread: u32| -> f64 {
        let status = fs::read_to_string(format!("{tasks}/{thread}/status")).unwrap_or_default();
        let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
        let counts = counts.filter_map(|line| line.rsplit(':').next()?.trim().parse::<f64>().ok());
        counts.sum()
    };
    numbers(&tasks).map(of_thread).sum()
}

/// The files whose names are numbers.
fn numbers(dir: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
