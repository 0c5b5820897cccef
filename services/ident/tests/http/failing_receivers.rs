//! Receivers that refuse, hang or are not there, and processes that are killed: nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::db::tokio_postgres::Client;
use identity_testkit::{Behaviour, Process, Received, Receiver, TestDatabase, eventually};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::IDENT;
use crate::notifications::{
    SECRET, all_told, last_error, make, person, refs, rename, settings, start, taken,
};
use crate::processes::{complained, printed, run, serve, status};

#[tokio::test]
async fn a_receiver_that_refuses_is_asked_again() {
    let (ident, receiver) = start(&[]).await;
    let answers = Arc::new(Mutex::new(vec![204, 503, 500, 404]));
    receiver.behave(move |_| Behaviour::Answer(answers.lock().unwrap().pop().unwrap_or(204)));
    make(&ident, person("robb")).await;
    for attempt in 1..4 {
        let asked = async || (receiver.received().len() >= attempt).then_some(());
        eventually("the receiver is asked", asked).await;
        ident.clock.advance(Duration::from_secs(4));
    }
    all_told(&ident.database.connect("ident").await).await;
    let came = receiver.received();
    let statuses: Vec<_> = came.iter().map(|received| received.status).collect();
    assert_eq!(statuses, [404, 500, 503, 204]);
    let mut ids: Vec<_> = came
        .iter()
        .map(|received| received.header("webhook-id"))
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "a repetition can be told by its id");
}

#[tokio::test]
async fn pauses_grow_with_each_failure_up_to_an_hour() {
    let (ident, receiver) = start(&[]).await;
    receiver.behave(|_| Behaviour::Answer(500));
    make(&ident, person("robb")).await;
    let database = ident.database.connect("ident").await;
    last_error(&database).await;
    for (failures, longest) in [(6, 64), (9, 512), (12, 3600), (30, 3600)] {
        // Due now, after so many failures.
        let set = "UPDATE user_events SET attempts = $1, last_error = NULL, next_attempt_at = created_at";
        database.execute(set, &[&failures]).await.unwrap();
        last_error(&database).await;
        let now = ident.clock.now();
        let row = database
            .query_one("SELECT attempts, next_attempt_at FROM user_events", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i32>(0), failures + 1);
        let pause = row.get::<_, Timestamp>(1).duration_since(now).as_secs();
        // A quarter by chance, and the time that this test itself took.
        assert!(
            (longest * 3 / 4 - 10..=longest).contains(&pause),
            "{failures}: {pause}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_and_holds_up_nobody_else() {
    let (ident, receiver) = start(&["outgoing.timeout=300ms"]).await;
    let robb = make(&ident, person("robb")).await;
    taken(&receiver, 1).await;
    let path = format!("/users/{robb}");
    receiver.behave(move |received| {
        if received.path == path {
            return Behaviour::Hang(Duration::from_hours(1));
        }
        Behaviour::Answer(204)
    });
    rename(&ident, robb, "wolf").await;
    make(&ident, person("jon")).await;
    taken(&receiver, 2).await;
    let error = last_error(&ident.database.connect("ident").await).await;
    assert!(error.contains("timed out"), "{error}");
    receiver.behave(|_| Behaviour::Answer(204));
    ident.clock.advance(Duration::from_mins(1));
    let told = taken(&receiver, 3).await;
    assert_eq!(told[2].json()["payload"], json!({"name": "wolf"}));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told_when_it_comes() {
    // Bound and not listening: nobody else gets the port, and connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("notifications.url=http://{}", socket.local_addr().unwrap());
    let ident = IDENT
        .start(&[&url, &format!("notifications.secret={SECRET}")])
        .await;
    let robb = make(&ident, person("robb")).await;
    rename(&ident, robb, "wolf").await;
    let error = last_error(&ident.database.connect("ident").await).await;
    assert!(error.contains("refused"), "{error}");
    let listener = socket.listen(64).unwrap().into_std().unwrap();
    let receiver = Receiver::start_on(listener);
    ident.clock.advance(Duration::from_hours(1));
    let told = taken(&receiver, 2).await;
    assert_eq!(told[0].json()["type"], "urn:glotpod:user:new");
    assert_eq!(told[1].json()["payload"], json!({"name": "wolf"}));
}

#[tokio::test]
async fn each_user_s_changes_stay_in_order_while_one_user_s_receiver_fails() {
    let (ident, receiver) = start(&[]).await;
    let robb = make(&ident, person("robb")).await;
    taken(&receiver, 1).await;
    let failing = format!("/users/{robb}");
    receiver.behave({
        let failing = failing.clone();
        move |received| Behaviour::Answer(if received.path == failing { 500 } else { 204 })
    });
    let jon = make(&ident, person("jon")).await;
    for number in 1..=4 {
        rename(&ident, robb, &format!("robb{number}")).await;
        rename(&ident, jon, &format!("jon{number}")).await;
    }
    let names = |told: &[Received], user: i64| -> Vec<Value> {
        let path = format!("/users/{user}");
        let of_user = told.iter().filter(|told| told.path == path);
        of_user
            .map(|told| told.json()["payload"]["name"].clone())
            .collect()
    };
    let told = taken(&receiver, 6).await;
    assert_eq!(names(&told, jon), ["jon", "jon1", "jon2", "jon3", "jon4"]);
    let database = ident.database.connect("ident").await;
    last_error(&database).await;
    let tried: Vec<Received> = receiver.received();
    let tried = names(&tried, robb);
    assert!(
        tried.iter().skip(1).all(|name| name == "robb1"),
        "none goes before the first: {tried:?}"
    );
    receiver.behave(|_| Behaviour::Answer(204));
    ident.clock.advance(Duration::from_hours(1));
    let told = taken(&receiver, 10).await;
    assert_eq!(names(&told, robb), ["robb", "robb1", "robb2", "robb3", "robb4"]);
}

#[tokio::test]
async fn what_is_given_up_lets_later_changes_go_and_can_be_listed_and_replayed() {
    let (ident, receiver) = start(&["notifications.give_up_after=1h"]).await;
    receiver.behave(|received| {
        Behaviour::Answer(if received.body.contains("user:new") {
            500
        } else {
            204
        })
    });
    let robb = make(&ident, person("robb")).await;
    rename(&ident, robb, "wolf").await;
    let database = ident.database.connect("ident").await;
    last_error(&database).await;
    assert!(receiver.taken().is_empty());
    ident.clock.advance(Duration::from_hours(2));
    assert_eq!(
        taken(&receiver, 1).await[0].json()["payload"],
        json!({"name": "wolf"})
    );

    let listed = run(&ident.database, &["events", "list", "--json"]).await;
    assert_eq!(status(&listed), 0);
    let listed: Vec<Value> = printed(&listed)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [event] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (&event["user_id"], &event["type"], &event["dead"]),
        (&json!(robb), &json!("urn:glotpod:user:new"), &json!(true))
    );
    assert!(event["attempts"].as_i64().unwrap() >= 2);
    assert!(event["last_error"].as_str().unwrap().contains("500"));
    let table = printed(&run(&ident.database, &["events", "list", "--dead"]).await);
    assert!(
        table.contains("given up") && table.contains("user:new"),
        "{table}"
    );

    let missing = run(&ident.database, &["events", "replay", "999999"]).await;
    assert_eq!(status(&missing), 1);
    assert!(complained(&missing).contains("999999"));
    for wrong in [&["events", "replay"][..], &["events", "replay", "1", "--all"]] {
        assert_eq!(status(&run(&ident.database, wrong).await), 2);
    }
    receiver.behave(|_| Behaviour::Answer(204));
    let id = event["id"].to_string();
    let replayed = run(&ident.database, &["events", "replay", &id]).await;
    assert_eq!(status(&replayed), 0);
    assert_eq!(
        taken(&receiver, 2).await[1].json()["type"],
        "urn:glotpod:user:new"
    );
    all_told(&database).await;
    assert_eq!(
        printed(&run(&ident.database, &["events", "list", "--json"]).await),
        ""
    );
}

/// The metrics of a process.
async fn metrics(process: &Process) -> String {
    let url = format!("http://{}/metrics", process.metrics_address().await);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

async fn eventually_measured(process: &Process, line: &str) {
    eventually(line, async || {
        metrics(process)
            .await
            .lines()
            .any(|found| found == line)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_given_up_is_counted_and_all_of_it_can_be_replayed() {
    let receiver = Receiver::start();
    receiver.behave(|_| Behaviour::Answer(500));
    let database = TestDatabase::empty().await;
    let settings = settings(
        &receiver,
        &["notifications.give_up_after=0", "metrics.bind=127.0.0.1:0"],
    );
    let mut process = serve(&database, &refs(&settings));
    let url = format!("http://{}/", process.address().await);
    let http = reqwest::Client::new();
    for name in ["robb", "jon"] {
        let made = http.post(&url).json(&person(name)).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    eventually_measured(&process, "ident_events_given_up_total 2").await;
    eventually_measured(&process, "ident_events_failed_total 2").await;
    let answered = r#"ident_http_request_duration_seconds_count{method="POST",route="/",status="201"} 2"#;
    eventually_measured(&process, answered).await;
    receiver.behave(|_| Behaviour::Answer(204));
    // A process looks at what is kept when it starts.
    process.kill();
    let process = serve(&database, &refs(&settings));
    eventually_measured(&process, "ident_events_dead 2").await;
    let replayed = run(&database, &["events", "replay", "--all"]).await;
    assert!(printed(&replayed).starts_with("2 "), "{}", printed(&replayed));
    taken(&receiver, 2).await;
    eventually_measured(&process, "ident_events_delivered_total 2").await;
}

/// Where the process that serves now is reached.
type Address = Arc<Mutex<String>>;

/// Renames a user until it was answered 20 times; gives the names of those that were.
async fn rename_often(user: i64, address: Address) -> Vec<String> {
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let mut answered = Vec::new();
    for number in 0.. {
        let name = format!("user {user} number {number}");
        let url = format!("http://{}/{user}", address.lock().unwrap());
        let request = http
            .patch(url)
            .header("content-type", "application/merge-patch+json");
        match request.body(json!({"name": name}).to_string()).send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                answered.push(name);
            }
            // Killed; whether this change is there, the database will tell.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        if answered.len() == 20 {
            break;
        }
    }
    answered
}

#[tokio::test]
async fn processes_that_are_killed_lose_no_change_and_keep_the_order() {
    let receiver = Receiver::start();
    let settings = settings(&receiver, &[]);
    let database = Arc::new(TestDatabase::empty().await);
    let mut process = serve(&database, &refs(&settings));
    let address: Address = Arc::new(Mutex::new(process.address().await.to_string()));
    let http = reqwest::Client::new();
    let mut users = Vec::new();
    for number in 0..10 {
        let url = format!("http://{}/", address.lock().unwrap());
        let made = http
            .post(url)
            .json(&person(&format!("user{number}")))
            .send()
            .await
            .unwrap();
        users.push(made.json::<Value>().await.unwrap()["id"].as_i64().unwrap());
    }
    let writers: Vec<_> = users
        .iter()
        .map(|user| tokio::spawn(rename_often(*user, address.clone())))
        .collect();
    let client = database.connect("ident").await;
    for kill in 1..=5 {
        eventually("changes are made", async || {
            (changes(&client).await >= kill * 30).then_some(())
        })
        .await;
        process.kill();
        process = serve(&database, &refs(&settings));
        *address.lock().unwrap() = process.address().await.to_string();
    }
    let mut answered = Vec::new();
    for writer in writers {
        answered.push(writer.await.unwrap());
    }
    process.kill();
    // What was on its way when a process was killed is let go after a while, which is turned.
    let clock = Clock::system();
    clock.advance(Duration::from_hours(1));
    let _last = IDENT.start_on(database.clone(), &clock, &refs(&settings)).await;
    all_told(&client).await;
    let told = receiver.taken();
    for (user, answered) in users.into_iter().zip(answered) {
        let row = client
            .query_one("SELECT name, version FROM users WHERE id = $1", &[&user])
            .await
            .unwrap();
        let (name, version): (String, i64) = (row.get(0), row.get(1));
        let path = format!("/users/{user}");
        let mut of_user: Vec<_> = told.iter().filter(|told| told.path == path).collect();
        of_user.dedup_by_key(|told| told.header("webhook-id").to_owned());
        let names: Vec<String> = of_user
            .iter()
            .map(|told| told.json()["payload"]["name"].as_str().unwrap().to_owned())
            .collect();
        let count = i64::try_from(names.len()).unwrap();
        assert_eq!(count, version, "each change once, repetitions next to each other");
        assert_eq!(names.last(), Some(&name));
        let mut rest = names.iter();
        let in_order = answered.iter().all(|answered| rest.any(|name| name == answered));
        assert!(in_order, "answered {answered:?}, told {names:?}");
    }
}

/// How many changes were made so far.
async fn changes(client: &Client) -> i64 {
    let sql = "SELECT coalesce(sum(version) - count(*), 0)::bigint FROM users";
    client.query_one(sql, &[]).await.unwrap().get(0)
}
