//! tokenstore's rows: an access token out of the store while it is fresh, and for many when it is not.

pub mod linking;

use std::time::Duration;

use identity_core::failure::Failure;
use identity_testkit::Provider;
use tokio::task::JoinSet;

use crate::ident;
use crate::report::{Figure, Report, Target};
use crate::rounds::compare;
use crate::stage::{Running, Stage};
use linking::{PATH, fresh_script, linked, settings};

const FRESH: &str = "tokenstore GET token, still fresh";
const STALE: [(&str, usize); 2] = [
    ("tokenstore GET token, stale: 200 callers at once", 1),
    ("tokenstore GET token, stale: 200 callers of two processes", 2),
];
const CALLERS: usize = 200;
const ROUNDS: usize = 5;
/// How long the provider takes, so that all have asked before it has answered the first.
const PROVIDER_TAKES: Duration = Duration::from_millis(300);

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if report.wants(FRESH) {
        fresh(stage, report).await?;
    }
    for (name, processes) in STALE {
        if report.wants(name) {
            let most = most_refreshes(stage, processes).await?;
            let figure = Figure::times(f64::from(most));
            let floor = (Figure::times(1.0), "request to the provider");
            report.add(name, figure, floor, Target::AtMost(1.0));
        }
    }
    Ok(())
}

async fn fresh(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let database = "tokenstore";
    let provider = Provider::start();
    stage.database(database).await?;
    let running = stage.start("tokenstore", database, &settings(&provider)).await?;
    let script = fresh_script(&running).await?;
    let (records, get) = (
        ident::records::open(stage).await?,
        ident::records::get_script(None),
    );
    script
        .warm_up(&running.url, ident::CONNECTIONS, stage.time)
        .await?;
    get.warm_up(&records.url, ident::CONNECTIONS, stage.time).await?;
    let compared = compare(
        stage.time,
        async |time| script.rate(&running.url, ident::CONNECTIONS, time).await,
        async |time| get.rate(&records.url, ident::CONNECTIONS, time).await,
    )
    .await?;
    if provider.refreshes() > 0 {
        return Err(Failure::Other(
            "the provider was asked for a fresh token".to_owned(),
        ));
    }
    let floor = "ident GET /{id}";
    report.compared(FRESH, Figure::per_second, &compared, floor, Target::AtLeast(0.8));
    Ok(())
}

/// The most requests that the provider got in any round, in each of which the token is stale and everybody asks
/// for it, of so many processes.
async fn most_refreshes(stage: &Stage, processes: usize) -> Result<u32, Failure> {
    let database = format!("tokenstore_{processes}");
    let provider = Provider::start();
    stage.database(&database).await?;
    let mut running = Vec::new();
    for _ in 0..processes {
        let started = stage.start("tokenstore", &database, &settings(&provider)).await?;
        running.push(started);
    }
    let first = running
        .first()
        .ok_or_else(|| Failure::Other("no process".to_owned()))?;
    let key = linked(first).await?;
    // Once with a fresh token: every connection is open then.
    ask_at_once(stage, &running, &key).await?;
    provider.change(|ways| ways.delay = PROVIDER_TAKES);
    let mut most = 0;
    for _ in 0..ROUNDS {
        let stale = "UPDATE tokenstore.links SET access_expires_at = now()";
        stage.execute(&database, stale).await?;
        let before = provider.refreshes();
        ask_at_once(stage, &running, &key).await?;
        most = most.max(provider.refreshes() - before);
    }
    u32::try_from(most).map_err(|error| Failure::because("counting requests", error))
}

/// All callers ask at once, and must be given the same token.
async fn ask_at_once(stage: &Stage, running: &[Running], key: &str) -> Result<(), Failure> {
    let mut callers = JoinSet::new();
    for process in running.iter().cycle().take(CALLERS) {
        let request = stage
            .client
            .get(format!("{}{PATH}", process.url))
            .bearer_auth(key);
        callers.spawn(async move { request.send().await?.error_for_status()?.text().await });
    }
    let failed = |error| Failure::because("asking for a token", error);
    let mut tokens = Vec::new();
    while let Some(answer) = callers.join_next().await {
        let answer = answer.map_err(|error| Failure::because("asking for a token", error))?;
        let answer: serde_json::Value = serde_json::from_str(&answer.map_err(failed)?)
            .map_err(|error| Failure::because("reading a token", error))?;
        tokens.push(answer.get("access_token").cloned());
    }
    tokens.dedup();
    match tokens.as_slice() {
        [Some(_)] => Ok(()),
        _ => Err(Failure::Other("not all were given the same token".to_owned())),
    }
}
