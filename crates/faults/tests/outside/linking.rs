//! Accounts being linked, while processes of tokenstore are killed: what was said to be linked is, and what was not
//! can be linked anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{Load, random_below, short_or_full, tell};

use crate::linked::{House, Told, turns};

const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_killed_while_accounts_are_linked_leaves_them_linked_or_not() {
    let kills = short_or_full(5, 50);
    let house = House::new(short_or_full(12, 48)).await;
    house.idp.change(|ways| ways.delay = Duration::from_millis(20));
    // Whether a link of theirs was once said to be done.
    let done: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
    let load = Load::start(CLIENTS, |number, running| {
        let (house, done) = (house.clone(), done.clone());
        async move {
            for person in turns(&house, number, CLIENTS, &running) {
                let said = house.link(&person).await;
                *done.lock().unwrap().entry(person.clone()).or_default() |= said;
                let told = house.token(&person).await;
                let known = done.lock().unwrap()[&person];
                assert!(
                    !known || matches!(told, Told::Theirs | Told::Nothing),
                    "{person}: {told:?}"
                );
            }
        }
    });
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(100 + random_below(400))).await;
        house.kill_one().await;
    }
    load.stop().await;
    house.idp.change(|ways| ways.delay = Duration::ZERO);
    let done = done.lock().unwrap().clone();
    let mut linked = 0;
    for person in &house.people {
        let told = house.token(person).await;
        match done.get(person) {
            Some(true) => assert_eq!(told, Told::Theirs, "{person} was told so"),
            _ => assert!(
                matches!(told, Told::Theirs | Told::NotLinked),
                "{person}: {told:?}"
            ),
        }
        linked += i64::from(told == Told::Theirs);
    }
    assert_eq!(
        house.links().await,
        linked,
        "a link that gives no token is no link"
    );
    for person in &house.people {
        assert!(house.link(person).await, "{person} links anew");
        assert_eq!(house.fresh(person).await, Told::Theirs);
    }
    tell(
        "tokenstore killed while accounts are linked",
        &format!(
            "{kills} kills; {linked} of {} linked, every one of them good",
            house.people.len()
        ),
    );
}
