//! The network to Postgres, cut in the middle of a statement and of a commit.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use faults::{Instance, Postgres, random_below, short_or_full, tell};
use identity_testkit::{Cut, Proxy, Signal, TestDatabase, eventually};

use crate::accounts::Accounts;
use crate::logins::Logins;
use crate::people::People;
use crate::subjects::Subjects;
use crate::work::{CLIENTS, Work};

/// A service with a network to its Postgres.
async fn start<W: Work>() -> (TestDatabase, Proxy, Instance, Arc<W>) {
    let database = TestDatabase::empty().await;
    let (network, url) = database.behind_proxy();
    let (service, work) = W::start(&url, &[]).await;
    (database, network, service, work)
}

/// What is cut, and by which text it is known on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Make,
    Rename,
    Relink,
    Delete,
}

impl Write {
    const ALL: [Self; 4] = [Self::Make, Self::Rename, Self::Relink, Self::Delete];

    /// A text that is sent when it is decided: the values of what is one statement, or the commit of what is several.
    fn decided_by(self, email: &str) -> Vec<u8> {
        match self {
            Self::Make => email.as_bytes().to_vec(),
            Self::Rename => format!("Renamed {email}").into_bytes(),
            Self::Relink | Self::Delete => b"COMMIT\0".to_vec(),
        }
    }

    /// Asks for it; the record `id` is there unless it is made just now.
    async fn ask(self, people: &People, id: i64, email: &str) {
        let account = |number: u8| Some((format!("{email} {number}"), true));
        match self {
            Self::Make => {
                people.make(email, account(1)).await;
            }
            Self::Rename => {
                people.patch(id, email, format!("Renamed {email}"), None).await;
            }
            Self::Relink => {
                people
                    .patch(id, email, format!("Relinked {email}"), account(2))
                    .await;
            }
            Self::Delete => people.delete(id, email).await,
        }
    }
}

/// Cuts the line at the decision about `write`; gives the record's address.
async fn cut(people: &People, network: &Proxy, write: Write, cut: fn(Vec<u8>) -> Cut) -> String {
    // The last cut may have begun an outage that is not over yet; then nothing comes to a decision.
    for attempt in 0..100 {
        let email = format!("{write:?}.{attempt}.{:?}@north", cut(Vec::new()));
        let id = match write {
            Write::Make => 0,
            _ => match people.make(&email, Some((format!("{email} 0"), true))).await {
                Some(id) => id,
                None => continue,
            },
        };
        let before = people.ledger.tally();
        network.cut_at(cut(write.decided_by(&email)));
        write.ask(people, id, &email).await;
        let (is_cut, after) = (network.is_cut(), people.ledger.tally());
        network.mend();
        let put_off = after.put_off - before.put_off;
        assert_eq!(
            put_off, 1,
            "{write:?}: nobody can know, so nobody says that it is done"
        );
        if is_cut {
            return email;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{write:?} never came to its decision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_cut_before_the_decision_leaves_nothing_and_one_cut_after_it_leaves_all_and_neither_is_called_done()
 {
    let (database, network, mut ident, people) = start::<People>().await;
    let mut records = Vec::new();
    for write in Write::ALL {
        records.push(cut(&people, &network, write, Cut::Before).await);
        records.push(cut(&people, &network, write, Cut::After).await);
    }
    ident.kill();
    let (_, agreed) = people.agree(&database.url()).await;
    let client = Postgres::connect(&database.url(), "ident").await;
    let sql = "SELECT coalesce(replace(u.name, r.email, '…') || ', ' || replace(a.account_id, r.email, '…'), 'nothing')
               FROM unnest($1::text[]) WITH ORDINALITY r (email, number)
               LEFT JOIN users u USING (email) LEFT JOIN linked_accounts a ON a.user_id = u.id ORDER BY r.number";
    let rows = client.query(sql, &[&records]).await.unwrap();
    let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        ["nothing", "New …, … 1"],
        ["New …, … 0", "Renamed …, … 0"],
        ["New …, … 0", "Relinked …, … 2"],
        ["New …, … 0", "nothing"],
    ];
    assert_eq!(
        left,
        expected.concat(),
        "of each the cut before, and the cut after"
    );
    tell("network cut at the decision", &agreed);
}

/// Where the line is cut next: in turn at the decision about a change, before it is passed on and before it is answered,
/// and anywhere else, while something is asked and while it is answered.
fn turn<W: Work>(number: usize) -> Cut {
    let bytes = usize::try_from(1 + random_below(30_000)).unwrap();
    match number % 4 {
        0 => Cut::After(W::DECISION.to_vec()),
        1 => Cut::Sent(bytes),
        2 => Cut::Before(W::DECISION.to_vec()),
        _ => Cut::Answered(bytes),
    }
}

/// The line is cut under load, again and again.
async fn cuts<W: Work>() {
    let cuts = short_or_full(5, 100);
    let (database, network, mut service, work) = start::<W>().await;
    let load = work.busy(CLIENTS);
    for number in 0..cuts {
        network.cut_at(turn::<W>(number));
        eventually("the line is cut", async || network.is_cut().then_some(())).await;
        tokio::time::sleep(Duration::from_millis(random_below(100))).await;
        let before = work.done();
        network.mend();
        eventually("requests succeed again", async || {
            (work.done() > before).then_some(())
        })
        .await;
    }
    load.stop().await;
    let good = work.is_good(&service).await;
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
    let (_, agreed) = work.agree(&database.url()).await;
    let tally = work.tally();
    assert_eq!(
        tally.broken, 0,
        "every request is answered, whatever becomes of the line: {tally}"
    );
    assert!(tally.put_off > 0, "{tally}");
    tell(
        &format!("network cut under load, {}", W::SERVICE),
        &format!("{cuts} cuts; {agreed}{good}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_ident_that_is_cut_under_load_loses_nothing_and_leaves_nothing_half_done() {
    cuts::<People>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_tokenstore_that_is_cut_under_load_loses_nothing_and_leaves_nothing_half_done() {
    cuts::<Accounts>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_idm_users_that_is_cut_under_load_loses_nothing_and_leaves_nothing_half_done() {
    cuts::<Subjects>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_eida_auth_that_is_cut_under_load_loses_nothing_and_leaves_nothing_half_done() {
    cuts::<Logins>().await;
}
