//! Signing in with a password, and what others notice of it.

use std::time::Duration;

use identity_core::failure::Failure;
use serde_json::json;

use super::records::{get_script, open};
use super::{CONNECTIONS, JSON, PASSWORD};
use crate::floors;
use crate::load::Script;
use crate::report::{Figure, Report, Target};
use crate::rounds::compare;
use crate::stage::Stage;

const LOGIN: &str = "ident POST /auth/login";
const BESIDE: &str = "ident GET p99 during logins";
/// As long as it takes to hash for all who wait.
const SETTLING: Duration = Duration::from_secs(2);
/// How many read records beside those who sign in.
const READERS: u32 = 2;

/// The administrator, signing in.
pub fn login_script() -> Script {
    let body = json!({"username": "admin", "password": PASSWORD}).to_string();
    Script::same("POST", "/auth/login", &[JSON], &body)
}

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants_any(&[LOGIN, BESIDE]) {
        return Ok(());
    }
    let running = open(stage).await?;
    let (login, get) = (login_script(), get_script(None));
    login.warm_up(&running.url, CONNECTIONS, stage.time).await?;
    if report.wants(LOGIN) {
        let compared = compare(
            stage.time,
            async |time| login.rate(&running.url, CONNECTIONS, time).await,
            async |time| Ok(floors::argon2(time)),
        )
        .await?;
        let floor = "argon2id verifications, all cores";
        report.compared(LOGIN, Figure::per_second, &compared, floor, Target::AtLeast(0.9));
    }
    if report.wants(BESIDE) {
        get.warm_up(&running.url, READERS, stage.time).await?;
        let compared = compare(
            stage.time,
            async |time| {
                let (read, signed_in) = tokio::join!(
                    get.run(&running.url, READERS, time),
                    login.run(&running.url, CONNECTIONS, time)
                );
                signed_in?;
                Ok(read?.p99_ms)
            },
            async |time| {
                // Rest begins when the sign-ins of the round before are done, whose clients have gone.
                tokio::time::sleep(SETTLING).await;
                Ok(get.run(&running.url, READERS, time).await?.p99_ms)
            },
        )
        .await?;
        let floor = "the same 2 connections' p99 at rest";
        report.compared(
            BESIDE,
            Figure::milliseconds,
            &compared,
            floor,
            Target::AtMost(5.0),
        );
    }
    Ok(())
}
