//! The floors of SQL: what Postgres does for pgbench.

use std::ffi::OsStr;
use std::io::Write;
use std::time::Duration;

use identity_core::failure::Failure;
use private_postgres::Server;
use tokio::process::Command;

use crate::rounds::median;

/// Transactions a second of `script` (pgbench's own language), prepared, by so many clients.
pub async fn rate(
    postgres: &Server,
    database: &str,
    script: &str,
    clients: u32,
    time: Duration,
) -> Result<f64, Failure> {
    let options = [
        "--protocol=prepared".to_owned(),
        format!("--client={clients}"),
        "--jobs=2".to_owned(),
        format!("--time={}", time.as_secs()),
    ];
    let said = run(postgres, database, script, "", &options).await?;
    let rate = said.lines().find_map(|line| {
        let number = line.strip_prefix("tps = ")?.split(' ').next()?;
        number.parse().ok()
    });
    rate.ok_or_else(|| Failure::Other(format!("pgbench said: {said}")))
}

/// The median of the times of one client's executions of `script`, planned each time, in milliseconds.
/// Names of tables are looked up in `schema`.
pub async fn median_ms(
    postgres: &Server,
    database: &str,
    schema: &str,
    script: &str,
    time: Duration,
) -> Result<f64, Failure> {
    let failed = |error| Failure::because("reading what pgbench has logged", error);
    let logs = tempfile::TempDir::new().map_err(failed)?;
    let options = [
        "--protocol=extended".to_owned(),
        "--client=1".to_owned(),
        format!("--time={}", time.as_secs()),
        "--log".to_owned(),
        format!("--log-prefix={}", logs.path().join("times").display()),
    ];
    run(postgres, database, script, schema, &options).await?;
    let mut times = Vec::new();
    for log in std::fs::read_dir(logs.path()).map_err(failed)? {
        let lines = std::fs::read_to_string(log.map_err(failed)?.path()).map_err(failed)?;
        // The third column is the time of a transaction in microseconds.
        let micros = lines.lines().filter_map(|line| line.split(' ').nth(2));
        times.extend(micros.filter_map(|micros| micros.parse::<f64>().ok()));
    }
    let median = median(&mut times) / 1e3;
    if median.is_nan() {
        return Err(Failure::Other("pgbench has logged nothing".to_owned()));
    }
    Ok(median)
}

async fn run(
    postgres: &Server,
    database: &str,
    script: &str,
    schema: &str,
    options: &[impl AsRef<OsStr>],
) -> Result<String, Failure> {
    let failed = |error| Failure::because("running pgbench", error);
    let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
    file.write_all(script.as_bytes()).map_err(failed)?;
    let output = Command::new(postgres.programs().program("pgbench"))
        .env("PGOPTIONS", format!("-c search_path={schema}"))
        .args(["--no-vacuum", "--username=postgres"])
        // As the service connects.
        .args(["--host", &postgres.host()])
        .args(["--port", &postgres.port().to_string()])
        .args(options)
        .arg("--file")
        .arg(file.path())
        .arg(database)
        .output()
        .await
        .map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Other(format!("pgbench: {errors}")))
}
