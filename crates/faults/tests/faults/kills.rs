//! Services killed under load.

use std::time::{Duration, Instant};

use faults::{short_or_full, some_moment_after, tell};
use identity_testkit::TestDatabase;

use crate::accounts::Accounts;
use crate::logins::Logins;
use crate::people::People;
use crate::subjects::Subjects;
use crate::work::{CLIENTS, Work};

async fn killed<W: Work>() {
    let kills = short_or_full(4, 50);
    let database = TestDatabase::empty().await;
    let (mut instance, work) = W::start(&database.url(), &[]).await;
    let load = work.busy(CLIENTS);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        some_moment_after(20, || work.done()).await;
        instance.kill();
        let began = Instant::now();
        instance.start_again().await;
        slowest = slowest.max(began.elapsed());
    }
    load.stop().await;
    let good = work.is_good(&instance).await;
    instance.kill();
    let (_, agreed) = work.agree(&database.url()).await;
    let tally = work.tally();
    assert!(
        tally.broken >= kills,
        "every kill meets requests under way: {tally}"
    );
    tell(
        &format!("{} killed", W::SERVICE),
        &format!("{kills} kills, ready again after {slowest:.1?} at most; {agreed}{good}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ident_that_is_killed_under_load_loses_nothing_and_leaves_nothing_half_done() {
    killed::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_killed_under_load_has_every_link_and_key_and_tells_of_each_in_its_audit_log() {
    killed::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idm_users_that_is_killed_under_load_has_a_trail_that_verifies_and_tells_of_every_change() {
    killed::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eida_auth_that_is_killed_under_load_has_every_login_that_it_gave_and_none_by_half() {
    killed::<Logins>().await;
}
