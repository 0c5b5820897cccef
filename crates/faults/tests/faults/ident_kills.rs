//! ident, killed under load.

use std::time::{Duration, Instant};

use faults::{Instance, short_or_full, some_moment_after, tell};
use identity_testkit::TestDatabase;

use crate::people::{People, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ident_that_is_killed_under_load_loses_nothing_and_leaves_nothing_half_done() {
    let kills = short_or_full(5, 50);
    let database = TestDatabase::empty().await;
    let mut ident = Instance::start("ident", &settings(&database.url())).await;
    let people = People::at(&[&ident.url]);
    let load = people.busy(8);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        some_moment_after(20, || people.ledger.tally().done).await;
        ident.kill();
        let began = Instant::now();
        ident.start_again().await;
        slowest = slowest.max(began.elapsed());
    }
    load.stop().await;
    ident.kill();
    let agreed = people.agree(&database.url()).await;
    let tally = people.ledger.tally();
    assert!(
        tally.broken >= kills,
        "every kill meets requests under way: {tally}"
    );
    assert_eq!(tally.refused, 0, "{tally}");
    tell(
        "ident killed",
        &format!("{kills} kills, ready again after {slowest:.1?} at most; {agreed}"),
    );
}
