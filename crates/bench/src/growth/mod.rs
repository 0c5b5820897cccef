//! Growth: what is found by a key takes the same time among a million rows as among a thousand.

mod ident;
mod idm_users;
mod tokenstore;

use std::time::Duration;

use identity_core::failure::Failure;

use crate::load::{Measured, Script};
use crate::report::{Figure, Report, Target};
use crate::rounds::median;
use crate::stage::Stage;

/// How many users, subjects or links there are.
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    ident::measure(stage, report).await?;
    idm_users::measure(stage, report).await?;
    tokenstore::measure(stage, report).await
}

/// A process for each of [`SIZES`], by its URL.
type Urls = [String; SIZES.len()];

/// The median times, in milliseconds, of what `script` asks for at each size, by one connection, in turns.
async fn medians(
    stage: &Stage,
    urls: &Urls,
    script: impl Fn(u32) -> Script,
) -> Result<[f64; SIZES.len()], Failure> {
    let (count, each) = turns(stage);
    let mut times: [Vec<f64>; SIZES.len()] = Default::default();
    // The first is a warm-up.
    for round in 0..=count {
        for ((url, size), times) in urls.iter().zip(SIZES).zip(&mut times) {
            let Measured { p50_ms, .. } = script(size).run(url, 1, each).await?;
            if round > 0 {
                times.push(p50_ms);
            }
        }
    }
    Ok(times.map(|mut times| median(&mut times)))
}

/// There are many rows, and a median needs few answers: a quarter of the time must do.
fn turns(stage: &Stage) -> (u64, Duration) {
    ((stage.time.as_secs() / 4).clamp(2, 5), Duration::from_secs(1))
}

/// Adds a row for what must not grow.
async fn level(
    stage: &Stage,
    report: &mut Report,
    urls: &Urls,
    name: &str,
    script: impl Fn(u32) -> Script,
) -> Result<(), Failure> {
    if !report.wants(name) {
        return Ok(());
    }
    let [small, middle, large] = medians(stage, urls, script).await?;
    let floor = format!("with 1,000 ({middle:.3} ms with 100,000)");
    report.add(
        name,
        Figure::milliseconds(large.max(middle)),
        (Figure::milliseconds(small), &floor),
        Target::AtMost(1.5),
    );
    Ok(())
}

/// Adds a row for the slowest of the searches among the most rows, each with what it is called.
async fn quick(
    stage: &Stage,
    report: &mut Report,
    urls: &Urls,
    name: &str,
    searches: &[(&str, Script)],
) -> Result<(), Failure> {
    if !report.wants(name) {
        return Ok(());
    }
    let [.., largest] = urls;
    let (count, each) = turns(stage);
    let mut slowest = (0.0, "");
    for (what, script) in searches {
        script.warm_up(largest, 1, each).await?;
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(script.run(largest, 1, each).await?.p50_ms);
        }
        let time = median(&mut times);
        eprintln!("{name}: {what} takes {time:.2} ms");
        if time > slowest.0 {
            slowest = (time, what);
        }
    }
    let (time, what) = slowest;
    report.add(
        name,
        Figure::milliseconds(time),
        (Figure::milliseconds(20.0), &format!("allowed; slowest: {what}")),
        Target::AtMost(1.0),
    );
    Ok(())
}
