//! Load from wrk: what it asks stands in a Lua script, what it measured in one line of JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use identity_core::failure::Failure;
use serde::Deserialize;
use tokio::process::Command;

/// Prints what is read back. Times of wrk are microseconds.
const DONE: &str = r#"
function done(summary, latency, requests)
  io.write(string.format(
    '\n{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"slowest_ms":%f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"#;

/// What is asked: the part of a Lua script before `done`.
#[derive(Debug, Clone)]
pub struct Script(String);

/// What wrk measured.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Measured {
    /// How many requests were answered.
    pub requests: u64,
    seconds: f64,
    /// Half of the answers came within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 answers came within this time, in milliseconds.
    pub p99_ms: f64,
    /// The slowest answer took so long, in milliseconds.
    pub slowest_ms: f64,
    /// How many were refused or never answered.
    pub failed: u64,
}

impl Script {
    /// The same request again and again.
    pub fn same(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut script = format!("wrk.method = {method:?}\nwrk.path = {path:?}\nwrk.body = [==[{body}]==]\n");
        for (name, value) in headers {
            // Writing to a String cannot fail.
            let _ = writeln!(script, "wrk.headers[{name:?}] = {value:?}");
        }
        Self(script)
    }

    /// Lua that defines `request`, and can use `N`, which differs from call to call and thread to thread.
    pub fn changing(request: &str) -> Self {
        Self(format!(
            "local threads = 0\n\
             function setup(thread) thread:set('id', threads); threads = threads + 1 end\n\
             local count = 0\n\
             local function N() count = count + 1; return count * 64 + id end\n\
             function init(arguments) math.randomseed(os.time() + id) end\n\
             {request}\n"
        ))
    }

    /// A GET of a path that Lua's expression `path` gives.
    pub fn get(path: &str, headers: &[(&str, &str)]) -> Self {
        let mut lua = "local headers = {}\n".to_owned();
        for (name, value) in headers {
            // Writing to a String cannot fail.
            let _ = writeln!(lua, "headers[{name:?}] = {value:?}");
        }
        Self::changing(&format!(
            "{lua}function request() return wrk.format('GET', {path}, headers) end"
        ))
    }

    /// Asks for an eighth of `time`, and forgets what came of it.
    pub async fn warm_up(&self, url: &str, connections: u32, time: Duration) -> Result<(), Failure> {
        let warm_up = (time / 8).max(Duration::from_secs(1));
        self.try_all(url, connections, warm_up).await.map(drop)
    }

    /// Asks `url` over `connections` for `time`; all must be answered with success.
    pub async fn run(&self, url: &str, connections: u32, time: Duration) -> Result<Measured, Failure> {
        let measured = self.try_all(url, connections, time).await?;
        if measured.failed > 0 || measured.requests == 0 {
            return Err(Failure::Other(format!(
                "{} of {} requests to {url} failed",
                measured.failed, measured.requests
            )));
        }
        Ok(measured)
    }

    /// As [`Self::run`], and gives how many were answered a second.
    pub async fn rate(&self, url: &str, connections: u32, time: Duration) -> Result<f64, Failure> {
        Ok(self.run(url, connections, time).await?.per_second())
    }

    /// As [`Self::run`]; whatever is answered will do.
    pub async fn try_all(&self, url: &str, connections: u32, time: Duration) -> Result<Measured, Failure> {
        let failed = |error| Failure::because("running wrk (Debian: the package wrk)", error);
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        file.write_all(self.0.as_bytes())
            .and_then(|()| file.write_all(DONE.as_bytes()))
            .map_err(failed)?;
        let threads = connections.min(2).to_string();
        let output = Command::new("wrk")
            .args(["--threads", &threads, "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .args(["--timeout", "20s", "--script"])
            .arg(file.path())
            .arg(url)
            .output()
            .await
            .map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().rev().find(|line| line.starts_with('{'));
        line.and_then(|line| serde_json::from_str(line).ok())
            .ok_or_else(|| {
                Failure::Other(format!(
                    "wrk said: {said} {}",
                    String::from_utf8_lossy(&output.stderr)
                ))
            })
    }
}

impl Measured {
    /// Requests that were answered, a second.
    #[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}
