//! Postgres, which crashes and freezes under load, while ident runs on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use faults::{Instance, Postgres, grown, random_below, short_or_full, some_moment_after, tell};
use identity_testkit::Signal;
use rustix::process::{Pid, kill_process};

use crate::people::{People, settings};

/// Within this time after Postgres answers again requests succeed again: the longest pause of the
/// watch is 8 s.
const RECOVERY: Duration = Duration::from_secs(20);

/// ident on a Postgres of its own, with more settings.
async fn start(name: &str, more: &[&str]) -> (Postgres, String, Instance, Arc<People>) {
    let postgres = Postgres::start(name).await;
    let database = postgres.database("ident").await;
    let mut settings = settings(&database);
    settings.extend(more.iter().map(|&setting| setting.to_owned()));
    let ident = Instance::start("ident", &settings).await;
    let people = People::at(&[&ident.url]);
    (postgres, database, ident, people)
}

/// Ends ident in good order, which it could not if it had ended before.
async fn end(mut ident: Instance) {
    ident.signal(Signal::TERM);
    assert_eq!(ident.ended().await.code(), Some(0), "{}", ident.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_crashes_under_load_has_kept_what_was_answered_and_ident_recovers_by_itself() {
    let crashes = short_or_full(3, 20);
    let (mut postgres, database, ident, people) = start("crashes", &[]).await;
    let load = people.busy(8);
    let mut slowest = Duration::ZERO;
    for _ in 0..crashes {
        some_moment_after(20, || people.ledger.tally().done).await;
        postgres.crash().await;
        tokio::time::sleep(Duration::from_millis(random_below(1500))).await;
        postgres.start_again().await;
        slowest = slowest.max(grown(RECOVERY, 1, || people.ledger.tally().done).await);
    }
    load.stop().await;
    end(ident).await;
    let agreed = people.agree(&database).await;
    let tally = people.ledger.tally();
    assert_eq!(
        tally.broken, 0,
        "ident answers whatever becomes of Postgres: {tally}"
    );
    assert!(tally.put_off >= crashes, "{tally}");
    tell(
        "Postgres crashed",
        &format!("{crashes} crashes, requests succeed again after {slowest:.1?} at most; {agreed}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_requests_end_by_their_time_out_and_go_on_afterwards() {
    let frozen = Duration::from_secs(short_or_full(6, 10));
    let times = [
        "server.request_timeout=2s",
        "database.postgres.connect_timeout=2s",
    ];
    let (postgres, database, ident, people) = start("freezes", &times).await;
    let load = people.busy(8);
    grown(RECOVERY, 20, || people.ledger.tally().done).await;
    postgres.freeze().await;
    // What Postgres had answered by then still comes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    people.slowest();
    let before = people.ledger.tally();
    tokio::time::sleep(frozen).await;
    let during = people.ledger.tally();
    let slowest = people.slowest();
    postgres.thaw();
    let recovery = grown(RECOVERY, 20, || people.ledger.tally().done).await;
    load.stop().await;
    end(ident).await;
    let agreed = people.agree(&database).await;
    assert!(
        slowest < Duration::from_secs(3),
        "they end by their time-out: {slowest:?}"
    );
    assert!(
        during.put_off > before.put_off + 8,
        "and are asked again: {during}"
    );
    assert_eq!(
        during.done - before.done,
        0,
        "nothing can have been done: {before}, {during}"
    );
    assert_eq!(during.broken, 0, "{during}");
    tell(
        "Postgres frozen",
        &format!(
            "for {frozen:?}, requests took {slowest:.1?} at most and succeed again after {recovery:.1?}; {agreed}"
        ),
    );
}

/// Kills one of the processes that serve ident, as a machine that runs out of memory does: Postgres then ends all the
/// others, recovers, and takes connections again.
async fn kill_a_backend(database: &str) {
    let client = Postgres::connect(database, "ident").await;
    let any = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ident' ORDER BY random() LIMIT 1";
    let pid = client.query_one(any, &[]).await.unwrap().get(0);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_postgres_that_is_killed_takes_nothing_with_it_that_was_answered() {
    let kills = short_or_full(2, 20);
    let (_postgres, database, ident, people) = start("backends", &[]).await;
    let load = people.busy(8);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        some_moment_after(20, || people.ledger.tally().done).await;
        kill_a_backend(&database).await;
        slowest = slowest.max(grown(RECOVERY, 20, || people.ledger.tally().done).await);
    }
    load.stop().await;
    end(ident).await;
    let agreed = people.agree(&database).await;
    let tally = people.ledger.tally();
    assert_eq!(
        tally.broken, 0,
        "ident answers whatever becomes of Postgres: {tally}"
    );
    tell(
        "a process of Postgres killed",
        &format!("{kills} kills, 20 requests have succeeded again after {slowest:.1?} at most; {agreed}"),
    );
}
