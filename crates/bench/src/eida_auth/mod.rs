//! eida-auth's rows: 600 tokens of real size, each of which costs a verification and rows in three tables.

mod cleanup;
mod gpg;
mod tokens;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use eida_auth::openpgp::{Keyring, Policy, Source, parse};
use eida_auth::tokens::Content;
use identity_core::clock::Clock;
use identity_core::failure::Failure;

use crate::report::{Figure, Report, Target};
use crate::rounds::compare;
use crate::stage::{Running, Stage};
pub use tokens::Tokens;

const POST: &str = "eida-auth POST /";
const BESIDE_GPG: &str = "eida-auth POST / beside gpg";
const CONNECTIONS: u32 = 32;
const POLICY: Policy = Policy { accept_sha1: true };

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants_any(&[POST, BESIDE_GPG]) && !cleanup::is_wanted(report) {
        return Ok(());
    }
    let tokens = Tokens::make()?;
    if report.wants_any(&[POST, BESIDE_GPG]) {
        posts(stage, report, &tokens).await?;
    }
    cleanup::measure(stage, report, &tokens).await
}

async fn posts(stage: &Stage, report: &mut Report, tokens: &Tokens) -> Result<(), Failure> {
    let database = "eida_auth";
    let running = start(stage, database, tokens.dir(), &[]).await?;
    let script = tokens.script();
    script.warm_up(&running.url, CONNECTIONS, stage.time).await?;
    if report.wants(POST) {
        let source = Source::Files(tokens.dir().to_owned());
        let keyring = Keyring::open(vec![source], POLICY, Clock::system()).await?;
        let compared = compare(
            stage.time,
            async |time| script.rate(&running.url, CONNECTIONS, time).await,
            async |time| verifications(&keyring, &tokens.texts, time),
        )
        .await?;
        let floor = "one core's verifications with the same policy";
        report.compared(POST, Figure::per_second, &compared, floor, Target::AtLeast(0.5));
    }
    if report.wants(BESIDE_GPG) {
        let Some(gpg) = gpg::Gpg::with_keys(tokens)? else {
            eprintln!("{BESIDE_GPG}: not measured, there is no gpg (Debian: the package gnupg)");
            return Ok(());
        };
        let compared = compare(
            stage.time,
            async |time| script.rate(&running.url, CONNECTIONS, time).await,
            async |time| gpg.verifications(time),
        )
        .await?;
        let floor = "processes of gpg --verify, all cores";
        report.compared(BESIDE_GPG, Figure::per_second, &compared, floor, Target::Nothing);
    }
    Ok(())
}

/// A process with our tables in `database`, where one membership means one network.
async fn start(stage: &Stage, database: &str, keys: &Path, more: &[String]) -> Result<Running, Failure> {
    let program = [stage.binaries.join("eida-auth").into()];
    start_by(stage, &program, database, keys, more).await
}

/// The same by `program`, whose last part is the binary.
pub async fn start_by(
    stage: &Stage,
    program: &[OsString],
    database: &str,
    keys: &Path,
    more: &[String],
) -> Result<Running, Failure> {
    let mut settings = vec![
        format!("keyring={}", keys.display()),
        "accept_sha1=true".to_owned(),
        // Each token comes some dozen times.
        "credentials.max_per_token=500".to_owned(),
    ];
    if stage.database(database).await? {
        drop(stage.start("eida-auth", database, &settings).await?);
        let mapping =
            "INSERT INTO eida_auth.networks (network, start_year, end_year) VALUES ('Z3', 2015, 2022);
                       INSERT INTO eida_auth.epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022)";
        stage.execute(database, mapping).await?;
    }
    settings.extend_from_slice(more);
    stage.start_by(program, database, &settings).await
}

/// How many tokens a second one core verifies and reads.
#[expect(clippy::cast_precision_loss, reason = "counts of some hundred thousands")]
fn verifications(keyring: &Keyring, tokens: &[String], time: Duration) -> Result<f64, Failure> {
    let (mut count, began) = (0_u64, Instant::now());
    for token in tokens.iter().cycle() {
        let verified = parse(token.as_bytes()).and_then(|signed| keyring.verify(signed));
        let verified = verified.map_err(|error| Failure::because("verifying a token", error))?;
        Content::read(&verified.content).map_err(|error| Failure::because("reading a token", error))?;
        count += 1;
        if began.elapsed() >= time {
            break;
        }
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
