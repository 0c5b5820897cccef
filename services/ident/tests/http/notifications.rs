//! What a receiver of notifications sees: every change once it is made, in order, signed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_core::db::tokio_postgres::Client;
use identity_testkit::{Behaviour, Received, Receiver, TestService, eventually};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::IDENT;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The settings under which changes are told to `receiver`, and others.
pub fn settings(receiver: &Receiver, others: &[&str]) -> Vec<String> {
    let url = format!("notifications.url={}/users/{{user_id}}", receiver.url);
    let mut settings = vec![url, format!("notifications.secret={SECRET}")];
    settings.extend(others.iter().map(|&setting| setting.to_owned()));
    settings
}

/// References to `settings`, as the test kit takes them.
pub fn refs(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// ident, and the receiver that it tells of changes.
pub async fn start(others: &[&str]) -> (TestService, Receiver) {
    let receiver = Receiver::start();
    let ident = IDENT.start(&refs(&settings(&receiver, others))).await;
    (ident, receiver)
}

/// Makes a record and gives its id.
pub async fn make(ident: &TestService, document: Value) -> i64 {
    let made = ident.post("/").json(&document).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    made.json::<Value>().await.unwrap()["id"].as_i64().unwrap()
}

/// Somebody whose address is made from the name.
pub fn person(name: &str) -> Value {
    json!({"name": name, "email": format!("{name}@example.org")})
}

/// A patch of user `id` in `media_type`.
pub fn patch(ident: &TestService, id: i64, media_type: &str, patch: &Value) -> RequestBuilder {
    ident
        .patch(&format!("/{id}"))
        .header("content-type", media_type)
        .body(patch.to_string())
}

/// Renames user `id` by a merge patch.
pub async fn rename(ident: &TestService, id: i64, name: &str) {
    let answer = patch(ident, id, "application/merge-patch+json", &json!({"name": name}))
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

/// What the receiver took, once there are `count`.
pub async fn taken(receiver: &Receiver, count: usize) -> Vec<Received> {
    eventually("notifications are taken", async || {
        Some(receiver.taken()).filter(|taken| taken.len() >= count)
    })
    .await
}

/// Returns when nothing waits to be told any more.
pub async fn all_told(database: &Client) {
    eventually("all is told", async || {
        let sql = "SELECT count(*) FROM user_events WHERE dead_at IS NULL";
        let waiting: i64 = database.query_one(sql, &[]).await.unwrap().get(0);
        (waiting == 0).then_some(())
    })
    .await;
}

/// The error of the first event in the table, once there is one.
pub async fn last_error(database: &Client) -> String {
    eventually("a delivery fails", async || {
        let sql = "SELECT last_error FROM user_events WHERE last_error IS NOT NULL ORDER BY id LIMIT 1";
        let row = database.query_opt(sql, &[]).await.unwrap()?;
        Some(row.get(0))
    })
    .await
}

#[tokio::test]
async fn a_new_record_is_told_with_its_id_and_services() {
    let (ident, receiver) = start(&[]).await;
    let id = make(
        &ident,
        json!({"name": " Robb Stark ", "email": "king@deceased.north"}),
    )
    .await;
    let told = taken(&receiver, 1).await.remove(0);
    assert_eq!(
        (told.method.as_str(), told.path),
        ("POST", format!("/users/{id}"))
    );
    let payload = json!({"id": id, "name": "Robb Stark", "email": "king@deceased.north", "services": {}});
    let expected = json!({"type": "urn:glotpod:user:new", "scope": "user+n", "payload": payload});
    assert_eq!(serde_json::from_str::<Value>(&told.body).unwrap(), expected);

    let services = json!({"github": {"id": "25", "access_token": "gho_secret"}, "facebook": {"id": " 75 "}});
    let document = json!({"name": "Jon", "email": "jon@wall.north", "services": services});
    let id = make(&ident, document).await;
    let told = taken(&receiver, 2).await.remove(1);
    let services = json!({"github": {"id": "25"}, "facebook": {"id": "75"}});
    let payload = json!({"id": id, "name": "Jon", "email": "jon@wall.north", "services": services});
    let expected = json!({"type": "urn:glotpod:user:new", "scope": "user+n", "payload": payload});
    assert_eq!(told.json(), expected);
}

#[tokio::test]
async fn a_patch_is_told_as_it_was_sent_and_a_deletion_with_the_id() {
    let (ident, receiver) = start(&[]).await;
    let id = make(&ident, person("robb")).await;
    let operations = json!([
        {"op": "test", "path": "/name", "value": "robb"},
        {"op": "replace", "path": "/name", "value": "The Young Wolf"},
        {"op": "add", "path": "/services/github", "value": {"id": "25"}},
    ]);
    let sent = patch(&ident, id, "application/json-patch+json", &operations)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let merge = json!({"email": "wolf@deceased.north", "services": {"github": null}});
    let sent = patch(&ident, id, "application/merge-patch+json", &merge)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let deleted = ident.delete(&format!("/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let told = taken(&receiver, 4).await;
    let expected = [
        json!({"type": "urn:glotpod:user:patch", "scope": "user+n", "payload": operations}),
        json!({"type": "urn:glotpod:user:patch", "scope": "user+n", "payload": merge}),
        json!({"type": "urn:glotpod:user:delete", "scope": "user+n", "payload": {"id": id}}),
    ];
    assert_eq!(
        told.iter().skip(1).map(Received::json).collect::<Vec<_>>(),
        expected
    );
    assert!(told.iter().all(|told| told.path == format!("/users/{id}")));
}

#[tokio::test]
async fn no_access_token_is_told_or_stored_in_the_clear() {
    let (ident, receiver) = start(&[]).await;
    // Nothing is taken, so that every event is still in the database.
    receiver.behave(|_| Behaviour::Answer(500));
    let account = |token: &str| json!({"id": "25", "access_token": token});
    let mut document = person("robb");
    document["services"] = json!({"github": account("tok-A-new")});
    let id = make(&ident, document).await;
    let operations = json!([
        {"op": "add", "path": "/services/gitlab", "value": account("tok-B-member")},
        {"op": "add", "path": "/services/github/access_token", "value": "tok-C-pointer"},
        {"op": "add", "path": "/services", "value": {"github": account("tok-D-all"), "gitlab": account("tok-E-all")}},
    ]);
    let smuggled = json!([
        {"op": "add", "path": "/tmp", "value": "tok-H-moved"},
        {"op": "move", "from": "/tmp", "path": "/services/github/access_token"},
        {"op": "replace", "path": "/email", "value": "tok-I-copied"},
        {"op": "copy", "from": "/email", "path": "/services/gitlab/access_token"},
        {"op": "replace", "path": "/email", "value": "robb@example.org"},
    ]);
    let merge =
        json!({"services": {"github": {"access_token": "tok-F-merge"}, "bitbucket": account("tok-G-merge")}});
    for (media_type, sent) in [
        ("application/json-patch+json", &operations),
        ("application/json-patch+json", &smuggled),
        ("application/merge-patch+json", &merge),
    ] {
        let answer = patch(&ident, id, media_type, sent).send().await.unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{}",
            answer.text().await.unwrap()
        );
    }
    let database = ident.database.connect("ident").await;
    last_error(&database).await;
    let dump = ident.database.dump();
    assert!(
        dump.contains("urn:glotpod:user:patch"),
        "the events are in the dump"
    );
    assert!(!dump.contains("tok-"), "{dump}");
    receiver.behave(|_| Behaviour::Answer(204));
    ident.clock.advance(Duration::from_mins(1));
    let told = taken(&receiver, 4).await;
    assert!(told.iter().all(|told| !told.body.contains("tok-")), "{told:?}");
    // What was told instead is still what the patch did.
    let gitlab = json!([{"op": "add", "path": "/services/gitlab", "value": {"id": "25"}}]);
    assert_eq!(told[1].json()["payload"], gitlab);
    assert_eq!(
        told[3].json()["payload"],
        json!({"services": {"github": {}, "bitbucket": {"id": "25"}}})
    );
    let stored: Value = ident
        .get(&format!("/{id}/services/github/token"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(stored, json!({"access_token": "tok-F-merge"}));
}

fn verify(told: &Received, body: &str, change: impl Fn(&str, &str) -> String) -> bool {
    let mut headers = reqwest::header::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, change(name, told.header(name)).parse().unwrap());
    }
    Webhook::new(SECRET)
        .unwrap()
        .verify(body.as_bytes(), &headers)
        .is_ok()
}

#[tokio::test]
async fn the_public_library_verifies_a_notification_and_notices_every_change_to_it() {
    let (ident, receiver) = start(&[]).await;
    let first = make(&ident, person("robb")).await;
    make(&ident, person("jon")).await;
    let told = taken(&receiver, 2).await;
    assert_ne!(told[0].header("webhook-id"), told[1].header("webhook-id"));
    let told = told
        .iter()
        .find(|told| told.path == format!("/users/{first}"))
        .unwrap();
    assert_eq!(told.header("content-type"), "application/json");
    assert!(verify(told, &told.body, |_, value| value.to_owned()));
    assert!(!verify(told, &told.body.replace("robb", "arya"), |_, value| {
        value.to_owned()
    }));
    for (changed, by) in [("webhook-id", "msg_other"), ("webhook-signature", "v1,AAAA")] {
        let change = |name: &str, value: &str| if name == changed { by } else { value }.to_owned();
        assert!(!verify(told, &told.body, change), "{changed}");
    }
    let seconds: i64 = told.header("webhook-timestamp").parse().unwrap();
    for other in [seconds + 1, seconds - 3600, seconds + 3600] {
        let change = |name: &str, value: &str| match name {
            "webhook-timestamp" => other.to_string(),
            _ => value.to_owned(),
        };
        assert!(!verify(told, &told.body, change), "{other}");
    }
}

#[tokio::test]
async fn a_repetition_keeps_its_id_and_is_signed_anew() {
    let (ident, receiver) = start(&[]).await;
    receiver.behave(|_| Behaviour::Answer(500));
    make(&ident, person("robb")).await;
    let database = ident.database.connect("ident").await;
    assert!(last_error(&database).await.contains("500"));
    // Beyond the tolerance of any receiver: with the first attempt's time it would be refused.
    ident.clock.advance(Duration::from_hours(1));
    receiver.behave(|_| Behaviour::Answer(204));
    let told = taken(&receiver, 1).await.remove(0);
    let before = receiver.received().remove(0);
    assert_eq!(told.header("webhook-id"), before.header("webhook-id"));
    assert_eq!(told.body, before.body);
    let seconds = |told: &Received| told.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!(seconds(&told) >= seconds(&before) + 3600);
    let signed = Webhook::new(SECRET).unwrap();
    let signed = signed
        .sign(told.header("webhook-id"), seconds(&told), told.body.as_bytes())
        .unwrap();
    assert_eq!(told.header("webhook-signature"), signed);
}

#[tokio::test]
async fn a_change_that_failed_is_not_told() {
    let (ident, receiver) = start(&[]).await;
    let robb = make(&ident, person("robb")).await;
    let jon = make(&ident, person("jon")).await;
    let taken_address = json!({"email": "robb@example.org"});
    let missing = json!([{"op": "remove", "path": "/nothing"}]);
    let merge = "application/merge-patch+json";
    let failing = [
        (ident.post("/").json(&person("robb")), 409),
        (ident.post("/").json(&json!({"name": "Arya"})), 400),
        (patch(&ident, jon, merge, &taken_address), 409),
        (patch(&ident, jon, merge, &json!({"name": ""})), 422),
        (
            patch(&ident, jon, merge, &json!({"name": "x"})).header("if-match", "\"other\""),
            412,
        ),
        (patch(&ident, jon, "application/json-patch+json", &missing), 400),
        (patch(&ident, 999, merge, &json!({"name": "x"})), 404),
        (ident.delete("/999"), 404),
    ];
    for (request, status) in failing {
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    rename(&ident, robb, "the last").await;
    let database = ident.database.connect("ident").await;
    all_told(&database).await;
    let mut kinds: Vec<_> = receiver
        .received()
        .iter()
        .map(|told| told.json()["type"].clone())
        .collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(
        kinds,
        [
            "urn:glotpod:user:new",
            "urn:glotpod:user:new",
            "urn:glotpod:user:patch"
        ]
    );
}

#[tokio::test]
async fn without_a_receiver_nothing_is_recorded() {
    let ident = IDENT.start(&[]).await;
    let id = make(&ident, person("robb")).await;
    rename(&ident, id, "jon").await;
    ident.delete(&format!("/{id}")).send().await.unwrap();
    let database = ident.database.connect("ident").await;
    let recorded: i64 = database
        .query_one("SELECT count(*) FROM user_events", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(recorded, 0);
}

#[tokio::test]
async fn several_instances_tell_each_change_once() {
    let receiver = Receiver::start();
    let settings = settings(&receiver, &[]);
    let first = IDENT.start(&refs(&settings)).await;
    let (database, clock) = (first.database.clone(), first.clock.clone());
    let second = IDENT.start_on(database.clone(), &clock, &refs(&settings)).await;
    let third = IDENT.start_on(database.clone(), &clock, &refs(&settings)).await;
    let instances = [first, second, third];
    let mut users = Vec::new();
    for number in 0..30 {
        users.push(make(&instances[number % 3], person(&format!("user{number}"))).await);
    }
    for name in ["a", "b", "c"] {
        for (number, user) in users.iter().enumerate() {
            rename(
                &instances[(number + name.len()) % 3],
                *user,
                &format!("{name}{number}"),
            )
            .await;
        }
    }
    let told = taken(&receiver, 120).await;
    all_told(&database.connect("ident").await).await;
    assert_eq!(receiver.received().len(), 120, "none was told twice");
    for (number, user) in users.iter().enumerate() {
        let path = format!("/users/{user}");
        let names = told
            .iter()
            .filter(|told| told.path == path)
            .map(|told| told.json()["payload"]["name"].clone());
        let expected = ["user", "a", "b", "c"].map(|name| json!(format!("{name}{number}")));
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn private_addresses_are_told_only_where_that_is_allowed() {
    let receiver = Receiver::start();
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    for url in [&receiver.url, &by_name] {
        let url = format!("notifications.url={url}");
        let secret = format!("notifications.secret={SECRET}");
        let ident = IDENT
            .start(&[&url, &secret, "outgoing.allow_private=10.0.0.0/8"])
            .await;
        make(&ident, person("robb")).await;
        let error = last_error(&ident.database.connect("ident").await).await;
        assert!(error.contains("private address"), "{error}");
    }
    assert!(receiver.received().is_empty());
    let (ident, receiver) = start(&["outgoing.allow_private=10.0.0.0/8, 127.0.0.0/8"]).await;
    make(&ident, person("robb")).await;
    taken(&receiver, 1).await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let other = Receiver::start();
    for status in [301, 302, 303, 307, 308] {
        let (ident, receiver) = start(&[]).await;
        // The receiver's own host would answer the request that follows.
        for location in [format!("{}/there", other.url), "/there".to_owned()] {
            receiver.behave(move |received| match received.path.as_str() {
                "/there" => Behaviour::Answer(200),
                _ => Behaviour::Redirect(status, location.clone()),
            });
            let id = make(&ident, person(&format!("user{}", receiver.received().len()))).await;
            let database = ident.database.connect("ident").await;
            let error = eventually("the redirect is a failure", async || {
                let sql = "SELECT last_error FROM user_events WHERE user_id = $1 AND last_error IS NOT NULL";
                let row = database.query_opt(sql, &[&id]).await.unwrap()?;
                Some(row.get::<_, String>(0))
            })
            .await;
            assert!(error.contains(&status.to_string()), "{error}");
        }
        assert!(
            receiver
                .received()
                .iter()
                .all(|received| received.path != "/there"),
            "{status}"
        );
    }
    assert!(other.received().is_empty());
}
