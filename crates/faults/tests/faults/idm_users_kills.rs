//! idm-users, killed under load: subjects and the audit trail that tells of them.

use faults::{Instance, short_or_full, some_moment_after, tell};
use identity_testkit::TestDatabase;

use crate::subjects::{Subjects, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idm_users_that_is_killed_under_load_has_a_trail_that_verifies_and_tells_of_every_change() {
    let kills = short_or_full(4, 50);
    let database = TestDatabase::empty().await;
    let mut idm = Instance::start("idm-users", &settings(&database.url())).await;
    let subjects = Subjects::at(&idm.url).await;
    let load = subjects.busy(8);
    for _ in 0..kills {
        some_moment_after(20, || subjects.ledger.tally().done).await;
        idm.kill();
        idm.start_again().await;
    }
    load.stop().await;
    idm.kill();
    let (_, agreed) = subjects.agree(&database.url()).await;
    let verified = idm.run(&["audit", "verify"]).await;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        verified.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let tally = subjects.ledger.tally();
    assert!(
        tally.broken >= kills,
        "every kill meets requests under way: {tally}"
    );
    tell(
        "idm-users killed",
        &format!("{kills} kills; {agreed}; the trail: {}", said.trim()),
    );
}
