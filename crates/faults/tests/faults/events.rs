//! Events: both dispatchers killed again and again, and a receiver that fails half the time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use faults::{Instance, random_below, short_or_full, tell};
use identity_testkit::{Behaviour, Received, Receiver, TestDatabase};
use serde_json::Value;
use tokio_postgres::Client;

use crate::people::{People, settings};
use crate::work::Work;

/// How often the receiver fails one event at most, so that the pauses between the attempts stay short.
const MOST_FAILURES: u32 = 4;

/// How long an instance waits for the receiver.
const PATIENCE: Duration = Duration::from_secs(1);

/// For so long an event of an instance that died is nobody's: `outgoing.timeout` and 20 s; the rest is for pauses
/// between attempts and for a slow machine.
const ALL_DELIVERED: Duration = Duration::from_mins(5);

/// Fails every second attempt on average: refuses it, or takes it and answers too late.
fn failing_half_the_time(receiver: &Receiver) {
    let failures: Mutex<BTreeMap<String, u32>> = Mutex::default();
    receiver.behave(move |request| {
        let mut failures = failures.lock().unwrap();
        let failed = failures
            .entry(request.header("webhook-id").to_owned())
            .or_default();
        if *failed == MOST_FAILURES || random_below(2) == 0 {
            return Behaviour::Answer(204);
        }
        *failed += 1;
        match random_below(8) {
            0 => Behaviour::Hang(PATIENCE + Duration::from_millis(500)),
            1..=4 => Behaviour::Answer(503),
            _ => Behaviour::Answer(400),
        }
    });
}

/// Kills one of `instances` after the other, until `done`; gives how often.
async fn kill_until(instances: &mut [Instance], done: impl AsyncFn() -> bool) -> usize {
    let mut kills = 0;
    while !done().await {
        tokio::time::sleep(Duration::from_millis(300 + random_below(700))).await;
        let instance = &mut instances[kills % 2];
        instance.kill();
        instance.start_again().await;
        kills += 1;
    }
    kills
}

async fn waiting(client: &Client) -> i64 {
    let waiting = client.query_one("SELECT count(*) FROM user_events", &[]).await;
    waiting.unwrap().get(0)
}

/// The events of one user, in the order in which the receiver met them first.
struct Told {
    webhook_id: String,
    message: Value,
    is_taken: bool,
}

/// What was told of each user.
///
/// # Panics
/// When a repetition says something else, or an event is tried again after a later one.
fn told(received: &[Received]) -> BTreeMap<i64, Vec<Told>> {
    let mut users: BTreeMap<i64, Vec<Told>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for request in received {
        let user = request.path.trim_start_matches('/').parse().unwrap();
        let webhook_id = request.header("webhook-id");
        let is_taken = request.status == 204;
        let events = users.entry(user).or_default();
        if seen.insert(webhook_id.to_owned()) {
            if let Some(before) = events.last() {
                assert!(
                    before.is_taken,
                    "{user}: told before what came before it was taken"
                );
            }
            events.push(Told {
                webhook_id: webhook_id.to_owned(),
                message: request.json(),
                is_taken,
            });
        } else {
            let last = events.last_mut().unwrap();
            assert_eq!(
                last.webhook_id, webhook_id,
                "{user}: told again after a later one"
            );
            assert_eq!(
                last.message,
                request.json(),
                "{user}: the same id, and something else"
            );
            last.is_taken |= is_taken;
        }
    }
    users
}

/// Every event was taken, and what was told of each user are their changes, in order.
async fn complete(client: &Client, users: &BTreeMap<i64, Vec<Told>>) {
    let mut there: BTreeMap<i64, (i64, String)> = BTreeMap::new();
    for row in client
        .query("SELECT id, version, name FROM users", &[])
        .await
        .unwrap()
    {
        there.insert(row.get(0), (row.get(1), row.get(2)));
    }
    assert!(
        there.keys().all(|id| users.contains_key(id)),
        "nobody was forgotten"
    );
    for (id, events) in users {
        assert!(
            events.iter().all(|event| event.is_taken),
            "{id}: one was never taken"
        );
        let kinds: Vec<&str> = events
            .iter()
            .map(|event| event.message["type"].as_str().unwrap())
            .map(|kind| kind.rsplit(':').next().unwrap())
            .collect();
        let (first, rest) = kinds.split_first().unwrap();
        assert_eq!(*first, "new", "{id}");
        let patches = if let Some((version, name)) = there.get(id) {
            let count = i64::try_from(events.len());
            assert_eq!(count, Ok(*version), "{id}: one for each change");
            let last = &events.last().unwrap().message["payload"]["name"];
            assert_eq!(last, name, "{id}: the last one told is as it is");
            rest
        } else {
            let (last, rest) = rest.split_last().unwrap();
            assert_eq!(*last, "delete", "{id}");
            rest
        };
        assert!(patches.iter().all(|kind| *kind == "patch"), "{id}: {kinds:?}");
        // Clients number their changes, from 10 on.
        let told = events[1..=patches.len()]
            .iter()
            .map(|event| event.message["payload"]["name"].as_str().unwrap());
        let names: Vec<&str> = told.collect();
        assert!(
            names.iter().all(|name| name.starts_with("Change ")),
            "{id}: {names:?}"
        );
        assert!(names.is_sorted(), "{id}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_taken_in_order_though_dispatchers_are_killed_and_the_receiver_fails_half_the_time() {
    let changes = short_or_full(500, 10_000);
    let began = Instant::now();
    let database = TestDatabase::empty().await;
    let receiver = Receiver::start();
    failing_half_the_time(&receiver);
    let mut settings = settings(&database.url());
    settings.push(format!("notifications.url={}/{{user_id}}", receiver.url));
    settings.push(format!("outgoing.timeout={}s", PATIENCE.as_secs()));
    let mut instances = [
        Instance::start("ident", &settings).await,
        Instance::start("ident", &settings).await,
    ];
    let people = People::at(&[&instances[0].url, &instances[1].url]);
    let load = people.busy(8);
    let mut kills = kill_until(&mut instances, async || people.ledger.tally().done >= changes).await;
    load.stop().await;
    let client = database.connect("ident").await;
    // Some more, while nothing is written any more.
    let more = Duration::from_secs(short_or_full(4, 60));
    let few = i64::try_from(changes / 20).unwrap();
    let began_to_wait = Instant::now();
    kills += kill_until(&mut instances, async || {
        waiting(&client).await <= few || began_to_wait.elapsed() > more
    })
    .await;
    while waiting(&client).await > 0 {
        assert!(
            began_to_wait.elapsed() < ALL_DELIVERED,
            "{} wait",
            waiting(&client).await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for instance in &mut instances {
        instance.kill();
    }
    let (made, agreed) = people.records_agree(&client).await;
    let received = receiver.received();
    let users = told(&received);
    complete(&client, &users).await;
    let events: usize = users.values().map(Vec::len).sum();
    assert_eq!(
        events, made,
        "an event for each change, and none beside: {agreed}"
    );
    let failed = received.iter().filter(|request| request.status != 204).count();
    assert!(
        failed * 3 > received.len(),
        "the receiver fails about half the time"
    );
    tell(
        "events",
        &format!(
            "{events} events of {} people, {kills} kills of dispatchers, {} requests of which {failed} failed, all \
             taken in order after {:.0?}; {agreed}",
            users.len(),
            received.len(),
            began.elapsed()
        ),
    );
}
