//! Postgres, which crashes and freezes under load, while the services run on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use faults::{Instance, Postgres, Tally, grown, random_below, short_or_full, some_moment_after, tell};
use identity_testkit::Signal;
use rustix::process::{Pid, kill_process};

use crate::accounts::Accounts;
use crate::logins::Logins;
use crate::people::People;
use crate::subjects::Subjects;
use crate::work::{CLIENTS, Work};

/// Within this time after Postgres answers again requests succeed again.
const RECOVERY: Duration = Duration::from_secs(20);

/// A service on a Postgres of its own, and its clients.
struct Trial<W> {
    postgres: Postgres,
    database: String,
    service: Instance,
    work: Arc<W>,
}

impl<W: Work> Trial<W> {
    /// Starts both, the service with `more` settings.
    async fn start(fault: &str, more: &[&str]) -> Self {
        let postgres = Postgres::start(&format!("{fault}-{}", W::SERVICE)).await;
        let database = postgres.database("service").await;
        let (service, work) = W::start(&database, more).await;
        Self {
            postgres,
            database,
            service,
            work,
        }
    }

    /// Waits until `more` requests have succeeded; gives how long that took.
    async fn succeeds(&self, more: usize) -> Duration {
        grown(RECOVERY, more, || self.work.done()).await
    }

    /// Ends the service in good order, which it could not if it had ended before, and compares; gives what is to be
    /// told.
    async fn end(mut self) -> (Tally, String) {
        let good = self.work.is_good(&self.service).await;
        self.service.signal(Signal::TERM);
        let ended = self.service.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", self.service.log());
        let (_, agreed) = self.work.agree(&self.database).await;
        let tally = self.work.tally();
        assert_eq!(
            tally.broken, 0,
            "every request is answered, whatever becomes of Postgres: {tally}"
        );
        (tally, format!("{agreed}{good}"))
    }
}

/// Postgres ends at once, again and again.
async fn crashes<W: Work>() {
    let crashes = short_or_full(2, 20);
    let mut trial = Trial::<W>::start("crashes", &[]).await;
    let load = trial.work.busy(CLIENTS);
    let mut slowest = Duration::ZERO;
    for _ in 0..crashes {
        some_moment_after(20, || trial.work.done()).await;
        trial.postgres.crash().await;
        tokio::time::sleep(Duration::from_millis(random_below(1500))).await;
        trial.postgres.start_again().await;
        slowest = slowest.max(trial.succeeds(1).await);
    }
    load.stop().await;
    let (tally, agreed) = trial.end().await;
    assert!(tally.put_off >= crashes, "{tally}");
    tell(
        &format!("Postgres crashed, {}", W::SERVICE),
        &format!("{crashes} crashes, requests succeed again after {slowest:.1?} at most; {agreed}"),
    );
}

/// Postgres stands still.
async fn freezes<W: Work>() {
    let frozen = Duration::from_secs(short_or_full(4, 10));
    let times = [
        "server.request_timeout=2s",
        "database.postgres.connect_timeout=2s",
    ];
    let trial = Trial::<W>::start("freezes", &times).await;
    let work = &trial.work;
    let load = work.busy(CLIENTS);
    trial.succeeds(20).await;
    trial.postgres.freeze().await;
    // What Postgres had answered by then still comes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    work.slowest();
    let before = work.tally();
    tokio::time::sleep(frozen).await;
    let during = work.tally();
    let slowest = work.slowest();
    trial.postgres.thaw();
    let recovery = trial.succeeds(20).await;
    load.stop().await;
    let (_, agreed) = trial.end().await;
    assert!(
        slowest < Duration::from_secs(3),
        "they end by their time-out: {slowest:?}"
    );
    assert!(
        during.put_off > before.put_off + CLIENTS,
        "and are asked again: {during}"
    );
    assert_eq!(
        during.done - before.done,
        0,
        "nothing can have been done: {before}, {during}"
    );
    tell(
        &format!("Postgres frozen, {}", W::SERVICE),
        &format!(
            "for {frozen:?}, requests took {slowest:.1?} at most and succeed again after {recovery:.1?}; {agreed}"
        ),
    );
}

/// Kills one of the processes that serve the service, as a machine that runs out of memory does: Postgres then ends all
/// the others, recovers, and takes connections again.
async fn kill_a_backend(database: &str, service: &str) {
    let client = Postgres::connect(database, "public").await;
    let any = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY random() LIMIT 1";
    let pid = client.query_one(any, &[&service]).await.unwrap().get(0);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// A process of Postgres is killed, again and again.
async fn backends<W: Work>() {
    let kills = short_or_full(2, 20);
    let trial = Trial::<W>::start("backends", &[]).await;
    let load = trial.work.busy(CLIENTS);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        some_moment_after(20, || trial.work.done()).await;
        kill_a_backend(&trial.database, W::SERVICE).await;
        slowest = slowest.max(trial.succeeds(20).await);
    }
    load.stop().await;
    let (_, agreed) = trial.end().await;
    tell(
        &format!("a process of Postgres killed, {}", W::SERVICE),
        &format!("{kills} kills, 20 requests have succeeded again after {slowest:.1?} at most; {agreed}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_crashes_has_kept_what_ident_answered_and_ident_recovers_by_itself() {
    crashes::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_crashes_has_kept_what_tokenstore_answered_and_tokenstore_recovers_by_itself() {
    crashes::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_crashes_has_kept_what_idm_users_answered_and_idm_users_recovers_by_itself() {
    crashes::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_crashes_has_kept_what_eida_auth_answered_and_eida_auth_recovers_by_itself() {
    crashes::<Logins>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_requests_to_ident_end_by_their_time_out_and_go_on_afterwards() {
    freezes::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_requests_to_tokenstore_end_by_their_time_out_and_go_on_afterwards() {
    freezes::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_requests_to_idm_users_end_by_their_time_out_and_go_on_afterwards() {
    freezes::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_requests_to_eida_auth_end_by_their_time_out_and_go_on_afterwards() {
    freezes::<Logins>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_postgres_that_is_killed_takes_nothing_with_it_that_ident_answered() {
    backends::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_postgres_that_is_killed_takes_nothing_with_it_that_tokenstore_answered() {
    backends::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_postgres_that_is_killed_takes_nothing_with_it_that_idm_users_answered() {
    backends::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_postgres_that_is_killed_takes_nothing_with_it_that_eida_auth_answered() {
    backends::<Logins>().await;
}
